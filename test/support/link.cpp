// SPDX-License-Identifier: MIT
#include "support/link.h"

#include <dirent.h>
#include <sys/shm.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <thread>

#include "support/counts.h"

namespace test {

namespace {

// And the last second in which each may have made a segment.
std::map<pid_t, time_t>& our_processes() {
  static std::map<pid_t, time_t> pids;
  return pids;
}

bool is_ours(const shmid_ds& segment) {
  if (segment.shm_cpid == getpid()) return true;
  const auto maker = our_processes().find(segment.shm_cpid);
  return maker != our_processes().end() && segment.shm_ctime <= maker->second;
}

// Of the test that runs.
const std::string* name_now = nullptr;

// Where ESHM_EVIDENCE names a folder, a failure keeps the segment there as it finds it.
class EvidenceKeeper : public testing::EmptyTestEventListener {
 public:
  void OnTestPartResult(const testing::TestPartResult& result) override {
    const char* const folder = std::getenv("ESHM_EVIDENCE");
    if (folder == nullptr || name_now == nullptr || !result.failed()) return;
    for (const std::string& file : files_of(*name_now)) {
      std::ifstream from("/dev/shm/" + file, std::ios::binary);
      std::ofstream(std::string(folder) + "/" + file, std::ios::binary) << from.rdbuf();
    }
  }
};
const bool keeps_evidence = [] {
  testing::UnitTest::GetInstance()->listeners().Append(new EvidenceKeeper);
  return true;
}();

}  // namespace

// Letters alone, so that no number in an error text stems from the name.
std::string unique_name() {
  static std::atomic<uint64_t> counter{0};
  std::random_device random;
  std::string name = "test_";
  for (uint64_t part : {static_cast<uint64_t>(getpid()), counter++, uint64_t{random()}}) {
    for (; part != 0; part /= 16) name += static_cast<char>('a' + part % 16);
    name += '_';
  }
  return name;
}

std::string path_of(const std::string& name) { return "/dev/shm/eshm_" + name; }

void remember_process(pid_t pid) {
  our_processes()[pid] = std::numeric_limits<time_t>::max();
}

// Its clock may be a tick ahead of this one.
void note_reaped(pid_t pid) { our_processes()[pid] = std::time(nullptr) + 1; }

std::vector<std::string> files_of(const std::string& name) {
  std::vector<std::string> found;
  DIR* directory = opendir("/dev/shm");
  if (!directory) return found;
  while (const dirent* entry = readdir(directory)) {
    if (std::strstr(entry->d_name, name.c_str())) found.push_back(entry->d_name);
  }
  closedir(directory);
  return found;
}

std::vector<int> sysv_segments_of_ours() {
  std::vector<int> found;
  shm_info summary;
  const int last = shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&summary));
  for (int index = 0; index <= last; ++index) {
    shmid_ds segment;
    const int id = shmctl(index, SHM_STAT, &segment);
    if (id >= 0 && is_ours(segment)) found.push_back(id);
  }
  return found;
}

Link open_link(const ESHMConfig& config) { return Link(eshm_init(&config)); }

std::string last_error() { return eshm_last_error(nullptr); }

int last_error_code() {
  int code = 0;
  eshm_last_error(&code);
  return code;
}

std::vector<long long> numbers_in(const std::string& text) {
  std::vector<long long> numbers;
  for (size_t i = 0; i < text.size();) {
    if (!std::isdigit(static_cast<unsigned char>(text[i]))) {
      ++i;
      continue;
    }
    const size_t end = std::min(text.find_first_not_of("0123456789", i), text.size());
    // A run of digits that no number can hold is a part of a name.
    if (end - i <= 18) numbers.push_back(std::stoll(text.substr(i, end - i)));
    i = end;
  }
  return numbers;
}

bool names_number(const std::string& text, long long number) {
  const std::vector<long long> numbers = numbers_in(text);
  return std::find(numbers.begin(), numbers.end(), number) != numbers.end();
}

ESHMConfig config_of(const std::string& name, ESHMRole role, ESHMBackend backend) {
  ESHMConfig config = eshm_default_config(name.c_str());
  config.role = role;
  config.backend = backend;
  config.stale_threshold_ms = kPatientMs;
  return config;
}

ESHMConfig at_once(ESHMConfig config) {
  config.max_reconnect_attempts = 1;
  return config;
}

ESHMConfig for_ever(ESHMConfig config) {
  config.max_reconnect_attempts = 0;
  config.reconnect_wait_ms = 0;
  return config;
}

int write_text(ESHMHandle* link, const std::string& text) {
  return eshm_write(link, text.data(), text.size());
}

std::string read_text(ESHMHandle* link, uint32_t timeout_ms) {
  char buffer[ESHM_MAX_DATA_SIZE];
  size_t bytes = 0;
  const int code = eshm_read_ex(link, buffer, sizeof buffer, &bytes, timeout_ms);
  return code == ESHM_SUCCESS ? std::string(buffer, bytes) : "error " + std::to_string(code);
}

void read_until(ESHMHandle* link, const std::string& text) {
  while (read_text(link, 100) != text) {
  }
}

void pause_ms(unsigned ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

bool remote_is_alive(ESHMHandle* link) {
  bool alive = false;
  EXPECT_EQ(eshm_check_remote_alive(link, &alive), ESHM_SUCCESS) << last_error();
  return alive;
}

ESHMPeerState remote_state(ESHMHandle* link) {
  ESHMPeerState state = ESHM_PEER_NEVER_SEEN;
  EXPECT_EQ(eshm_get_remote_state(link, &state), ESHM_SUCCESS) << last_error();
  return state;
}

void LinkTest::SetUp() {
  name_now = keeps_evidence ? &name_ : nullptr;
  arm_watchdog();
  eshm_set_log_callback(nullptr, nullptr);
}

void LinkTest::TearDown() {
  EXPECT_EQ(files_of(name_), std::vector<std::string>()) << "left behind in /dev/shm";
  EXPECT_EQ(sysv_segments_of_ours(), std::vector<int>()) << "left behind in ipcs -m";
  name_now = nullptr;
  alarm(0);
}

void LinkTest::remove_name_of_the_killed() const {
  EXPECT_LE(files_of(name_).size(), 1u);
  unlink(path().c_str());
}

std::string backend_name(const testing::TestParamInfo<ESHMBackend>& info) {
  return info.param == ESHM_BACKEND_SYSV ? "SystemV" : "Posix";
}

}  // namespace test
