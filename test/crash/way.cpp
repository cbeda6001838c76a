// SPDX-License-Identifier: MIT
#include "crash/way.h"

#include <fstream>
#include <sstream>
#include <string>

namespace test {

void SharedBytes::look_again() {
  areas_.clear();
  std::ifstream maps("/proc/" + std::to_string(pid_) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    const bool is_of_a_link =
        line.find("/dev/shm") != std::string::npos || line.find("/SYSV") != std::string::npos;
    if (!is_of_a_link) continue;
    std::istringstream words(line);
    uintptr_t begin = 0, end = 0;
    char dash = 0;
    std::string permissions;
    words >> std::hex >> begin >> dash >> end >> permissions;
    if (permissions.compare(0, 2, "rw") != 0) continue;
    areas_.push_back({reinterpret_cast<void*>(begin), end - begin});
  }
  size_t bytes = 0;
  for (const iovec& area : areas_) bytes += area.iov_len;
  last_.resize(bytes);
  now_.resize(bytes);
  read_into(last_);
}

bool SharedBytes::have_changed() {
  read_into(now_);
  if (now_ == last_) return false;
  last_.swap(now_);
  return true;
}

void SharedBytes::read_into(std::vector<std::byte>& copy) const {
  const iovec to = {copy.data(), copy.size()};
  if (!areas_.empty()) process_vm_readv(pid_, &to, 1, areas_.data(), areas_.size(), 0);
}

Way record_way(Stepper& child) {
  Way way;
  way.points.push_back({});
  SharedBytes bytes(child.pid());
  for (Point here;; ++way.steps) {
    if (child.is_at_system_call()) {
      if (child.run_to_end_of_system_call() != Stepper::Stop::kStepped) return way;
      here = {here.system_calls + 1, 0};
      bytes.look_again();
    } else {
      if (child.step() != Stepper::Stop::kStepped) return way;
      if (!bytes.have_changed()) continue;
      ++here.changes;
    }
    way.points.push_back(here);
  }
}

bool go_to(Stepper& child, const Point& point) {
  for (uint64_t i = 0; i < point.system_calls; ++i) {
    if (child.run_to_end_of_system_call() != Stepper::Stop::kStepped) return false;
  }
  if (point.changes == 0) return true;
  SharedBytes bytes(child.pid());
  for (uint64_t changes = 0; changes < point.changes;) {
    if (child.step() != Stepper::Stop::kStepped) return false;
    if (bytes.have_changed()) ++changes;
  }
  return true;
}

}  // namespace test
