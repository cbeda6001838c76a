// SPDX-License-Identifier: MIT
#include "json.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "text.h"

namespace tool {
namespace {

// Bytes of the UTF-8 sequence at `at`; 0: there is none.
size_t utf8_length(const std::string& text, size_t at) {
  const uint8_t first = uint8_t(text[at]);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || at + length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((uint8_t(text[at + i]) & 0xc0) != 0x80) return 0;
  }
  const uint8_t second = uint8_t(text[at + 1]);
  const bool is_wrong = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                        (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
  return is_wrong ? 0 : length;
}

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  JsonValue all() {
    JsonValue value = one(0);
    skip_space();
    if (at_ != text_.size()) fail("something follows the value");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw JsonError("column " + std::to_string(at_ + 1) + ": " + why);
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' ||
                                  text_[at_] == '\r')) {
      ++at_;
    }
  }
  bool accept(char wanted) {
    skip_space();
    if (peek() != wanted) return false;
    ++at_;
    return true;
  }
  void expect(char wanted) {
    if (!accept(wanted)) fail(std::string("'") + wanted + "' is missing");
  }
  bool accept_word(const std::string& word) {
    if (text_.compare(at_, word.size(), word) != 0) return false;
    at_ += word.size();
    return true;
  }

  JsonValue one(int depth) {
    constexpr int kDeepest = 200;
    if (depth > kDeepest) fail("it is nested too deeply");
    skip_space();
    JsonValue value;
    const char next = peek();
    if (next == '{') {
      object(value, depth);
    } else if (next == '[') {
      array(value, depth);
    } else if (next == '"') {
      value.kind = JsonValue::Kind::kString;
      value.text = string();
    } else if (accept_word("true") || accept_word("false")) {
      value.kind = JsonValue::Kind::kBool;
      value.truth = text_[at_ - 2] == 'u';
    } else if (!accept_word("null")) {
      number(value);
    }
    return value;
  }

  void object(JsonValue& value, int depth) {
    value.kind = JsonValue::Kind::kObject;
    ++at_;
    if (accept('}')) return;
    do {
      skip_space();
      if (peek() != '"') fail("a field's name is missing");
      std::string name = string();
      if (value.find(name) != nullptr) fail("\"" + name + "\" is there twice");
      expect(':');
      value.members.emplace_back(std::move(name), one(depth + 1));
    } while (accept(','));
    expect('}');
  }

  void array(JsonValue& value, int depth) {
    value.kind = JsonValue::Kind::kArray;
    ++at_;
    if (accept(']')) return;
    do {
      value.elements.push_back(one(depth + 1));
    } while (accept(','));
    expect(']');
  }

  void number(JsonValue& value) {
    const size_t begin = at_;
    const auto digits = [&] {
      const size_t first = at_;
      while (peek() >= '0' && peek() <= '9') ++at_;
      if (at_ == first) fail("this is no JSON value");
    };
    if (peek() == '-') ++at_;
    digits();
    if (peek() == '.') ++at_, digits();
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      digits();
    }
    value.kind = JsonValue::Kind::kNumber;
    value.text = text_.substr(begin, at_ - begin);
  }

  uint32_t four_digits() {
    uint32_t point = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) fail("\\u needs four hexadecimal digits");
      point = point << 4 | uint32_t(digit);
    }
    return point;
  }

  static void put_utf8(uint32_t point, std::string& out) {
    if (point < 0x80) {
      out += char(point);
    } else if (point < 0x800) {
      out += char(0xc0 | point >> 6);
      out += char(0x80 | (point & 63));
    } else if (point < 0x10000) {
      out += char(0xe0 | point >> 12);
      out += char(0x80 | (point >> 6 & 63));
      out += char(0x80 | (point & 63));
    } else {
      out += char(0xf0 | point >> 18);
      out += char(0x80 | (point >> 12 & 63));
      out += char(0x80 | (point >> 6 & 63));
      out += char(0x80 | (point & 63));
    }
  }

  void escape(std::string& out) {
    const char what = peek();
    ++at_;
    static const std::string kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    const size_t index = kLetters.find(what);
    if (what != 'u') {
      if (what == '\0' || index == std::string::npos) fail("an unknown escape");
      out += kMeanings[index];
      return;
    }
    uint32_t point = four_digits();
    if (point >= 0xd800 && point < 0xdc00 && accept_word("\\u")) {
      const uint32_t low = four_digits();
      if (low < 0xdc00 || low > 0xdfff) fail("half a surrogate pair");
      point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    }
    if (point >= 0xdc80 && point <= 0xdcff) {
      out += char(point & 0xff);  // as json_string wrote it
    } else {
      put_utf8(point, out);
    }
  }

  std::string string() {
    std::string out;
    ++at_;
    for (;;) {
      if (at_ >= text_.size()) fail("a string has no end");
      const char next = text_[at_++];
      if (next == '"') return out;
      if (uint8_t(next) < 0x20) fail("a control character in a string");
      if (next == '\\') {
        escape(out);
      } else {
        out += next;
      }
    }
  }

  const std::string& text_;
  size_t at_ = 0;
};

}  // namespace

std::string json_string(const std::string& bytes) {
  std::string out = "\"";
  const auto escape = [&out](uint32_t point) {
    char text[8];
    std::snprintf(text, sizeof text, "\\u%04x", point & 0xffff);
    out += text;
  };
  for (size_t at = 0; at < bytes.size();) {
    const size_t length = utf8_length(bytes, at);
    const uint8_t first = uint8_t(bytes[at]);
    if (length == 0) {
      escape(0xdc00 + first);
    } else if (first == '"' || first == '\\') {
      out += '\\';
      out += char(first);
    } else if (first < 0x20 || first == 0x7f) {
      escape(first);
    } else {
      out.append(bytes, at, length);
    }
    at += length == 0 ? 1 : length;
  }
  return out + '"';
}

std::string json_number(double value) {
  if (std::isnan(value)) return "\"NaN\"";
  if (std::isinf(value)) return value > 0 ? "\"Infinity\"" : "\"-Infinity\"";
  return exact(value);
}

JsonWriter& JsonWriter::key(const std::string& name) {
  if (needs_comma_) text_ += ',';
  text_ += json_string(name) + ':';
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::raw(const std::string& json) {
  if (needs_comma_) text_ += ',';
  text_ += json;
  needs_comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::open(char bracket) {
  raw(std::string(1, bracket));
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  text_ += bracket;
  needs_comma_ = true;
  return *this;
}

const JsonValue* JsonValue::find(const std::string& name) const {
  for (const auto& member : members) {
    if (member.first == name) return &member.second;
  }
  return nullptr;
}

JsonValue parse_json(const std::string& text) { return Parser(text).all(); }

}  // namespace tool
