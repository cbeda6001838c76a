// SPDX-License-Identifier: MIT
// Message types by their canonical text (eshm_data.h, ESHMType): parsed, laid out, and
// messages of them to and from JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "json.h"

namespace tool {

enum class Kind { kI8, kI16, kI32, kI64, kU8, kU16, kU32, kU64, kF32, kF64, kBool, kChar, kStruct };

struct Field {
  std::string name;
  Kind kind = Kind::kStruct;
  std::vector<Field> fields;   // of a struct
  std::vector<uint64_t> dims;  // of an array
  uint64_t offset = 0;         // in what it is a field of
  uint64_t element_bytes = 0;
  uint64_t alignment = 1;

  uint64_t elements() const;
  uint64_t bytes() const { return elements() * element_bytes; }
};

struct Type {
  std::string name;
  std::vector<Field> fields;
  uint64_t bytes = 0;
};

// Whatever the text says, afterwards each field lies in the type's bytes. A description
// without fields ("?{}8/8") is refused, too. `why`: what is wrong.
bool parse_type(const std::string& text, Type& out, std::string& why);
uint64_t fingerprint_of(const std::string& text);

// A field that is no struct, by its path: "pose.x", "points[3].y".
struct Leaf {
  std::string path;
  Kind kind = Kind::kU8;
  std::vector<uint64_t> dims;
  uint64_t offset = 0;  // in the message
  uint64_t bytes = 0;

  std::string kind_text() const;
};
// In order of their offsets. Of an array of structs each element's, for the first ones.
std::vector<Leaf> leaves_of(const Type& type);
// "pose.x", "points[3].y", "values[2]". False: no such field, or it is a struct.
bool find_leaf(const Type& type, const std::string& path, Leaf& out);

// The message has type.bytes bytes at least, or leaf.offset + leaf.bytes.
void put_message(JsonWriter& out, const Type& type, const char* message);
void put_leaf(JsonWriter& out, const Leaf& leaf, const char* message);
// For a terminal: "x=1.5 y=2 pose={...}".
std::string message_text(const Type& type, const char* message);
std::string leaf_text(const Leaf& leaf, const char* message);
// A single number; of an array its first.
double leaf_number(const Leaf& leaf, const char* message);
bool is_number(const Leaf& leaf);

// Exactly the value, or JsonError: each field must be there, no other may be, and each
// number must fit (a float is rounded to the nearest that its kind can hold).
std::string encode_message(const Type& type, const JsonValue& value);

}  // namespace tool
