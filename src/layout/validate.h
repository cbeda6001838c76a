// SPDX-License-Identifier: MIT
// Judging what lies at a name, from a private copy of its first bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "layout/segment.h"

namespace eshm::layout {

enum class Finding {
  kAbsent,        // nothing is there (never said by judge: there are no bytes then)
  kTooShort,      // smaller than any segment
  kForeign,       // not a segment of this library
  kOtherVersion,  // of another layout version
  kOtherSizes,    // file size and header contradict each other
  kCorrupt,       // no healthy process writes this
  kSuperseded,    // was one; its name belongs, or will belong, to another file
  kFine,
};

// How much of a segment has to be copied for judging it.
constexpr size_t kJudgedBytes = offsetof(ControlPage, seat);

struct Judgement {
  Finding finding = Finding::kAbsent;
  std::string reason;  // what was expected and what was found; empty when fine
  Plan plan;           // when fine or superseded
};

// `bytes` is a private copy of the first `count` bytes of a file of
// `file_bytes` bytes, on a host with pages of `host_page_bytes`. Any content is
// allowed.
Judgement judge(const unsigned char* bytes, size_t count, uint64_t file_bytes,
                uint64_t host_page_bytes);

}  // namespace eshm::layout
