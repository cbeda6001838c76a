// SPDX-License-Identifier: MIT
// eshm version: the library, the layout, and what the kernel offers it.
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>

#include "commands.h"
#include "host.h"
#include "json.h"
#include "links.h"
#include "run.h"
#include "text.h"

namespace tool {

int run_version(const VersionOptions& options) {
  utsname system = {};
  uname(&system);
  const std::string kernel = std::string(system.sysname) + " " + system.release;
  // Of a name that nobody has, it is the layout that the library would make.
  const uint32_t layout = inspect("eshm version asks").layout_version;
  if (options.json) {
    JsonWriter out;
    out.begin_object().member("schema", "eshm.version/1").member("library", eshm_version());
    out.member("layout_version", layout).member("kernel", kernel).key("features").begin_object();
    for (const Feature& feature : kernel_features()) out.member(feature.name, feature.is_there);
    out.end_object().end_object();
    put(out.text() + "\n");
    return kFine;
  }
  put(std::string("eshm ") + eshm_version() + ", layout version " + std::to_string(layout) + "\n");
  put("kernel " + printable(kernel) + "\n");
  for (const Feature& feature : kernel_features()) {
    put("  " + fitted(feature.name, 18) + (feature.is_there ? "yes  " : "no   ") + feature.use + "\n");
  }
  return kFine;
}

}  // namespace tool
