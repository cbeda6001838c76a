// SPDX-License-Identifier: MIT
// JSON, as it is written and read by the commands.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace tool {

// A text as a JSON string. Bytes that are no UTF-8 become \udcNN, which Python's
// surrogateescape reads back as the same bytes.
std::string json_string(const std::string& bytes);
std::string json_number(double value);  // "NaN", "Infinity" and "-Infinity" as strings

// Writes one value, on one line.
class JsonWriter {
 public:
  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(const std::string& name);
  JsonWriter& value(const std::string& text) { return raw(json_string(text)); }
  JsonWriter& value(const char* text) { return raw(json_string(text)); }
  JsonWriter& value(bool truth) { return raw(truth ? "true" : "false"); }
  JsonWriter& value(double number) { return raw(json_number(number)); }
  JsonWriter& value(uint64_t number) { return raw(std::to_string(number)); }
  JsonWriter& value(int64_t number) { return raw(std::to_string(number)); }
  JsonWriter& value(uint32_t number) { return raw(std::to_string(number)); }
  JsonWriter& value(int32_t number) { return raw(std::to_string(number)); }
  JsonWriter& null() { return raw("null"); }
  JsonWriter& raw(const std::string& json);
  template <class T>
  JsonWriter& member(const char* name, const T& what) {
    return key(name).value(what);
  }
  const std::string& text() const { return text_; }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);

  std::string text_;
  bool needs_comma_ = false;
};

struct JsonError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct JsonValue {
  enum class Kind { kNull, kBool, kNumber, kString, kArray, kObject };
  Kind kind = Kind::kNull;
  bool truth = false;
  std::string text;  // of a string, its bytes; of a number, as it was written
  std::vector<JsonValue> elements;
  std::vector<std::pair<std::string, JsonValue>> members;

  const JsonValue* find(const std::string& name) const;
};

// Throws JsonError.
JsonValue parse_json(const std::string& text);

}  // namespace tool
