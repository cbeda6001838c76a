// SPDX-License-Identifier: MIT
// What must hold for whoever is left by a death in any call of the data path,
// beside what Survivors look for: both ends of a queue, and the writer of a
// newest value whose reader died. They go on, from exactly the state that they
// were in, in a private copy of the memory as the dead one left it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "crash/twins.h"

namespace test {

constexpr uint64_t kFirstOfSuccessor = 2001;

using Spoil = std::function<void(const ChannelMemory&)>;

// The two sides before a call and after it, and the memory where they live.
struct Situation {
  const Letters& letters;
  Arena& bench;
  Act act;
  const Twins& before;
  const Twins& after;
  // What a successor does besides: a fault that the looks must find.
  Spoil spoil;
  uint64_t first_of_successor = kFirstOfSuccessor;  // message
};

class LeftAlone {
 public:
  explicit LeftAlone(const Situation& situation);
  virtual ~LeftAlone() = default;

  // Images come in the order in which they were left.
  void look_at(const Image& image);
  const std::vector<std::string>& faults() const { return faults_; }
  uint64_t looks() const { return looks_; }
  uint64_t messages_read() const { return messages_read_; }

 protected:
  virtual void look() = 0;

  // A process that is alone with the image, as it was before or as a newcomer.
  struct Party {
    ChannelEnd end;
    Actor actor;
  };
  Party same_writer() const { return {before_.writer, before_.writing}; }
  Party same_reader() const { return {before_.reader, before_.reading}; }
  Party new_writer();
  Party new_reader() const;
  void restore() { bench_.load(*image_); }
  void set_scene(const char* scene) { scene_ = scene; }
  // Reads all that is unread; every message must prove itself.
  Numbers drain(Party& reader);
  void expect_borrows_are_kept();
  void expect_ring_ends_announcements();
  void expect(bool condition, const std::string& what);

  Arena& bench_;
  const Act act_;
  const Twins before_;
  const Twins after_;

 private:
  const Letters& letters_;
  const uint64_t first_of_successor_;
  const Spoil spoil_;
  const Image* image_ = nullptr;
  const char* scene_ = "";
  uint64_t looks_ = 0;
  uint64_t messages_read_ = 0;
  std::vector<std::string> faults_;
};

// Nothing is lost, and nothing repeated but what a dead reader had in its hands.
class QueueLeftAlone final : public LeftAlone {
 public:
  using LeftAlone::LeftAlone;

 private:
  void look() override;
  void without_writer(bool has_new_reader, bool reads_first, size_t& seen_before);
  void without_reader(bool reads_first, bool has_new_writer, size_t& began_before);
  void go_round(Party& writer, Party& reader);

  size_t seen_[2] = {0, 0};  // by a reader that was there, and by a new one
  size_t began_ = 0;
};

// A new reader finds the newest value at once, and the writer is in nobody's way.
class WriterLeftAlone final : public LeftAlone {
 public:
  using LeftAlone::LeftAlone;

 private:
  void look() override;
  void go_round(Party& writer, Party& reader, uint64_t newest);
};

std::string text_of(const Numbers& numbers);

}  // namespace test
