// SPDX-License-Identifier: MIT
// talk.c in C++.
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string>
#include <string_view>

#include "eshm.hpp"

int main() {
  using namespace std::literals;
  const std::string name = "consume_talk_" + std::to_string(getpid());
  const auto of_role = [&](eshm::Role role) {
    return eshm::Config(name).role(role).stale_threshold(30s);
  };
  auto master = eshm::Link::open(of_role(eshm::Role::kMaster));
  auto slave = eshm::Link::open(of_role(eshm::Role::kSlave));
  if (!master || !slave) return std::puts(master ? slave.what() : master.what()), 1;
  std::array<char, 16> text;
  if (!master->write("down"sv)) return 2;
  auto size = slave->read(text, 5s);
  if (!size || std::string_view(text.data(), *size) != "down") return 3;
  if (!slave->close() || !master->close()) return 4;
  std::puts("talked");
}
