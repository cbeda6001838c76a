// SPDX-License-Identifier: MIT
// ESHM in C++17: what a message type is, in words that both ends can compare.
// Included by eshm.hpp; needs nothing of the library.
//
// struct Pose { double x, y; std::uint32_t id; };
// ESHM_DESCRIBE(Pose, x, y, id);  // in the type's own namespace, before its first use
//
// gives the canonical text "Pose{x:f64@0,y:f64@8,id:u32@16}24": name, then each
// field with kind and offset, then the size. Kinds: i8 i16 i32 i64 u8 u16 u32
// u64 f32 f64 bool char; an enum is its number; an array (std::array too) is
// kind[N] or kind[N][M]; a described struct stands inside as {...}. A type
// without a description is "?{}size/alignment": those two alone are compared,
// as a field that is not listed is not compared.
// The fingerprint is FNV-1a, 64 bits, of the text. All at compile time.
#ifndef ESHM_TYPES_HPP
#define ESHM_TYPES_HPP

#include "eshm_macros_off.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

namespace eshm {

template <class T>
struct Tag {};  // what ESHM_DESCRIBE's function is found by; a derived struct does not fit

namespace detail {

struct NoFields {
  template <class Field>
  constexpr void field(const char*, std::size_t) noexcept {}
};

template <class T, class = void>
struct IsDescribed : std::false_type {};
template <class T>
struct IsDescribed<T, std::void_t<decltype(eshm_describe(Tag<T>{}, std::declval<NoFields&>()))>>
    : std::true_type {};

// Counts characters, and keeps them where it has room.
class Text {
 public:
  constexpr explicit Text(char* room) noexcept : room_(room) {}
  constexpr std::size_t length() const noexcept { return length_; }
  constexpr void put(char letter) noexcept {
    if (room_ != nullptr) room_[length_] = letter;
    ++length_;
  }
  constexpr void put(std::string_view text) noexcept {
    for (const char letter : text) put(letter);
  }
  constexpr void number(std::size_t value) noexcept {
    if (value >= 10) number(value / 10);
    put(static_cast<char>('0' + value % 10));
  }

 private:
  char* room_;
  std::size_t length_ = 0;
};

template <class T>
constexpr void put_fields(Text& out);

template <class T>
struct ArrayOf : std::false_type {};
template <class T, std::size_t size>
struct ArrayOf<T[size]> : std::true_type {
  using Element = T;
  static constexpr std::size_t kSize = size;
};
template <class T, std::size_t size>
struct ArrayOf<std::array<T, size>> : ArrayOf<T[size]> {};

template <class Field>
constexpr void put_element_kind(Text& out) {
  using T = std::remove_cv_t<Field>;
  if constexpr (ArrayOf<T>::value) {
    put_element_kind<typename ArrayOf<T>::Element>(out);
  } else if constexpr (std::is_enum_v<T>) {
    put_element_kind<std::underlying_type_t<T>>(out);
  } else if constexpr (std::is_same_v<T, bool>) {
    out.put("bool");
  } else if constexpr (std::is_same_v<T, char>) {
    out.put("char");
  } else if constexpr (std::is_integral_v<T>) {
    out.put(std::is_signed_v<T> ? 'i' : 'u');
    out.number(sizeof(T) * 8);
  } else if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    out.put(sizeof(T) == 4 ? "f32" : "f64");
  } else {
    static_assert(IsDescribed<T>::value, "a field's struct needs an ESHM_DESCRIBE of its own");
    out.put('{');
    put_fields<T>(out);
    out.put('}');
  }
}

template <class Field>
constexpr void put_extents(Text& out) {
  using T = std::remove_cv_t<Field>;
  if constexpr (ArrayOf<T>::value) {
    out.put('[');
    out.number(ArrayOf<T>::kSize);
    out.put(']');
    put_extents<typename ArrayOf<T>::Element>(out);
  }
}

class FieldWriter {
 public:
  constexpr explicit FieldWriter(Text& out) noexcept : out_(out) {}
  template <class Field>
  constexpr void field(const char* name, std::size_t offset) {
    if (!is_first_) out_.put(',');
    is_first_ = false;
    out_.put(name);
    out_.put(':');
    put_element_kind<Field>(out_);
    put_extents<Field>(out_);
    out_.put('@');
    out_.number(offset);
  }

 private:
  Text& out_;
  bool is_first_ = true;
};

template <class T>
constexpr void put_fields(Text& out) {
  FieldWriter fields(out);
  eshm_describe(Tag<T>{}, fields);
}

template <class T>
constexpr void put_type(Text& out) {
  if constexpr (IsDescribed<T>::value) {
    NoFields none;
    const std::string_view name = eshm_describe(Tag<T>{}, none);
    out.put(name.substr(name.rfind(':') + 1));  // npos + 1 is 0: nothing before the name
    out.put('{');
    put_fields<T>(out);
    out.put('}');
    out.number(sizeof(T));
  } else {
    out.put("?{}");
    out.number(sizeof(T));
    out.put('/');
    out.number(alignof(T));
  }
}

template <class T>
constexpr std::size_t type_text_length() {
  Text count(nullptr);
  put_type<T>(count);
  return count.length();
}

template <class T>
constexpr auto make_type_text() {
  std::array<char, type_text_length<T>() + 1> room{};
  Text text(room.data());
  put_type<T>(text);
  return room;
}

template <class T>
inline constexpr auto kTypeText = make_type_text<T>();

}  // namespace detail

constexpr std::uint64_t fnv1a(std::string_view text) noexcept {
  std::uint64_t hash = 14695981039346656037u;
  for (const char letter : text) {
    hash = (hash ^ static_cast<unsigned char>(letter)) * 1099511628211u;
  }
  return hash;
}

template <class T>
inline constexpr bool is_described = detail::IsDescribed<T>::value;
// Static, and with a zero behind it.
template <class T>
inline constexpr std::string_view type_text{detail::kTypeText<T>.data(),
                                            detail::kTypeText<T>.size() - 1};
template <class T>
inline constexpr std::uint64_t type_fingerprint = fnv1a(type_text<T>);

}  // namespace eshm

#include "eshm_macros_on.hpp"

// At most 32 fields; more go into a struct of their own that is a field.
#define ESHM_DESCRIBE(Type, ...)                                                       \
  template <class EshmFields>                                                          \
  constexpr const char* eshm_describe(::eshm::Tag<Type>, EshmFields& eshm_fields) {    \
    using EshmDescribed = Type;                                                        \
    ESHM_EACH_FIELD(__VA_ARGS__)                                                       \
    return #Type;                                                                      \
  }                                                                                    \
  static_assert(std::is_standard_layout_v<Type> && std::is_trivially_copyable_v<Type>, \
                "only a plain struct can be described");                               \
  static_assert(::eshm::is_described<Type>,                                            \
                "ESHM_DESCRIBE must stand in the type's own namespace, before its first use")

#define ESHM_FIELD(name) \
  eshm_fields.template field<decltype(EshmDescribed::name)>(#name, offsetof(EshmDescribed, name));
#define ESHM_FIELDS_1(name) ESHM_FIELD(name)
#define ESHM_FIELDS_2(name, ...) ESHM_FIELD(name) ESHM_FIELDS_1(__VA_ARGS__)
#define ESHM_FIELDS_3(name, ...) ESHM_FIELD(name) ESHM_FIELDS_2(__VA_ARGS__)
#define ESHM_FIELDS_4(name, ...) ESHM_FIELD(name) ESHM_FIELDS_3(__VA_ARGS__)
#define ESHM_FIELDS_5(name, ...) ESHM_FIELD(name) ESHM_FIELDS_4(__VA_ARGS__)
#define ESHM_FIELDS_6(name, ...) ESHM_FIELD(name) ESHM_FIELDS_5(__VA_ARGS__)
#define ESHM_FIELDS_7(name, ...) ESHM_FIELD(name) ESHM_FIELDS_6(__VA_ARGS__)
#define ESHM_FIELDS_8(name, ...) ESHM_FIELD(name) ESHM_FIELDS_7(__VA_ARGS__)
#define ESHM_FIELDS_9(name, ...) ESHM_FIELD(name) ESHM_FIELDS_8(__VA_ARGS__)
#define ESHM_FIELDS_10(name, ...) ESHM_FIELD(name) ESHM_FIELDS_9(__VA_ARGS__)
#define ESHM_FIELDS_11(name, ...) ESHM_FIELD(name) ESHM_FIELDS_10(__VA_ARGS__)
#define ESHM_FIELDS_12(name, ...) ESHM_FIELD(name) ESHM_FIELDS_11(__VA_ARGS__)
#define ESHM_FIELDS_13(name, ...) ESHM_FIELD(name) ESHM_FIELDS_12(__VA_ARGS__)
#define ESHM_FIELDS_14(name, ...) ESHM_FIELD(name) ESHM_FIELDS_13(__VA_ARGS__)
#define ESHM_FIELDS_15(name, ...) ESHM_FIELD(name) ESHM_FIELDS_14(__VA_ARGS__)
#define ESHM_FIELDS_16(name, ...) ESHM_FIELD(name) ESHM_FIELDS_15(__VA_ARGS__)
#define ESHM_FIELDS_17(name, ...) ESHM_FIELD(name) ESHM_FIELDS_16(__VA_ARGS__)
#define ESHM_FIELDS_18(name, ...) ESHM_FIELD(name) ESHM_FIELDS_17(__VA_ARGS__)
#define ESHM_FIELDS_19(name, ...) ESHM_FIELD(name) ESHM_FIELDS_18(__VA_ARGS__)
#define ESHM_FIELDS_20(name, ...) ESHM_FIELD(name) ESHM_FIELDS_19(__VA_ARGS__)
#define ESHM_FIELDS_21(name, ...) ESHM_FIELD(name) ESHM_FIELDS_20(__VA_ARGS__)
#define ESHM_FIELDS_22(name, ...) ESHM_FIELD(name) ESHM_FIELDS_21(__VA_ARGS__)
#define ESHM_FIELDS_23(name, ...) ESHM_FIELD(name) ESHM_FIELDS_22(__VA_ARGS__)
#define ESHM_FIELDS_24(name, ...) ESHM_FIELD(name) ESHM_FIELDS_23(__VA_ARGS__)
#define ESHM_FIELDS_25(name, ...) ESHM_FIELD(name) ESHM_FIELDS_24(__VA_ARGS__)
#define ESHM_FIELDS_26(name, ...) ESHM_FIELD(name) ESHM_FIELDS_25(__VA_ARGS__)
#define ESHM_FIELDS_27(name, ...) ESHM_FIELD(name) ESHM_FIELDS_26(__VA_ARGS__)
#define ESHM_FIELDS_28(name, ...) ESHM_FIELD(name) ESHM_FIELDS_27(__VA_ARGS__)
#define ESHM_FIELDS_29(name, ...) ESHM_FIELD(name) ESHM_FIELDS_28(__VA_ARGS__)
#define ESHM_FIELDS_30(name, ...) ESHM_FIELD(name) ESHM_FIELDS_29(__VA_ARGS__)
#define ESHM_FIELDS_31(name, ...) ESHM_FIELD(name) ESHM_FIELDS_30(__VA_ARGS__)
#define ESHM_FIELDS_32(name, ...) ESHM_FIELD(name) ESHM_FIELDS_31(__VA_ARGS__)
#define ESHM_PICK(_1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16, _17, _18, \
                  _19, _20, _21, _22, _23, _24, _25, _26, _27, _28, _29, _30, _31, _32, chosen,    \
                  ...)                                                                             \
  chosen
#define ESHM_EACH_FIELD(...)                                                                \
  ESHM_PICK(__VA_ARGS__, ESHM_FIELDS_32, ESHM_FIELDS_31, ESHM_FIELDS_30, ESHM_FIELDS_29,    \
            ESHM_FIELDS_28, ESHM_FIELDS_27, ESHM_FIELDS_26, ESHM_FIELDS_25, ESHM_FIELDS_24, \
            ESHM_FIELDS_23, ESHM_FIELDS_22, ESHM_FIELDS_21, ESHM_FIELDS_20, ESHM_FIELDS_19, \
            ESHM_FIELDS_18, ESHM_FIELDS_17, ESHM_FIELDS_16, ESHM_FIELDS_15, ESHM_FIELDS_14, \
            ESHM_FIELDS_13, ESHM_FIELDS_12, ESHM_FIELDS_11, ESHM_FIELDS_10, ESHM_FIELDS_9,  \
            ESHM_FIELDS_8, ESHM_FIELDS_7, ESHM_FIELDS_6, ESHM_FIELDS_5, ESHM_FIELDS_4,      \
            ESHM_FIELDS_3, ESHM_FIELDS_2, ESHM_FIELDS_1, 0)                                 \
  (__VA_ARGS__)

#endif  // ESHM_TYPES_HPP
