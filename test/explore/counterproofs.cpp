// SPDX-License-Identifier: MIT
#include "explore/counterproofs.h"

namespace explore {
namespace {

Choice labelled(const char* label, const char* function = "") { return {label, function, ""}; }
Choice in(const char* function, const char* text = "") { return {"", function, text}; }

constexpr auto kRelaxed = Weakening::kRelaxed;
constexpr auto kNotSeqCst = Weakening::kNotSeqCst;
constexpr auto kLeftOut = Weakening::kLeftOut;
constexpr auto kLate = Weakening::kLate;
constexpr auto kRepeated = Weakening::kRepeated;
constexpr auto kZero = Weakening::kZero;

}  // namespace

const std::vector<Counterproof> counterproofs = {
    // Newest value.
    {"W1", "the preparation", {{labelled("W1"), kLeftOut, ""}}, "LatestObserver"},
    {"W4", "release", {{labelled("W4"), kRelaxed, ""}}, "LatestObserver"},
    {"R1",
     "acquire, of R2 too",
     {{labelled("R1"), kRelaxed, ""},
      {in("find", "behind ="), kRelaxed, ""},
      {labelled("R2"), kRelaxed, ""}},
     "LatestObserver"},
    {"F1", "fence, for copies",
     {{in("prepare", "atomic_thread_fence"), kRelaxed, ""}},
     "LatestObserver"},
    {"F2", "fence", {{labelled("F2"), kRelaxed, ""}}, "LatestObserver"},
    {"R4", "look", {{labelled("R4"), kRepeated, ""}}, "LatestObserver"},
    {"F1", "fence, for pins", {{in("prepare", "atomic_thread_fence"), kRelaxed, ""}}, "LatestBorrow"},
    {"F1", "seq_cst, for pins",
     {{in("prepare", "atomic_thread_fence"), kNotSeqCst, ""}},
     "LatestBorrow"},
    {"W1", "the preparation, for pins", {{labelled("W1"), kLeftOut, ""}}, "LatestBorrow"},
    {"W2", "the look", {{labelled("W2"), kZero, ""}}, "LatestBorrow"},
    {"W2", "acquire", {{labelled("W2"), kRelaxed, ""}}, "LatestBorrowedThenLent"},
    {"P1", "the pin", {{labelled("P1"), kLeftOut, ""}}, "LatestBorrow"},
    {"P1", "release", {{labelled("P1"), kRelaxed, ""}}, "LatestBorrowAgain"},
    {"F3", "fence", {{labelled("F3"), kRelaxed, ""}}, "LatestBorrow"},
    {"F3", "seq_cst", {{labelled("F3"), kNotSeqCst, ""}}, "LatestBorrow"},
    {"P1", "release of a pin", {{in("release", "pins[token]"), kRelaxed, ""}}, "LatestBorrow"},
    {"retraction", "the store", {{in("retract"), kLeftOut, ""}}, "LatestLoan"},
    {"retraction", "before W4", {{in("retract"), kLate, "W4"}}, "LatestPassedOn"},
    {"R5", "look", {{in("is_superseded"), kZero, ""}}, "LatestSuperseded"},
    {"adoption", "W5, the hint",
     {{in("adopt", "hint->store"), kLeftOut, ""}},
     "LatestAdoptionQuiet"},
    // Queue.
    {"Q1", "behind the record", {{labelled("Q1", "reserve"), kLeftOut, ""}}, "Queue"},
    {"Q1", "behind padding",
     {{in("reserve", "header(place).commit.store(0"), kLeftOut, ""}},
     "Queue"},
    {"Q1", "of a loan's rest", {{labelled("Q1", "give_back"), kLeftOut, ""}}, "QueueLoans"},
    {"Q1", "before Q4", {{labelled("Q1", "reserve"), kLate, "Q4"}}, "Queue"},
    {"Q4", "release, of a message", {{labelled("Q4", "commit"), kRelaxed, ""}}, "Queue"},
    {"Q4", "release, of padding", {{labelled("Q4", "fill"), kRelaxed, ""}}, "Queue"},
    {"Q6", "acquire", {{labelled("Q6"), kRelaxed, ""}}, "Queue"},
    {"Q7", "release", {{labelled("Q7"), kRelaxed, ""}}, "QueueBorrow"},
    {"Q8", "acquire", {{labelled("Q8", "reserve"), kRelaxed, ""}}, "Queue"},
    {"R5", "look, queue", {{in("is_dropped"), kZero, ""}}, "QueueSuperseded"},
    {"R5", "look, observer of a queue", {{in("take", "superseded"), kZero, ""}}, "QueueSuperseded"},
    {"Q0", "the claim", {{labelled("Q0"), kLeftOut, ""}}, "QueueObserver"},
    {"Q0", "release", {{labelled("Q0"), kRelaxed, ""}}, "QueueObserverOfTwo"},
    {"F5", "fence", {{labelled("F5"), kRelaxed, ""}}, "QueueObserver"},
    {"F6", "fence", {{labelled("F6"), kRelaxed, ""}}, "QueueObserver"},
    {"Q9", "look", {{labelled("Q9"), kZero, ""}}, "QueueObserver"},
    {"Q9", "acquire", {{labelled("Q9"), kRelaxed, ""}}, "QueueObserverOfTwo"},
    {"Q8", "acquire of an observer",
     {{labelled("Q8", "jump"), kRelaxed, ""}},
     "QueueObserverOfTwo"},
    // Parking.
    {"F1", "fence, newest value",
     {{in("prepare", "atomic_thread_fence"), kRelaxed, ""}},
     "ParkedAtLatest"},
    {"F1", "seq_cst, newest value",
     {{in("prepare", "atomic_thread_fence"), kNotSeqCst, ""}},
     "ParkedAtLatest"},
    {"F1", "fence, queue", {{labelled("F1", "show_position"), kRelaxed, ""}}, "ParkedAtQueue"},
    {"F1", "seq_cst, queue", {{labelled("F1", "show_position"), kNotSeqCst, ""}}, "ParkedAtQueue"},
    {"F4", "fence", {{labelled("F4"), kRelaxed, ""}}, "ParkedAtQueue"},
    {"F4", "seq_cst", {{labelled("F4"), kNotSeqCst, ""}}, "ParkedAtQueue"},
    {"AF", "fence", {{in("announce", "atomic_thread_fence"), kRelaxed, ""}}, "ParkedAtQueue"},
    {"AF", "seq_cst", {{in("announce", "atomic_thread_fence"), kNotSeqCst, ""}}, "ParkedAtQueue"},
    {"A1", "the announcement", {{labelled("A1"), kLeftOut, ""}}, "ParkedAtLatest"},
    {"A2", "look", {{labelled("A2"), kZero, ""}}, "ParkedAtLatest"},
    {"B2", "the doorbell", {{labelled("B2"), kLeftOut, ""}}, "ParkedAtQueue"},
};

const std::vector<Uncaught> uncaught = {
    // Newest value. R1 of the slot follows each hint, and acquires from W4.
    {"W5", labelled("W5", "publish_slot"), "R1 of the slot follows, and acquires from W4"},
    {"W5", in("adopt", "hint->store"), "the same"},
    {"R2", in("begin", "hint->load"), "the same"},
    {"R1", in("find_by_hint", "sequence.load"), "the same"},
    {"W2", in("prepare", "word.store(before"),
     "what puts an old message back need not tell it again: R2 or R1 has"},
    {"F1", in("take_another_slot", "atomic_thread_fence"), "only where every slot seems pinned: a peer lies, or pins move on meanwhile"},
    {"P1", in("attach", "pin.store"), "nothing was read under the pins of a dead reader"},
    {"P1", in("read_after_lap", "ring_.pins[0].store"), "a copy under a pin is validated by R4 besides"},
    {"P1", in("borrow", "ring_.pins[free].store"), "nothing was read in place"},
    {"R5", in("is_superseded"), "order: of what was published behind the mark R1 tells the mark"},
    // Queue.
    {"Q3", labelled("Q3"), "an adopter comes when the kernel says that the writer is dead"},
    {"Q5", labelled("Q5"), "the same; a marker's look is not part of the channel"},
    {"Q5", in("attach", "published.load"), "bounds alone are judged by it"},
    {"Q8", in("adopt", "position.load"), "F1 follows before anything is stored, and acquires"},
    {"Q8", labelled("Q8", "readers_position"), "carrying over to another segment is not explored"},
    {"Q7", in("pass_consumed", "position.store"), "the same; its reader is dead"},
    {"Q9", in("attach", "claimed.load"), "the first look comes before any store here"},
    {"R5", in("is_dropped"), "order: Q6 tells the mark"},
    {"R5", in("take", "superseded"), "order: Q6 tells the mark"},
    // Parking.
    {"A1", labelled("A1"), "order: AF follows"},
    {"B1", labelled("B1"), "order: AF follows, and the kernel compares the newest"},
    {"A3", in("ring_announced", "compare_exchange"),
     "order: the ring itself is one of the kernel's calls"},
    {"B2", labelled("B2"), "order: likewise"},
};

}  // namespace explore
