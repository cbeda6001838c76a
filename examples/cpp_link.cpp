// SPDX-License-Identifier: MIT
// A link in C++: the master asks ten times, the slave answers.
//   cpp_link master [name]     in one terminal
//   cpp_link slave [name]      in another; the first one waits for the other
#include <cstdint>
#include <cstdio>
#include <string>

#include "eshm.hpp"

using namespace std::chrono_literals;

namespace {

constexpr uint32_t kQuestions = 10;

int ask(const std::string& name) {
  eshm::Link link(eshm::Config(name).role(eshm::Role::kMaster));
  for (uint32_t question = 1; question <= kQuestions; ++question) {
    uint32_t answer = 0;
    if (const auto sent = link.write(eshm::bytes_of(question)); !sent) {
      std::printf("not sent: %s\n", sent.what());
      return 1;
    }
    if (const auto size = link.read(eshm::room_of(answer), 5s); !size) {
      std::printf("no answer to %u: %s\n", question, size.what());
      return 1;
    }
    std::printf("%u squared is %u\n", question, answer);
  }
  return 0;
}

int answer(const std::string& name) {
  eshm::Link link(eshm::Config(name).role(eshm::Role::kSlave));
  uint32_t question = 0;
  while (question != kQuestions) {
    if (const auto size = link.read(eshm::room_of(question), 5s); !size) {
      std::printf("no question: %s\n", size.what());
      return 1;
    }
    const uint32_t square = question * question;
    if (const auto sent = link.write(eshm::bytes_of(square)); !sent) {
      std::printf("not sent: %s\n", sent.what());
      return 1;
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string role = argc > 1 ? argv[1] : "";
  const std::string name = argc > 2 ? argv[2] : "eshm_cpp_link";
  try {
    if (role == "master") return ask(name);
    if (role == "slave") return answer(name);
  } catch (const eshm::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  std::fprintf(stderr, "cpp_link master|slave [name]\n");
  return 2;
}
