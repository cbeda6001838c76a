// SPDX-License-Identifier: MIT
// eshm rm, eshm clean: names that nobody uses any more.
#include <fnmatch.h>

#include <algorithm>

#include "commands.h"
#include "describe.h"
#include "run.h"
#include "text.h"

namespace tool {
namespace {

// What --force breaks. Before it is done.
std::string consequence(const ESHMLinkInfo& link) {
  if (link.master.holds_role) {
    return "its master, PID " + std::to_string(link.master.pid) +
           ", lives: it gives the name to a new segment within a second";
  }
  if (link.slave.holds_role) {
    return "its slave, PID " + std::to_string(link.slave.pid) +
           ", loses what it has not read, and waits for a master that has the name";
  }
  return "";
}

bool fits_one(const std::string& name, const std::vector<std::string>& patterns) {
  return patterns.empty() ||
         std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
           return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
         });
}

std::string remedy(int code, const std::string& name) {
  switch (code) {
    case ESHM_ERROR_ROLE_MISMATCH:
      return "; end that process first, or use --force";
    case ESHM_ERROR_CORRUPT:
    case ESHM_ERROR_SHM_ATTACH:
      return "; `eshm rm --force " + name + "` removes it";
    case ESHM_ERROR_PERMISSION:
      return "; ask its owner, or root";
    default:
      return "";
  }
}

}  // namespace

int run_rm(const RmOptions& options) {
  int worst = kFine;
  for (const std::string& name : options.names) {
    const ESHMLinkInfo before = inspect(name);
    if (options.force && !consequence(before).empty()) {
      complain("/dev/shm/eshm_" + name + ": " + consequence(before));
    }
    const int code = eshm_remove(name.c_str(), options.force ? ESHM_REMOVE_FORCE : 0);
    if (code == ESHM_SUCCESS) {
      if (is_terminal()) put("removed " + printable(name) + "\n");
      continue;
    }
    int error = 0;
    const std::string why = eshm_last_error(&error);
    worst = complain(why + remedy(code, name));
  }
  return worst;
}

int run_clean(const CleanOptions& options) {
  std::vector<ESHMLinkInfo> links;
  if (!list_links(links)) return complain_last_error();
  int worst = kFine;
  for (const ESHMLinkInfo& info : links) {
    const WatchedLink link(info);
    if (!link.is_orphan() || !fits_one(info.name, options.patterns)) continue;
    const std::string what = printable(info.name) + " (" + link.verdict() + ", " +
                             bytes_text(info.segment_bytes) + ")\n";
    if (options.dry_run) {
      put("would remove " + what);
      continue;
    }
    const int code = eshm_remove(info.name, 0);
    if (code == ESHM_SUCCESS) put("removed " + what);
    // In use again, or gone: then it was no orphan any more.
    const bool is_over = code == ESHM_ERROR_NO_DATA || code == ESHM_ERROR_ROLE_MISMATCH;
    if (code != ESHM_SUCCESS && !is_over) worst = complain_last_error();
  }
  return worst;
}

}  // namespace tool
