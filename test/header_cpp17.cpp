// SPDX-License-Identifier: MIT
// eshm.hpp as a program includes it, with and without exceptions and RTTI: each
// template is used once. Compiled, never run.
#include <type_traits>
#include <vector>

#include "eshm.hpp"

namespace {

using namespace std::literals;

struct Pose {
  double x, y;
  std::uint32_t id;
};
ESHM_DESCRIBE(Pose, x, y, id);

static_assert(std::is_nothrow_move_constructible_v<eshm::Link>);
static_assert(std::is_nothrow_move_assignable_v<eshm::Link>);
static_assert(!std::is_copy_constructible_v<eshm::Link>);
static_assert(!std::is_copy_constructible_v<eshm::Loan>);
static_assert(!std::is_copy_constructible_v<eshm::Borrow>);
static_assert(!std::is_copy_constructible_v<eshm::Sender<Pose>>);
static_assert(std::is_nothrow_move_constructible_v<eshm::Receiver<Pose>>);
static_assert(!std::is_polymorphic_v<eshm::Link> && !std::is_polymorphic_v<eshm::Loan> &&
              !std::is_polymorphic_v<eshm::Borrow> && !std::is_polymorphic_v<eshm::Sender<Pose>>);

// Implicit where nothing can go wrong, refused where it would be a guess.
static_assert(std::is_convertible_v<std::string_view, eshm::Bytes>);
static_assert(std::is_convertible_v<std::vector<int>&, eshm::Bytes>);
static_assert(std::is_convertible_v<eshm::span<const std::byte>, eshm::Bytes>);
static_assert(!std::is_convertible_v<const char (&)[6], eshm::Bytes>, "with the zero or without?");
static_assert(!std::is_convertible_v<std::vector<std::string>&, eshm::Bytes>, "no plain bytes");
static_assert(std::is_convertible_v<std::array<char, 8>&, eshm::Room>);
static_assert(std::is_convertible_v<char (&)[8], eshm::Room>);
static_assert(!std::is_convertible_v<const std::array<char, 8>&, eshm::Room>);
static_assert(!std::is_convertible_v<std::string_view, eshm::Room>);
static_assert(std::is_convertible_v<std::vector<eshm::Link>&, eshm::span<const eshm::Link>>);
static_assert(!std::is_convertible_v<int, eshm::Timeout>, "an int has no unit");

#if ESHM_HAS_EXCEPTIONS
static_assert(std::is_constructible_v<eshm::Link, const eshm::Config&>);
static_assert(std::is_constructible_v<eshm::Sender<Pose>, eshm::Link&>);
#else
static_assert(!std::is_constructible_v<eshm::Link, const eshm::Config&>);
static_assert(!std::is_constructible_v<eshm::Sender<Pose>, eshm::Link&>);
#endif
#if __cplusplus >= 202002L
static_assert(std::is_same_v<eshm::span<int>, std::span<int>>);
#endif

}  // namespace

int use_all(eshm::Link& link);
int use_all(eshm::Link& link) {
  std::vector<int> numbers(3);
  char buffer[8];
  std::size_t orphans = 0;
  const auto count = [&](const eshm::LinkInfo& found) { orphans += !found.master.holds_role; };
  orphans += eshm::for_each_link(count) ? 1 : 0;
  if (eshm::inspect_link("x")->state == ESHM_LINK_FINE) (void)eshm::remove_link("x");
  bool is_ok = link.write(numbers, 10ms) && link.write("text"sv);
  is_ok = is_ok && link.write(buffer, sizeof buffer);
  auto size = link.read(buffer, 250us);
  auto info = link.read_msg(numbers, eshm::kForEver);
  eshm::Loan loan = link.loan(8);
  for (std::byte& byte : loan.bytes()) byte = std::byte{0};
  is_ok = is_ok && loan.publish(4);
  eshm::Borrow borrow = link.borrow(2s);
  borrow = link.borrow();
  is_ok = is_ok && link.on_event([count = 0](eshm::Event) mutable { ++count; });

  auto sender = eshm::Sender<Pose>::on(link);
  auto poses = eshm::Receiver<Pose>::open(eshm::Config("name").role(eshm::Role::kSlave));
  auto room = sender->loan();
  room->id = 1;
  is_ok = is_ok && room.publish() && sender->write(*room);
  auto in_place = poses->borrow(1ms);
  auto pose = poses->read();
  is_ok = is_ok && poses->read_into(*pose, 5ms) && poses->read_into(*pose, *info);

  std::vector<eshm::Link> links;
  auto first = eshm::wait_any(links, 1s);
  auto second = eshm::wait_any({link.handle(), poses->link().handle()}, eshm::kNoWait);
  return is_ok && size && first && second && in_place->id == pose->id ? link.fd().value_or(-1) : 0;
}
