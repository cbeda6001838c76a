// SPDX-License-Identifier: MIT
#include "type.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "text.h"

namespace tool {
namespace {

struct KindName {
  const char* text;
  Kind kind;
  uint64_t bytes;
};
constexpr KindName kKinds[] = {
    {"i8", Kind::kI8, 1},   {"i16", Kind::kI16, 2}, {"i32", Kind::kI32, 4},   {"i64", Kind::kI64, 8},
    {"u8", Kind::kU8, 1},   {"u16", Kind::kU16, 2}, {"u32", Kind::kU32, 4},   {"u64", Kind::kU64, 8},
    {"f32", Kind::kF32, 4}, {"f64", Kind::kF64, 8}, {"bool", Kind::kBool, 1}, {"char", Kind::kChar, 1},
};

constexpr int kDeepest = 32;
constexpr uint64_t kMostBytes = INT32_MAX;
constexpr size_t kMostExpanded = 16;  // elements of an array of structs, in a table

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  Type all() {
    Type type;
    type.name = until("{");
    type.fields = fields(0);
    type.bytes = number();
    if (at_ != text_.size()) fail("something follows the size");
    if (type.fields.empty()) fail("it has no fields");
    check(type.fields, type.bytes);
    return type;
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw std::runtime_error("at " + std::to_string(at_) + ": " + why);
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void expect(char wanted) {
    if (peek() != wanted) fail(std::string("'") + wanted + "' is missing");
    ++at_;
  }
  std::string until(const char* ends) {
    const size_t end = text_.find_first_of(ends, at_);
    if (end == std::string::npos) fail("it ends too early");
    std::string part = text_.substr(at_, end - at_);
    at_ = end;
    return part;
  }
  uint64_t number() {
    const size_t begin = at_;
    uint64_t value = 0;
    while (peek() >= '0' && peek() <= '9') {
      value = value * 10 + uint64_t(text_[at_++] - '0');
      if (value > kMostBytes) fail("a number is too large");
    }
    if (at_ == begin) fail("a number is missing");
    return value;
  }

  std::vector<Field> fields(int depth) {
    if (depth > kDeepest) fail("structs are nested too deeply");
    std::vector<Field> all;
    expect('{');
    if (peek() == '}') {
      ++at_;
      return all;
    }
    for (;;) {
      all.push_back(field(depth));
      if (peek() != ',') break;
      ++at_;
    }
    expect('}');
    return all;
  }

  Field field(int depth) {
    Field field;
    field.name = until(":,{}");
    expect(':');
    if (peek() == '{') {
      field.fields = fields(depth + 1);
      if (field.fields.empty()) fail("a struct has no fields");
      measure(field);
    } else {
      scalar(field);
    }
    while (peek() == '[') {
      ++at_;
      field.dims.push_back(number());
      if (field.dims.back() == 0 || field.bytes() > kMostBytes) fail("an array has no such size");
      expect(']');
    }
    expect('@');
    field.offset = number();
    return field;
  }

  void scalar(Field& field) {
    const std::string kind = until("[@,}");
    for (const KindName& known : kKinds) {
      if (kind != known.text) continue;
      field.kind = known.kind;
      field.element_bytes = field.alignment = known.bytes;
      return;
    }
    fail("\"" + kind + "\" is no kind");
  }

  // As a C++ compiler lays it out: the text gives no size of a struct within.
  void measure(Field& field) const {
    uint64_t end = 0;
    for (const Field& inner : field.fields) {
      end = std::max(end, inner.offset + inner.bytes());
      field.alignment = std::max(field.alignment, inner.alignment);
    }
    field.element_bytes = (end + field.alignment - 1) / field.alignment * field.alignment;
    if (field.element_bytes > kMostBytes) fail("a struct is too large");
  }

  void check(const std::vector<Field>& fields, uint64_t bytes) const {
    for (const Field& field : fields) {
      if (field.offset + field.bytes() > bytes) {
        throw std::runtime_error("field " + field.name + " lies outside of it");
      }
      check(field.fields, field.element_bytes);
    }
  }

  const std::string& text_;
  size_t at_ = 0;
};

template <class T>
T load(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

std::string float_json(const std::string& text, double value) {
  return std::isfinite(value) ? text : json_number(value);
}

std::string scalar_json(Kind kind, const char* at) {
  switch (kind) {
    case Kind::kI8:
      return std::to_string(load<int8_t>(at));
    case Kind::kI16:
      return std::to_string(load<int16_t>(at));
    case Kind::kI32:
      return std::to_string(load<int32_t>(at));
    case Kind::kI64:
      return std::to_string(load<int64_t>(at));
    case Kind::kU8:
      return std::to_string(load<uint8_t>(at));
    case Kind::kU16:
      return std::to_string(load<uint16_t>(at));
    case Kind::kU32:
      return std::to_string(load<uint32_t>(at));
    case Kind::kU64:
      return std::to_string(load<uint64_t>(at));
    case Kind::kF32:
      return float_json(exact(load<float>(at)), double(load<float>(at)));
    case Kind::kF64:
      return float_json(exact(load<double>(at)), load<double>(at));
    case Kind::kBool:
      return load<uint8_t>(at) != 0 ? "true" : "false";
    case Kind::kChar:
      return json_string(std::string(1, *at));
    case Kind::kStruct:
      break;
  }
  return "null";
}

void put_element(JsonWriter& out, Kind kind, const std::vector<Field>& fields, const char* at);

// The dimensions from `dim` on. The last one of chars is a text, which ends where its
// zeros begin.
void put_dims(JsonWriter& out, Kind kind, const std::vector<Field>& fields,
              const std::vector<uint64_t>& dims, size_t dim, uint64_t bytes, const char* at) {
  if (dim == dims.size()) {
    put_element(out, kind, fields, at);
    return;
  }
  if (kind == Kind::kChar && dim + 1 == dims.size()) {
    std::string text(at, dims[dim]);
    text.erase(text.find_last_not_of('\0') + 1);
    out.value(text);
    return;
  }
  const uint64_t step = bytes / dims[dim];
  out.begin_array();
  for (uint64_t i = 0; i < dims[dim]; ++i) {
    put_dims(out, kind, fields, dims, dim + 1, step, at + i * step);
  }
  out.end_array();
}

void put_fields(JsonWriter& out, const std::vector<Field>& fields, const char* at) {
  out.begin_object();
  for (const Field& field : fields) {
    out.key(field.name);
    put_dims(out, field.kind, field.fields, field.dims, 0, field.bytes(), at + field.offset);
  }
  out.end_object();
}

void put_element(JsonWriter& out, Kind kind, const std::vector<Field>& fields, const char* at) {
  if (kind == Kind::kStruct) {
    put_fields(out, fields, at);
  } else {
    out.raw(scalar_json(kind, at));
  }
}

const char* kind_name(Kind kind) {
  for (const KindName& known : kKinds) {
    if (kind == known.kind) return known.text;
  }
  return "{}";
}

std::string index_text(uint64_t index, const std::vector<uint64_t>& dims) {
  std::string text;
  uint64_t below = 1;
  for (const uint64_t dim : dims) below *= dim;
  for (const uint64_t dim : dims) {
    below /= dim;
    text += "[" + std::to_string(index / below % dim) + "]";
  }
  return text;
}

void add_leaves(const std::vector<Field>& fields, const std::string& prefix, uint64_t base,
                std::vector<Leaf>& out) {
  for (const Field& field : fields) {
    const std::string path = prefix + field.name;
    if (field.kind != Kind::kStruct) {
      out.push_back({path, field.kind, field.dims, base + field.offset, field.bytes()});
      continue;
    }
    const uint64_t shown = std::min<uint64_t>(field.elements(), kMostExpanded);
    for (uint64_t i = 0; i < shown; ++i) {
      add_leaves(field.fields, path + index_text(i, field.dims) + ".",
                 base + field.offset + i * field.element_bytes, out);
    }
  }
}

// ---- from JSON ---------------------------------------------------------------------

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw JsonError("field " + path + ": " + why);
}

template <class T>
void store(char* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

bool is_integer_text(const std::string& text) {
  return text.find_first_of(".eE") == std::string::npos;
}

void store_signed(const std::string& path, const std::string& text, int64_t least, int64_t most,
                  uint64_t bytes, char* to) {
  errno = 0;
  const int64_t value = std::strtoll(text.c_str(), nullptr, 10);
  if (!is_integer_text(text) || errno != 0 || value < least || value > most) {
    refuse(path, text + " is no integer from " + std::to_string(least) + " to " +
                     std::to_string(most));
  }
  std::memcpy(to, &value, bytes);  // little end first, as every host of this library
}

void store_unsigned(const std::string& path, const std::string& text, uint64_t most,
                    uint64_t bytes, char* to) {
  errno = 0;
  const uint64_t value = std::strtoull(text.c_str(), nullptr, 10);
  if (!is_integer_text(text) || text[0] == '-' || errno != 0 || value > most) {
    refuse(path, text + " is no integer from 0 to " + std::to_string(most));
  }
  std::memcpy(to, &value, bytes);
}

template <class T>
void store_float(const std::string& path, const JsonValue& value, char* to) {
  if (value.kind == JsonValue::Kind::kString) {  // as json_number writes them
    if (value.text == "NaN") return store<T>(to, T(NAN));
    if (value.text == "Infinity") return store<T>(to, T(INFINITY));
    if (value.text == "-Infinity") return store<T>(to, -T(INFINITY));
  }
  if (value.kind != JsonValue::Kind::kNumber) refuse(path, "it is a number");
  const T number =
      sizeof(T) == 4 ? T(std::strtof(value.text.c_str(), nullptr))
                     : T(std::strtod(value.text.c_str(), nullptr));
  if (!std::isfinite(number)) refuse(path, value.text + " is too large for its kind");
  store<T>(to, number);
}

void store_scalar(const std::string& path, Kind kind, const JsonValue& value, char* to) {
  if (kind == Kind::kF32) return store_float<float>(path, value, to);
  if (kind == Kind::kF64) return store_float<double>(path, value, to);
  if (kind == Kind::kBool) {
    if (value.kind != JsonValue::Kind::kBool) refuse(path, "it is true or false");
    return store<uint8_t>(to, value.truth ? 1 : 0);
  }
  if (kind == Kind::kChar) {
    if (value.kind != JsonValue::Kind::kString || value.text.size() != 1) {
      refuse(path, "it is a text of one byte");
    }
    return store<char>(to, value.text[0]);
  }
  if (value.kind != JsonValue::Kind::kNumber) refuse(path, "it is an integer");
  switch (kind) {
    case Kind::kI8:
      return store_signed(path, value.text, INT8_MIN, INT8_MAX, 1, to);
    case Kind::kI16:
      return store_signed(path, value.text, INT16_MIN, INT16_MAX, 2, to);
    case Kind::kI32:
      return store_signed(path, value.text, INT32_MIN, INT32_MAX, 4, to);
    case Kind::kI64:
      return store_signed(path, value.text, INT64_MIN, INT64_MAX, 8, to);
    case Kind::kU8:
      return store_unsigned(path, value.text, UINT8_MAX, 1, to);
    case Kind::kU16:
      return store_unsigned(path, value.text, UINT16_MAX, 2, to);
    case Kind::kU32:
      return store_unsigned(path, value.text, UINT32_MAX, 4, to);
    default:
      return store_unsigned(path, value.text, UINT64_MAX, 8, to);
  }
}

void store_fields(const std::string& prefix, const std::vector<Field>& fields,
                  const JsonValue& value, char* to);

void store_dims(const std::string& path, const Field& field, const JsonValue& value, size_t dim,
                uint64_t bytes, char* to) {
  if (dim == field.dims.size()) {
    if (field.kind == Kind::kStruct) return store_fields(path + ".", field.fields, value, to);
    return store_scalar(path, field.kind, value, to);
  }
  const uint64_t count = field.dims[dim];
  if (field.kind == Kind::kChar && dim + 1 == field.dims.size()) {
    if (value.kind != JsonValue::Kind::kString || value.text.size() > count) {
      refuse(path, "it is a text of at most " + std::to_string(count) + " bytes");
    }
    std::memcpy(to, value.text.data(), value.text.size());
    return;
  }
  if (value.kind != JsonValue::Kind::kArray || value.elements.size() != count) {
    refuse(path, "it is an array of " + std::to_string(count));
  }
  const uint64_t step = bytes / count;
  for (uint64_t i = 0; i < count; ++i) {
    store_dims(path + "[" + std::to_string(i) + "]", field, value.elements[i], dim + 1, step,
               to + i * step);
  }
}

void store_fields(const std::string& prefix, const std::vector<Field>& fields,
                  const JsonValue& value, char* to) {
  const std::string of = prefix.empty() ? "" : " " + prefix.substr(0, prefix.size() - 1);
  if (value.kind != JsonValue::Kind::kObject) throw JsonError("the value" + of + " is no object");
  for (const Field& field : fields) {
    const JsonValue* const found = value.find(field.name);
    if (found == nullptr) refuse(prefix + field.name, "it is missing");
    store_dims(prefix + field.name, field, *found, 0, field.bytes(), to + field.offset);
  }
  for (const auto& member : value.members) {
    const bool is_known = std::any_of(fields.begin(), fields.end(), [&](const Field& field) {
      return field.name == member.first;
    });
    if (!is_known) refuse(prefix + member.first, "the type has no such field");
  }
}

}  // namespace

uint64_t Field::elements() const {
  uint64_t count = 1;
  for (const uint64_t dim : dims) {
    if (dim != 0 && count > kMostBytes / dim) return kMostBytes + 1;
    count *= dim;
  }
  return count;
}

bool parse_type(const std::string& text, Type& out, std::string& why) {
  try {
    out = Parser(text).all();
    return true;
  } catch (const std::runtime_error& error) {
    why = error.what();
    return false;
  }
}

uint64_t fingerprint_of(const std::string& text) {
  uint64_t hash = 14695981039346656037u;  // FNV-1a, 64 bits
  for (const char letter : text) hash = (hash ^ uint8_t(letter)) * 1099511628211u;
  return hash;
}

std::string Leaf::kind_text() const {
  std::string text = kind_name(kind);
  for (const uint64_t dim : dims) text += "[" + std::to_string(dim) + "]";
  return text;
}

std::vector<Leaf> leaves_of(const Type& type) {
  std::vector<Leaf> leaves;
  add_leaves(type.fields, "", 0, leaves);
  std::stable_sort(leaves.begin(), leaves.end(),
                   [](const Leaf& a, const Leaf& b) { return a.offset < b.offset; });
  return leaves;
}

bool find_leaf(const Type& type, const std::string& path, Leaf& out) {
  const std::vector<Field>* fields = &type.fields;
  uint64_t offset = 0;
  for (size_t at = 0;;) {
    const size_t end = std::min(path.find_first_of(".[", at), path.size());
    const std::string name = path.substr(at, end - at);
    const auto field = std::find_if(fields->begin(), fields->end(),
                                    [&](const Field& one) { return one.name == name; });
    if (field == fields->end()) return false;
    offset += field->offset;
    uint64_t bytes = field->bytes();
    size_t dim = 0;
    at = end;
    while (at < path.size() && path[at] == '[') {
      const size_t close = path.find(']', at);
      if (close == std::string::npos || close == at + 1 || dim == field->dims.size()) return false;
      const std::string digits = path.substr(at + 1, close - at - 1);
      if (digits.find_first_not_of("0123456789") != std::string::npos) return false;
      const uint64_t index = std::strtoull(digits.c_str(), nullptr, 10);
      if (index >= field->dims[dim]) return false;
      bytes /= field->dims[dim++];
      offset += index * bytes;
      at = close + 1;
    }
    if (at == path.size()) {
      if (field->kind == Kind::kStruct) return false;
      out = {path, field->kind, {field->dims.begin() + long(dim), field->dims.end()}, offset, bytes};
      return true;
    }
    if (path[at] != '.' || field->kind != Kind::kStruct || dim != field->dims.size()) return false;
    ++at;
    fields = &field->fields;
  }
}

void put_message(JsonWriter& out, const Type& type, const char* message) {
  put_fields(out, type.fields, message);
}

void put_leaf(JsonWriter& out, const Leaf& leaf, const char* message) {
  put_dims(out, leaf.kind, {}, leaf.dims, 0, leaf.bytes, message + leaf.offset);
}

std::string leaf_text(const Leaf& leaf, const char* message) {
  JsonWriter out;
  put_leaf(out, leaf, message);
  return printable(out.text());
}

std::string message_text(const Type& type, const char* message) {
  std::string text;
  for (const Field& field : type.fields) {
    JsonWriter out;
    put_dims(out, field.kind, field.fields, field.dims, 0, field.bytes(), message + field.offset);
    text += (text.empty() ? "" : " ") + field.name + "=" + out.text();
  }
  return printable(text);
}

bool is_number(const Leaf& leaf) { return leaf.kind != Kind::kChar && leaf.kind != Kind::kStruct; }

double leaf_number(const Leaf& leaf, const char* message) {
  const char* const at = message + leaf.offset;
  switch (leaf.kind) {
    case Kind::kF32:
      return double(load<float>(at));
    case Kind::kF64:
      return load<double>(at);
    case Kind::kBool:
      return load<uint8_t>(at) != 0 ? 1 : 0;
    default:
      return std::strtod(scalar_json(leaf.kind, at).c_str(), nullptr);
  }
}

std::string encode_message(const Type& type, const JsonValue& value) {
  std::string message(type.bytes, '\0');
  store_fields("", type.fields, value, &message[0]);
  return message;
}

}  // namespace tool
