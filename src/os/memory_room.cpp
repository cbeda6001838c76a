// SPDX-License-Identifier: MIT
#include "os/memory_room.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "os/shm_object.h"

namespace eshm::os {
namespace {

// Needs up to this size meet the limits of memory as any other allocation does: to look
// at the limits would take longer than to take the memory.
constexpr uint64_t kSmallNeed = 1u << 20;
// This part of each limit stays free: for page tables, for what other processes take
// between two looks, and for memory that the kernel counts late.
constexpr uint64_t kMarginPart = 32;
// How much of the margin is taken between two looks at the memory, within these bounds.
constexpr uint64_t kLookPart = 4;
constexpr uint64_t kShortestLook = 1u << 20;
constexpr uint64_t kLongestLook = 64u << 20;
// Version 1 says "no limit" with the largest multiple of the page size.
constexpr uint64_t kNoLimit = INT64_MAX / 2;

constexpr const char* kUnifiedMounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
constexpr const char* kMemoryMount = "/sys/fs/cgroup/memory";

uint64_t difference(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }
uint64_t sum(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }

// "" where there is no such file.
std::string text_of(const std::string& path) {
  std::string text;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  char part[4096];
  ssize_t length;
  while ((length = ::read(fd, part, sizeof part)) > 0) text.append(part, size_t(length));
  ::close(fd);
  return text;
}

// The number of the line that begins with that word. False where there is none.
bool number_of(const std::string& text, const std::string& word, uint64_t& out) {
  for (size_t line = 0; line < text.size();) {
    if (text.compare(line, word.size(), word) == 0) {
      out = std::strtoull(text.c_str() + line + word.size(), nullptr, 10);
      return true;
    }
    const size_t end = text.find('\n', line);
    line = end == std::string::npos ? text.size() : end + 1;
  }
  return false;
}

// The number in a control group's file. False where there is none, or no limit.
bool number_in(const std::string& path, uint64_t& out) {
  const std::string text = text_of(path);
  if (text.empty() || text[0] < '0' || text[0] > '9') return false;
  out = std::strtoull(text.c_str(), nullptr, 10);
  return out < kNoLimit;
}

std::string limit_file(bool is_unified) {
  return is_unified ? "memory.max" : "memory.limit_in_bytes";
}

// File pages, which the kernel drops before a group meets its limit.
uint64_t reclaimable_in(const std::string& directory, bool is_unified) {
  const std::string text = text_of(directory + "memory.stat");
  const std::string prefix = is_unified ? "" : "total_";
  uint64_t active = 0, inactive = 0;
  number_of(text, prefix + "active_file ", active);
  number_of(text, prefix + "inactive_file ", inactive);
  return active + inactive;
}

Room room_of_group(const std::string& directory, bool is_unified, uint64_t swap_left) {
  Room room;
  uint64_t limit, usage;
  if (!number_in(directory + limit_file(is_unified), limit) ||
      !number_in(directory + (is_unified ? "memory.current" : "memory.usage_in_bytes"), usage)) {
    return room;
  }
  const uint64_t reclaimable = reclaimable_in(directory, is_unified);
  room.limit = limit;
  room.left = std::min(limit, sum(difference(limit, usage), reclaimable));
  if (swap_left == 0) return room;
  uint64_t swap_limit, swap_usage;
  const bool is_swap_limited =
      number_in(directory + (is_unified ? "memory.swap.max" : "memory.memsw.limit_in_bytes"),
                swap_limit) &&
      number_in(directory + (is_unified ? "memory.swap.current" : "memory.memsw.usage_in_bytes"),
                swap_usage);
  const uint64_t in_memory = room.left;
  room.left = sum(in_memory, swap_left);
  if (!is_swap_limited) return room;
  // Version 1 limits memory and swap together.
  const uint64_t allowed = difference(swap_limit, swap_usage);
  room.left = std::min(room.left, sum(allowed, is_unified ? in_memory : reclaimable));
  return room;
}

// This process's group in the hierarchy with `controllers` ("" of version 2), as a path
// that ends with a slash. "" where there is no such hierarchy.
std::string group_path(const std::string& groups, const std::string& controllers) {
  for (size_t line = 0; line < groups.size();) {
    const size_t end = std::min(groups.find('\n', line), groups.size());
    const size_t list = groups.find(':', line) + 1;
    const size_t path = groups.find(':', list) + 1;
    if (list != 0 && path != 0 && path < end) {
      const std::string found = "," + groups.substr(list, path - 1 - list) + ",";
      if (found.find("," + controllers + ",") != std::string::npos) {
        const std::string text = groups.substr(path, end - path);
        // Outside of what this process sees of the hierarchy.
        if (text.find("/..") != std::string::npos) return "/";
        return text.back() == '/' ? text : text + "/";
      }
    }
    line = end + 1;
  }
  return "";
}

std::string left_of(const Room& room) {
  return std::to_string(room.left) + " of " + std::to_string(room.limit) + " bytes";
}

}  // namespace

Room space_of_names() {
  Room room;
  struct statvfs fs;
  if (statvfs(kDirectory, &fs) != 0 || fs.f_blocks == 0) return room;
  room.left = uint64_t(fs.f_bavail) * fs.f_frsize;
  room.limit = uint64_t(fs.f_blocks) * fs.f_frsize;
  return room;
}

uint64_t MemoryNeed::margin(const Room& room) const {
  return std::min(room.limit / kMarginPart, memory_bytes());
}

bool MemoryNeed::is_short(const Room& room, uint64_t need) const {
  return room.is_known() && need > difference(room.left, margin(room));
}

int MemoryNeed::check(uint64_t taken) {
  const Room space = space_of_names();
  if (space.is_known() && in_files_ - taken > space.left) return ENOSPC;
  if (memory_bytes() <= kSmallNeed || taken < next_look_) return 0;
  look_at_memory();
  const uint64_t need = memory_bytes() - taken;
  bool is_any_short = is_short(memory_, need);
  uint64_t least_margin = memory_.is_known() ? margin(memory_) : kLongestLook * kLookPart;
  for (const Group& group : groups_) {
    if (!group.room.is_known()) continue;
    is_any_short = is_any_short || is_short(group.room, need);
    least_margin = std::min(least_margin, margin(group.room));
  }
  next_look_ = taken + std::clamp(least_margin / kLookPart, kShortestLook, kLongestLook);
  return is_any_short ? ENOMEM : 0;
}

bool MemoryNeed::may_fit_later() const {
  const Room space = space_of_names();
  if (space.is_known() && in_files_ > space.limit) return false;
  const auto is_above = [this](const Room& room, uint64_t limit) {
    return room.is_known() && memory_bytes() > difference(limit, margin(room));
  };
  if (is_above(memory_, memory_.limit)) return false;
  return std::none_of(groups_.begin(), groups_.end(), [&](const Group& group) {
    return is_above(group.room, sum(group.room.limit, swap_limit_));
  });
}

void MemoryNeed::look_at_memory() {
  const std::string text = text_of("/proc/meminfo");
  uint64_t available, total;
  memory_ = {};
  swap_left_ = swap_limit_ = 0;
  if (number_of(text, "MemAvailable:", available) && number_of(text, "MemTotal:", total)) {
    number_of(text, "SwapFree:", swap_left_);
    number_of(text, "SwapTotal:", swap_limit_);
    swap_left_ *= 1024;
    swap_limit_ *= 1024;
    memory_.left = available * 1024 + swap_left_;
    memory_.limit = total * 1024 + swap_limit_;
  }
  if (!has_looked_) find_groups();
  has_looked_ = true;
  for (Group& group : groups_) {
    group.room = room_of_group(group.directory, group.is_unified, swap_left_);
  }
}

// Those with a limit, of this process's own group and the groups above it. In a
// container the mount's root may be the own group, and the path unknown there: then all
// but the root is missing, and is passed over.
void MemoryNeed::find_groups() {
  const std::string groups = text_of("/proc/self/cgroup");
  const auto walk_up = [this](const std::string& mount, std::string path, bool is_unified) {
    while (!path.empty()) {
      uint64_t limit;
      if (number_in(mount + path + limit_file(is_unified), limit)) {
        groups_.push_back({mount + path, is_unified, {}});
      }
      path.pop_back();
      path.erase(path.rfind('/') == std::string::npos ? 0 : path.rfind('/') + 1);
    }
  };
  for (const char* const mount : kUnifiedMounts) walk_up(mount, group_path(groups, ""), true);
  walk_up(kMemoryMount, group_path(groups, "memory"), false);
}

std::string MemoryNeed::describe_shortage() {
  look_at_memory();
  const Room space = space_of_names();
  std::string text = "no room for " + std::to_string(memory_bytes()) + " bytes";
  if (outside_ > 0) text += ", " + std::to_string(in_files_) + " of them in /dev/shm";
  text += ":";
  if (space.is_known()) text += " /dev/shm has " + left_of(space) + " left,";
  struct statvfs fs;
  if (statvfs(kDirectory, &fs) == 0 && fs.f_files != 0 && fs.f_favail == 0) {
    text += " and no inode,";
  }
  if (memory_.is_known()) {
    text += std::string(" memory") + (swap_limit_ > 0 ? " and swap " : " ") + left_of(memory_) + ",";
  }
  const Group* tightest = nullptr;
  for (const Group& group : groups_) {
    if (!group.room.is_known()) continue;
    if (tightest == nullptr || group.room.left < tightest->room.left) tightest = &group;
  }
  if (tightest != nullptr) {
    text += " " + tightest->directory + limit_file(tightest->is_unified) + " " +
            left_of(tightest->room) + ",";
  }
  text.pop_back();
  return text;
}

}  // namespace eshm::os
