// SPDX-License-Identifier: MIT
// eshm cat: a link's messages as they come.
#include <algorithm>

#include "commands.h"
#include "links.h"
#include "observer.h"
#include "run.h"
#include "text.h"

namespace tool {
namespace {

constexpr uint32_t kWaitMs = 100;

std::string hex_text(const char* data, size_t size) {
  static const char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(size * 2);
  for (size_t i = 0; i < size; ++i) {
    text += kDigits[uint8_t(data[i]) >> 4];
    text += kDigits[uint8_t(data[i]) & 15];
  }
  return text;
}

// A C string's zero and a line's end are not shown.
std::string as_text(const char* data, size_t size) {
  std::string text(data, size);
  if (!text.empty() && text.back() == '\0') text.pop_back();
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

bool looks_like_text(const std::string& text) {
  std::string visible = text;
  std::replace_if(visible.begin(), visible.end(), [](char c) { return c == '\n' || c == '\t'; },
                  ' ');
  return printable(visible) == visible;
}

class Printer {
 public:
  explicit Printer(const CatOptions& options) : options_(options) {}

  // False: complained already.
  bool print(const Observer& from, const Type* type) {
    const ESHMMessageInfo& info = from.info();
    if (options_.form == Form::kRaw) {
      put(std::string(from.data(), from.size()));
      return true;
    }
    const bool is_whole = type != nullptr && from.size() >= type->bytes;
    if (!options_.fields.empty() && !is_whole) {
      complain(type == nullptr ? "this direction has no type, so it has no fields; `eshm stat " +
                                     options_.name + "` shows the types"
                               : "a message of " + std::to_string(from.size()) +
                                     " bytes is shorter than its type, which has " +
                                     std::to_string(type->bytes));
      return false;
    }
    std::vector<Leaf> leaves(options_.fields.size());
    for (size_t i = 0; i < leaves.size(); ++i) {
      if (find_leaf(*type, options_.fields[i], leaves[i])) continue;
      complain("the type has no field " + options_.fields[i] + "; `eshm stat " + options_.name +
               "` shows them");
      return false;
    }
    put(options_.form == Form::kJson ? json_line(from, is_whole ? type : nullptr, leaves)
        : !leaves.empty()            ? field_line(from, leaves)
                                     : head(info) + content(from, is_whole ? type : nullptr));
    put("\n");
    return true;
  }

 private:
  static bool has_age(const ESHMMessageInfo& info) {
    return info.timestamp_ns != 0 && info.timestamp_ns <= now_ns();
  }

  static std::string head(const ESHMMessageInfo& info) {
    std::string text = info.direction == ESHM_M2S ? "m2s" : "s2m";
    text += " #" + std::to_string(info.sequence);
    std::string more;
    if (info.missed != 0) more = "missed " + std::to_string(info.missed);
    if (has_age(info)) {
      more += (more.empty() ? "" : ", ") + duration_text(now_ns() - info.timestamp_ns) + " old";
    }
    if (!more.empty()) text += " (" + more + ")";
    return text + " ";
  }

  std::string content(const Observer& from, const Type* type) const {
    if (options_.form == Form::kHex) return hex_text(from.data(), from.size());
    if (options_.form == Form::kAuto && type != nullptr) return message_text(*type, from.data());
    const std::string text = as_text(from.data(), from.size());
    if (options_.form == Form::kAuto && !looks_like_text(text)) {
      return hex_text(from.data(), from.size());
    }
    return printable(text);
  }

  static std::string field_line(const Observer& from, const std::vector<Leaf>& leaves) {
    std::string line;
    for (const Leaf& leaf : leaves) {
      line += (line.empty() ? "" : "\t") + leaf_text(leaf, from.data());
    }
    return line;
  }

  static std::string json_line(const Observer& from, const Type* type,
                               const std::vector<Leaf>& leaves) {
    const ESHMMessageInfo& info = from.info();
    JsonWriter out;
    out.begin_object().member("direction", info.direction == ESHM_M2S ? "m2s" : "s2m");
    out.member("sequence", info.sequence).member("generation", info.generation);
    out.member("missed", info.missed).member("size", info.size).key("timestamp_ns");
    info.timestamp_ns == 0 ? out.null() : out.value(info.timestamp_ns);
    if (!leaves.empty()) {
      out.key("value").begin_object();
      for (const Leaf& leaf : leaves) put_leaf(out.key(leaf.path), leaf, from.data());
      out.end_object();
    } else if (type != nullptr) {
      put_message(out.key("value"), *type, from.data());
    } else {
      const std::string text = as_text(from.data(), from.size());
      looks_like_text(text) ? out.member("text", text)
                            : out.member("hex", hex_text(from.data(), from.size()));
    }
    return out.end_object().text();
  }

  const CatOptions& options_;
};

}  // namespace

int run_cat(const CatOptions& options) {
  const ESHMLinkInfo before = inspect(options.name);
  if (before.state == ESHM_LINK_ABSENT && !options.follow) {
    return complain("/dev/shm/eshm_" + options.name +
                    ": nothing has this name; --follow waits for it");
  }
  Observer observer;
  if (!observer.open(options.name)) return complain_last_error();
  Printer printer(options);
  KnownType types[2] = {{options.name, ESHM_M2S}, {options.name, ESHM_S2M}};
  uint64_t printed = 0;
  while (!must_stop() && (options.count == 0 || printed < options.count)) {
    int code = observer.read(0);
    if (code == ESHM_ERROR_NO_DATA) {
      flush();
      // Asked before the last look: what is written until then is still read.
      const bool may_end = !options.follow && !is_in_use(options.name);
      code = observer.read(may_end ? 0 : kWaitMs);
      if (may_end && code == ESHM_ERROR_NO_DATA) return kFine;
    }
    if (code == ESHM_ERROR_CORRUPT) return complain_last_error();
    if (code == ESHM_ERROR_INTERRUPTED) break;
    if (code != ESHM_SUCCESS) continue;
    const ESHMMessageInfo& info = observer.info();
    const bool is_wanted = options.both || (info.direction == ESHM_S2M) == options.s2m;
    if (!is_wanted) continue;
    ++printed;
    if (!printer.print(observer, types[info.direction].get(info.generation))) return kFinding;
  }
  return kFine;
}

}  // namespace tool
