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
struct Tag {  // what ESHM_DESCRIBE's function is found by; a derived struct does not fit
  using Type = T;
};

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

// ---- what ESHM_DESCRIBE refuses -------------------------------------------------

template <class Field>
struct DeepElement {
  using Type = std::remove_cv_t<Field>;
};
template <class Field, std::size_t size>
struct DeepElement<Field[size]> : DeepElement<Field> {};
template <class Field, std::size_t size>
struct DeepElement<const Field[size]> : DeepElement<Field> {};
template <class Field, std::size_t size>
struct DeepElement<std::array<Field, size>> : DeepElement<Field> {};
template <class Field, std::size_t size>
struct DeepElement<const std::array<Field, size>> : DeepElement<Field> {};

template <class>
inline constexpr bool kNever = false;

// True where the field can be described; else a sentence says why not.
template <class Field>
constexpr bool check_field() noexcept {
  using T = typename DeepElement<Field>::Type;
  constexpr bool is_number = (std::is_arithmetic_v<T> && !std::is_same_v<T, long double>) ||
                             std::is_enum_v<T>;
  constexpr bool is_pointer =
      std::is_pointer_v<T> || std::is_member_pointer_v<T> || std::is_null_pointer_v<T>;
  static_assert(!is_pointer, "ESHM_DESCRIBE: a field is a pointer, which means nothing in another "
                             "process; send what it points to");
  static_assert(!std::is_same_v<T, long double>,
                "ESHM_DESCRIBE: a field is a long double, which differs between machines and "
                "languages; send a double");
  static_assert(!std::is_union_v<T>, "ESHM_DESCRIBE: a field is a union; its reader cannot "
                                     "tell which member is meant");
  if constexpr (std::is_class_v<T>) {
    static_assert(std::is_trivially_copyable_v<T>,
                  "ESHM_DESCRIBE: a field is a class that its bytes alone do not copy (as "
                  "std::string and std::vector); send char[N], std::array or numbers");
    if constexpr (std::is_trivially_copyable_v<T>) {
      static_assert(IsDescribed<T>::value, "a field's struct needs an ESHM_DESCRIBE of its own");
    }
    return IsDescribed<T>::value;
  } else {
    return is_number;
  }
}

template <class T>
constexpr bool check_struct() noexcept {
  static_assert(std::is_class_v<T>, "ESHM_DESCRIBE: only a struct or class has fields");
  static_assert(!std::is_polymorphic_v<T>,
                "ESHM_DESCRIBE: a class with virtual functions holds a pointer to its own process; "
                "send a struct of its data");
  static_assert(std::is_polymorphic_v<T> || std::is_trivially_copyable_v<T>,
                "only a plain struct can be described: one that its bytes alone copy");
  static_assert(std::is_polymorphic_v<T> || !std::is_trivially_copyable_v<T> ||
                    std::is_standard_layout_v<T>,
                "only a plain struct can be described: one whose fields all are in the same class "
                "and equally accessible");
  return true;
}

template <class Class, class Field>
Field* pointer_to_member_type(Field Class::*);

// `member` gives the member pointer of a field, where there is one; `offset` its place.
template <class T, class Fields, class MemberOf, class OffsetOf>
constexpr void describe_field(Fields& fields, const char* name, MemberOf member, OffsetOf offset) {
  if constexpr (std::is_invocable_v<MemberOf, Tag<T>>) {
    using Field = std::remove_pointer_t<decltype(pointer_to_member_type(member(Tag<T>{})))>;
    if constexpr (check_field<Field>()) fields.template field<Field>(name, offset(Tag<T>{}));
  } else {
    static_assert(kNever<T>,
                  "ESHM_DESCRIBE: a field is no data member that everyone may use: it is private, "
                  "a bit-field, a reference, static, or misspelled");
  }
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

// At most 64 fields; more go into a struct of their own that is a field. Each is a data
// member that everyone may use, of the struct itself or of the one that it derives from.
#define ESHM_DESCRIBE(Type, ...)                                                    \
  template <class EshmFields>                                                       \
  constexpr const char* eshm_describe(::eshm::Tag<Type>, EshmFields& eshm_fields) { \
    using EshmDescribed = Type;                                                     \
    ESHM_EACH_FIELD(__VA_ARGS__)                                                    \
    return #Type;                                                                   \
  }                                                                                 \
  static_assert(::eshm::detail::check_struct<Type>());                              \
  static_assert(::eshm::detail::type_text_length<Type>() > 0); /* asks for each field */ \
  static_assert(::eshm::is_described<Type>,                                         \
                "ESHM_DESCRIBE must stand in the type's own namespace, before its first use")

// The two lambdas are templates, so that a field that is none gives a sentence.
#define ESHM_FIELD(name)                                                             \
  ::eshm::detail::describe_field<EshmDescribed>(                                     \
      eshm_fields, #name,                                                            \
      [](auto eshm_tag) -> decltype(&decltype(eshm_tag)::Type::name) { return {}; }, \
      [](auto eshm_tag) { return offsetof(typename decltype(eshm_tag)::Type, name); });
#define ESHM_FIELDS_MORE(...)                                                         \
  static_assert(sizeof(EshmDescribed) == 0,                                           \
                "ESHM_DESCRIBE takes 64 fields; more go into a struct of their own that " \
                "is a field");
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
#define ESHM_FIELDS_33(name, ...) ESHM_FIELD(name) ESHM_FIELDS_32(__VA_ARGS__)
#define ESHM_FIELDS_34(name, ...) ESHM_FIELD(name) ESHM_FIELDS_33(__VA_ARGS__)
#define ESHM_FIELDS_35(name, ...) ESHM_FIELD(name) ESHM_FIELDS_34(__VA_ARGS__)
#define ESHM_FIELDS_36(name, ...) ESHM_FIELD(name) ESHM_FIELDS_35(__VA_ARGS__)
#define ESHM_FIELDS_37(name, ...) ESHM_FIELD(name) ESHM_FIELDS_36(__VA_ARGS__)
#define ESHM_FIELDS_38(name, ...) ESHM_FIELD(name) ESHM_FIELDS_37(__VA_ARGS__)
#define ESHM_FIELDS_39(name, ...) ESHM_FIELD(name) ESHM_FIELDS_38(__VA_ARGS__)
#define ESHM_FIELDS_40(name, ...) ESHM_FIELD(name) ESHM_FIELDS_39(__VA_ARGS__)
#define ESHM_FIELDS_41(name, ...) ESHM_FIELD(name) ESHM_FIELDS_40(__VA_ARGS__)
#define ESHM_FIELDS_42(name, ...) ESHM_FIELD(name) ESHM_FIELDS_41(__VA_ARGS__)
#define ESHM_FIELDS_43(name, ...) ESHM_FIELD(name) ESHM_FIELDS_42(__VA_ARGS__)
#define ESHM_FIELDS_44(name, ...) ESHM_FIELD(name) ESHM_FIELDS_43(__VA_ARGS__)
#define ESHM_FIELDS_45(name, ...) ESHM_FIELD(name) ESHM_FIELDS_44(__VA_ARGS__)
#define ESHM_FIELDS_46(name, ...) ESHM_FIELD(name) ESHM_FIELDS_45(__VA_ARGS__)
#define ESHM_FIELDS_47(name, ...) ESHM_FIELD(name) ESHM_FIELDS_46(__VA_ARGS__)
#define ESHM_FIELDS_48(name, ...) ESHM_FIELD(name) ESHM_FIELDS_47(__VA_ARGS__)
#define ESHM_FIELDS_49(name, ...) ESHM_FIELD(name) ESHM_FIELDS_48(__VA_ARGS__)
#define ESHM_FIELDS_50(name, ...) ESHM_FIELD(name) ESHM_FIELDS_49(__VA_ARGS__)
#define ESHM_FIELDS_51(name, ...) ESHM_FIELD(name) ESHM_FIELDS_50(__VA_ARGS__)
#define ESHM_FIELDS_52(name, ...) ESHM_FIELD(name) ESHM_FIELDS_51(__VA_ARGS__)
#define ESHM_FIELDS_53(name, ...) ESHM_FIELD(name) ESHM_FIELDS_52(__VA_ARGS__)
#define ESHM_FIELDS_54(name, ...) ESHM_FIELD(name) ESHM_FIELDS_53(__VA_ARGS__)
#define ESHM_FIELDS_55(name, ...) ESHM_FIELD(name) ESHM_FIELDS_54(__VA_ARGS__)
#define ESHM_FIELDS_56(name, ...) ESHM_FIELD(name) ESHM_FIELDS_55(__VA_ARGS__)
#define ESHM_FIELDS_57(name, ...) ESHM_FIELD(name) ESHM_FIELDS_56(__VA_ARGS__)
#define ESHM_FIELDS_58(name, ...) ESHM_FIELD(name) ESHM_FIELDS_57(__VA_ARGS__)
#define ESHM_FIELDS_59(name, ...) ESHM_FIELD(name) ESHM_FIELDS_58(__VA_ARGS__)
#define ESHM_FIELDS_60(name, ...) ESHM_FIELD(name) ESHM_FIELDS_59(__VA_ARGS__)
#define ESHM_FIELDS_61(name, ...) ESHM_FIELD(name) ESHM_FIELDS_60(__VA_ARGS__)
#define ESHM_FIELDS_62(name, ...) ESHM_FIELD(name) ESHM_FIELDS_61(__VA_ARGS__)
#define ESHM_FIELDS_63(name, ...) ESHM_FIELD(name) ESHM_FIELDS_62(__VA_ARGS__)
#define ESHM_FIELDS_64(name, ...) ESHM_FIELD(name) ESHM_FIELDS_63(__VA_ARGS__)
#define ESHM_PICK(_1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16, \
    _17, _18, _19, _20, _21, _22, _23, _24, _25, _26, _27, _28, _29, _30, \
    _31, _32, _33, _34, _35, _36, _37, _38, _39, _40, _41, _42, _43, _44, \
    _45, _46, _47, _48, _49, _50, _51, _52, _53, _54, _55, _56, _57, _58, \
    _59, _60, _61, _62, _63, _64, _65, _66, _67, _68, _69, _70, _71, _72, \
    _73, _74, _75, _76, _77, _78, _79, _80, _81, _82, _83, _84, _85, _86, \
    _87, _88, _89, _90, _91, _92, _93, _94, _95, _96, _97, _98, _99, _100, \
    _101, _102, _103, _104, _105, _106, _107, _108, _109, _110, _111, _112, \
    _113, _114, _115, _116, _117, _118, _119, _120, _121, _122, _123, _124, \
    _125, _126, _127, _128, \
    chosen, ...) \
  chosen
#define ESHM_EACH_FIELD(...) \
  ESHM_PICK(__VA_ARGS__, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, \
    ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, \
    ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, \
    ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, \
    ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, \
    ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, \
    ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, \
    ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, \
    ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, \
    ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, \
    ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, \
    ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, \
    ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, \
    ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, \
    ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, \
    ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, ESHM_FIELDS_MORE, \
    ESHM_FIELDS_64, ESHM_FIELDS_63, ESHM_FIELDS_62, ESHM_FIELDS_61, ESHM_FIELDS_60, \
    ESHM_FIELDS_59, ESHM_FIELDS_58, ESHM_FIELDS_57, ESHM_FIELDS_56, ESHM_FIELDS_55, \
    ESHM_FIELDS_54, ESHM_FIELDS_53, ESHM_FIELDS_52, ESHM_FIELDS_51, ESHM_FIELDS_50, \
    ESHM_FIELDS_49, ESHM_FIELDS_48, ESHM_FIELDS_47, ESHM_FIELDS_46, ESHM_FIELDS_45, \
    ESHM_FIELDS_44, ESHM_FIELDS_43, ESHM_FIELDS_42, ESHM_FIELDS_41, ESHM_FIELDS_40, \
    ESHM_FIELDS_39, ESHM_FIELDS_38, ESHM_FIELDS_37, ESHM_FIELDS_36, ESHM_FIELDS_35, \
    ESHM_FIELDS_34, ESHM_FIELDS_33, ESHM_FIELDS_32, ESHM_FIELDS_31, ESHM_FIELDS_30, \
    ESHM_FIELDS_29, ESHM_FIELDS_28, ESHM_FIELDS_27, ESHM_FIELDS_26, ESHM_FIELDS_25, \
    ESHM_FIELDS_24, ESHM_FIELDS_23, ESHM_FIELDS_22, ESHM_FIELDS_21, ESHM_FIELDS_20, \
    ESHM_FIELDS_19, ESHM_FIELDS_18, ESHM_FIELDS_17, ESHM_FIELDS_16, ESHM_FIELDS_15, \
    ESHM_FIELDS_14, ESHM_FIELDS_13, ESHM_FIELDS_12, ESHM_FIELDS_11, ESHM_FIELDS_10, \
    ESHM_FIELDS_9, ESHM_FIELDS_8, ESHM_FIELDS_7, ESHM_FIELDS_6, ESHM_FIELDS_5, \
    ESHM_FIELDS_4, ESHM_FIELDS_3, ESHM_FIELDS_2, ESHM_FIELDS_1, 0) \
  (__VA_ARGS__)

#endif  // ESHM_TYPES_HPP
