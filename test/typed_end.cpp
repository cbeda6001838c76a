// SPDX-License-Identifier: MIT
// The C++ end of the tests of records between C++ and Python:
//   typed_end send|receive Pose|Everything NAME posix|sysv
// Prints the record's canonical text; sends one record whose values the other
// side knows and waits for the end of stdin, or receives one and compares.
// Ends with 3, and the sentence on stdout, where it is refused.
#include <cstdio>
#include <cstring>
#include <string>

#include "eshm.hpp"

namespace {

struct Pose {
  double x, y;
  uint32_t id;
};
ESHM_DESCRIBE(Pose, x, y, id);

bool operator==(const Pose& a, const Pose& b) { return a.x == b.x && a.y == b.y && a.id == b.id; }

struct Everything {
  bool flag;
  Pose pose;
  int8_t small;
  float grid[2][3];
  char label[5];
  uint64_t big;
};
ESHM_DESCRIBE(Everything, flag, pose, small, grid, label, big);

bool operator==(const Everything& a, const Everything& b) {
  return a.flag == b.flag && a.pose == b.pose && a.small == b.small &&
         std::memcmp(a.grid, b.grid, sizeof a.grid) == 0 &&
         std::memcmp(a.label, b.label, sizeof a.label) == 0 && a.big == b.big;
}

// py/tests/test_typed.py has the same.
template <class T>
T example();
template <>
Pose example() {
  return {1.5, -2.5, 7};
}
template <>
Everything example() {
  return {true, example<Pose>(), -3, {{1, 2, 3}, {4, 5, 6}}, {'l', 'a', 'b', 'e', 'l'}, UINT64_MAX};
}

constexpr int kFailed = 1, kRefused = 3;

int fail(const eshm::Status& status) {
  std::puts(status.what());
  return status.code() == eshm::Code::kTypeMismatch ? kRefused : kFailed;
}

template <class T>
int send(const eshm::Config& config) {
  auto sender = eshm::Sender<T>::open(config);
  if (!sender) return fail(sender);
  if (const auto written = sender->write(example<T>()); !written) return fail(written);
  std::puts("sent");
  while (std::getchar() != EOF) {
  }
  return 0;
}

template <class T>
int receive(const eshm::Config& config) {
  auto receiver = eshm::Receiver<T>::open(config);
  if (!receiver) return fail(receiver);
  const auto record = receiver->read(eshm::kForEver);
  if (!record) return fail(record);
  std::puts(*record == example<T>() ? "equal" : "not equal");
  return 0;
}

template <class T>
int run(bool sends, eshm::Config config) {
  std::printf("%s\n", eshm::type_text<T>.data());
  config.role(sends ? eshm::Role::kMaster : eshm::Role::kSlave);
  return sends ? send<T>(config) : receive<T>(config);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const bool sends = std::strcmp(argv[1], "send") == 0;
  eshm::Config config(argv[3]);
  config.stale_threshold(std::chrono::seconds(10)).max_reconnect_attempts(1);
  if (std::strcmp(argv[4], "sysv") == 0) config.backend(eshm::Backend::kSysV);
  return std::strcmp(argv[2], "Pose") == 0 ? run<Pose>(sends, config)
                                           : run<Everything>(sends, config);
}
