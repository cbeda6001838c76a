// SPDX-License-Identifier: MIT
// A program that knows the library by one release's headers alone, and what it asks of
// the library that it runs with. The environment says which one that is.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "abi/grown.h"
#include "eshm.h"

namespace releases {

constexpr size_t kFirstStats = 152, kFirstInfo = 64, kFirstView = 120;  // release 0.1
constexpr size_t kGrowth = 8;

inline std::string given(const char* variable) {
  const char* value = std::getenv(variable);
  return value == nullptr ? "" : value;
}
inline bool library_is_grown() { return given("ESHM_ABI_LIBRARY_IS") == "grown"; }

// The file that holds the eshm_init of this process, and the one that it should be.
inline std::string real_path(const std::string& path) {
  char resolved[PATH_MAX] = "";
  return realpath(path.c_str(), resolved) == nullptr ? "" : resolved;
}
inline std::string library_in_use() {
  Dl_info found = {};
  void* init = dlsym(RTLD_DEFAULT, "eshm_init");
  return init == nullptr || dladdr(init, &found) == 0 ? "" : real_path(found.dli_fname);
}

// Memory for a struct of struct_bytes, then guard bytes, then a page that no access may
// touch. Without guard bytes that page follows the struct directly.
// All bytes begin as 0xAB.
class Place {
 public:
  static constexpr unsigned char kUntouched = 0xAB;

  Place(size_t struct_bytes, size_t guard_bytes)
      : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))),
        pages_(static_cast<unsigned char*>(mmap(nullptr, 2 * page_, PROT_READ | PROT_WRITE,
                                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    EXPECT_NE(pages_, MAP_FAILED);
    EXPECT_EQ(mprotect(pages_ + page_, page_, PROT_NONE), 0);
    std::memset(pages_, kUntouched, page_);
    const size_t bytes = (struct_bytes + guard_bytes + 7) / 8 * 8;  // aligned as a struct is
    begin_ = pages_ + page_ - bytes;
  }
  ~Place() { munmap(pages_, 2 * page_); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  template <class Struct>
  Struct* as() {
    return reinterpret_cast<Struct*>(begin_);
  }
  template <class Value>
  Value at(size_t offset) const {
    Value value;
    std::memcpy(&value, begin_ + offset, sizeof value);
    return value;
  }
  // First byte from `offset` on that is not `expected`; `end` where all are.
  size_t first_other(size_t offset, size_t end, unsigned char expected) const {
    return size_t(std::find_if(begin_ + offset, begin_ + end,
                               [=](unsigned char byte) { return byte != expected; }) -
                  begin_);
  }
  size_t end() const { return size_t(pages_ + page_ - begin_); }

 private:
  const size_t page_;
  unsigned char* const pages_;
  unsigned char* begin_;
};

struct Destroy {
  void operator()(ESHMHandle* handle) const { eshm_destroy(handle); }
};
using Link = std::unique_ptr<ESHMHandle, Destroy>;

class AbiTest : public testing::Test {
 protected:
  ESHMConfig config_of(ESHMRole role) const {
    ESHMConfig config = eshm_default_config(name_.c_str());
    config.role = role;
    config.stale_threshold_ms = 10000;
    return config;
  }
  static std::string last_error() { return eshm_last_error(nullptr); }
  void open_all() {
    const ESHMConfig master = config_of(ESHM_ROLE_MASTER), slave = config_of(ESHM_ROLE_SLAVE),
                     observer = config_of(ESHM_ROLE_OBSERVER);
    master_.reset(eshm_init(&master));
    ASSERT_TRUE(master_) << last_error();
    slave_.reset(eshm_init(&slave));
    ASSERT_TRUE(slave_) << last_error();
    observer_.reset(eshm_init(&observer));
    ASSERT_TRUE(observer_) << last_error();
  }
  void TearDown() override {
    observer_.reset();
    slave_.reset();
    master_.reset();
  }

  const std::string name_ = "abi_" + std::to_string(getpid());
  Link master_, slave_, observer_;
};

}  // namespace releases
