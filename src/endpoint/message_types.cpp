// SPDX-License-Identifier: MIT
#include "endpoint/message_types.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace eshm::endpoint {
namespace {

bool begins_a_field(char c) { return c == '{' || c == ',' || c == '}'; }

// The piece between separators in which two texts begin to differ.
std::string field_at(const std::string& text, size_t at) {
  size_t begin = std::min(at, text.size());
  while (begin > 0 && !begins_a_field(text[begin - 1])) --begin;
  size_t end = begin;
  while (end < text.size() && !begins_a_field(text[end])) ++end;
  return end == begin ? "nothing" : text.substr(begin, end - begin);
}

std::string shortened(const std::string& text) {
  constexpr size_t kMost = 120;
  return text.size() <= kMost ? text : text.substr(0, kMost) + "...";
}

std::string difference(const std::string& theirs, const std::string& ours) {
  if (theirs.empty() || ours.empty()) return "; at least one end gives only a fingerprint";
  const auto first =
      std::mismatch(theirs.begin(), theirs.end(), ours.begin(), ours.end()).first;
  const size_t same = size_t(first - theirs.begin());
  return "; the first difference: " + field_at(theirs, same) + " there, " + field_at(ours, same) +
         " here";
}

}  // namespace

// A private copy: a peer may write rubbish there.
std::string type_text_in(const os::Fd& file, const layout::ChannelGeometry& geometry) {
  std::string text(geometry.type_text_bytes, ' ');
  const ssize_t got =
      pread(file.get(), &text[0], text.size(), off_t(geometry.type_text_offset));
  text.resize(size_t(std::max<ssize_t>(got, 0)));
  for (char& c : text) {
    if (c < 0x20 || c == 0x7f) c = '?';
  }
  return text;
}

std::string type_text_in(const SegmentFile& segment, layout::Direction direction) {
  return type_text_in(segment.locks().fd(), segment.plan().geometry[direction]);
}

int write_type_texts(const Settings& settings, const SegmentFile& segment) {
  for (const layout::Direction direction : layout::kDirections) {
    const std::string& text = settings.type_text[direction];
    const off_t at = off_t(segment.plan().geometry[direction].type_text_offset);
    if (text.empty()) continue;
    const ssize_t put = pwrite(segment.file().get(), text.data(), text.size(), at);
    if (put != ssize_t(text.size())) return put < 0 ? errno : EIO;
  }
  return 0;
}

Failure compare_types(const Settings& settings, const SegmentFile& segment) {
  for (const layout::Direction direction : layout::kDirections) {
    const layout::ChannelGeometry& geometry = segment.plan().geometry[direction];
    const uint64_t ours = settings.shape[direction].type_fingerprint;
    if (layout::types_fit(geometry.type_fingerprint, ours)) continue;
    const std::string theirs = type_text_in(segment, direction);
    return fail(ESHM_ERROR_TYPE_MISMATCH,
                about(settings) + name_of(direction) + " carries " + shortened(theirs) + " (" +
                    std::to_string(geometry.type_fingerprint) + "), this end uses " +
                    shortened(settings.type_text[direction]) + " (" + std::to_string(ours) + ")" +
                    difference(theirs, settings.type_text[direction]));
  }
  return success();
}

}  // namespace eshm::endpoint
