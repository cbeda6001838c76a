// SPDX-License-Identifier: MIT
#include "api/type_text.h"

#include <algorithm>

namespace eshm::api {
namespace {

struct Kind {
  std::string_view name;
  uint64_t bytes;
};
constexpr Kind kKinds[] = {{"i8", 1},  {"i16", 2}, {"i32", 4}, {"i64", 8}, {"u8", 1},   {"u16", 2},
                           {"u32", 4}, {"u64", 8}, {"f32", 4}, {"f64", 8}, {"bool", 1}, {"char", 1}};

constexpr int kMostNested = 64;                      // structs within structs
constexpr uint64_t kMostBytes = uint64_t(1) << 31;  // of a message

// Letters of other alphabets are bytes above 0x7f in UTF-8.
bool is_of_name(char c) {
  return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         static_cast<unsigned char>(c) > 0x7f;
}

// Reads a text from left to right. After the first fault nothing more is read.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  void type() {
    name();
    const uint64_t end = fields(0);
    const uint64_t bytes = number();
    if (bytes < end) fault("a size that holds all fields");
    if (at_ != text_.size()) fault("the end");
  }
  std::string why() const {
    if (wanted_.empty()) return "";
    return "the type's text is not canonical: at byte " + std::to_string(at_) + " " + wanted_ +
           " is wanted";
  }

 private:
  void fault(const char* wanted) {
    if (wanted_.empty()) wanted_ = wanted;
  }
  bool has(char c) const { return wanted_.empty() && at_ < text_.size() && text_[at_] == c; }
  bool take(char c) {
    if (!has(c)) return false;
    ++at_;
    return true;
  }
  void demand(char c, const char* wanted) {
    if (!take(c)) fault(wanted);
  }
  std::string_view word() {
    const size_t begin = at_;
    while (wanted_.empty() && at_ < text_.size() && is_of_name(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }
  void name() {
    const std::string_view name = word();
    if (name.empty() || (name[0] >= '0' && name[0] <= '9')) fault("a name");
  }
  uint64_t number() {
    const size_t begin = at_;
    uint64_t value = 0;
    while (wanted_.empty() && at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
      value = std::min(10 * value + uint64_t(text_[at_] - '0'), kMostBytes);
      ++at_;
    }
    const bool has_zero_before = at_ - begin > 1 && text_[begin] == '0';
    if (at_ == begin || has_zero_before || value >= kMostBytes) fault("a number below 2^31");
    return value;
  }

  // "{name:kind[N]@offset,...}"; returns the end of the field that ends last, in bytes.
  uint64_t fields(int depth) {
    if (depth > kMostNested) fault("fewer structs within structs");
    demand('{', "'{'");
    uint64_t end = 0;
    do {
      name();
      demand(':', "':'");
      const uint64_t bytes = element(depth) * extents();
      demand('@', "'@'");
      end = std::max(end, number() + std::min(bytes, kMostBytes));
    } while (take(','));
    demand('}', "',' or '}'");
    return end;
  }
  uint64_t element(int depth) {
    if (has('{')) return fields(depth + 1);
    const std::string_view kind = word();
    const auto known = std::find_if(std::begin(kKinds), std::end(kKinds),
                                    [&](const Kind& one) { return one.name == kind; });
    if (known != std::end(kKinds)) return known->bytes;
    fault("a kind (i8 .. i64, u8 .. u64, f32, f64, bool, char)");
    return 0;
  }
  uint64_t extents() {
    uint64_t count = 1;
    while (take('[')) {
      const uint64_t extent = number();
      if (extent == 0) fault("a number of elements above 0");
      count = std::min(count * extent, kMostBytes);
      demand(']', "']'");
    }
    return count;
  }

  const std::string_view text_;
  size_t at_ = 0;
  std::string wanted_;
};

}  // namespace

uint64_t fingerprint_of(std::string_view text) {
  uint64_t hash = 14695981039346656037u;
  for (const char letter : text) {
    hash = (hash ^ static_cast<unsigned char>(letter)) * 1099511628211u;
  }
  return hash;
}

std::string why_not_canonical(std::string_view text) {
  Reader reader(text);
  reader.type();
  return reader.why();
}

}  // namespace eshm::api
