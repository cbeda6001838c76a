// SPDX-License-Identifier: MIT
// eshm send: lines, files and JSON objects, to a link.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "commands.h"
#include "links.h"
#include "run.h"
#include "talk.h"

namespace tool {
namespace {

// A file or the standard input. Ctrl-C ends its waits.
class Input {
 public:
  ~Input() {
    if (fd_ > STDIN_FILENO) close(fd_);
  }
  bool open(const std::string& path) {
    fd_ = path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    return fd_ >= 0;
  }
  bool rewind() {
    is_over_ = false;
    buffer_.clear();
    return lseek(fd_, 0, SEEK_SET) == 0;
  }
  // The next line without its end; at the file's end also one that has none.
  bool line(std::string& out) {
    size_t searched = 0, end;
    while ((end = buffer_.find('\n', searched)) == std::string::npos) {
      searched = buffer_.size();
      if (more()) continue;
      out.swap(buffer_);
      buffer_.clear();
      return !out.empty() && !must_stop();
    }
    out = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    return true;
  }
  bool all(std::string& out) {
    while (more()) {
    }
    out.swap(buffer_);
    buffer_.clear();
    return !must_stop();
  }
  int failure() const { return errno_; }

 private:
  bool more() {
    char bytes[65536];
    while (!is_over_ && !must_stop()) {
      pollfd input = {fd_, POLLIN, 0};
      if (poll(&input, 1, 50) <= 0) continue;  // a signal between the check and the call
      const ssize_t count = read(fd_, bytes, sizeof bytes);
      if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (count < 0) errno_ = errno;
      is_over_ = count <= 0;
      if (count > 0) buffer_.append(bytes, size_t(count));
      if (buffer_.size() > size_t(INT32_MAX)) {  // no channel has such messages
        errno_ = EMSGSIZE;
        is_over_ = true;
        buffer_.clear();
        return false;
      }
      return count > 0;
    }
    return false;
  }

  int fd_ = -1;
  int errno_ = 0;
  bool is_over_ = false;
  std::string buffer_;
};

// The rate is kept over the whole run: a late message is followed sooner.
class Pace {
 public:
  explicit Pace(double rate_hz) : interval_ns_(rate_hz > 0 ? 1e9 / rate_hz : 0) {}
  void wait() {
    if (interval_ns_ == 0) return;
    const uint64_t now = now_ns();
    if (count_ == 0) began_ = now;
    const uint64_t due = began_ + uint64_t(double(count_++) * interval_ns_);
    if (due > now) pause_ns(due - now);
  }

 private:
  double interval_ns_;
  uint64_t began_ = 0, count_ = 0;
};

class Sender {
 public:
  Sender(const SendOptions& options, const Type& type, Talk& talk)
      : options_(options), type_(type), talk_(talk), pace_(options.rate_hz) {}

  bool send(const std::string& text, uint64_t number) {
    std::string message = text;
    if (options_.json) {
      try {
        message = encode_message(type_, parse_json(text));
      } catch (const JsonError& error) {
        complain("line " + std::to_string(number) + ": " + error.what());
        return false;
      }
    }
    pace_.wait();
    return !must_stop() && talk_.write(message.data(), message.size());
  }

 private:
  const SendOptions& options_;
  const Type& type_;
  Talk& talk_;
  Pace pace_;
};

// The type of what this side is going to send, by the link itself.
std::string type_of_link(const SendOptions& options) {
  const ESHMLinkInfo link = inspect(options.link.name);
  const bool is_slave = options.link.role == "slave" ||
                        (options.link.role == "auto" && link.master.holds_role);
  return type_text(options.link.name, is_slave ? ESHM_S2M : ESHM_M2S);
}

}  // namespace

int run_send(const SendOptions& options) {
  Input input;
  if (!input.open(options.file)) {
    return complain(options.file + ": " + std::strerror(errno));
  }
  std::string text = options.type;
  if (options.json && text.empty()) text = type_of_link(options);
  if (options.json && text.empty()) {
    complain("the link names no type; --type says what the objects are, as 'P{x:f64@0}8'");
    return kUsage;
  }
  Type type;
  std::string why;
  if (!text.empty() && !parse_type(text, type, why)) {
    complain("the type cannot be read " + why);
    return kUsage;
  }
  Talk talk;
  if (!talk.open(options.link, options.wait_s, text)) return must_stop() ? kFine : kFinding;
  if (options.wait_s > 0 && !talk.wait_for_peer(options.wait_s)) {
    if (must_stop()) return kFine;
    return complain("/dev/shm/eshm_" + options.link.name + ": no " +
                    (talk.is_master() ? "slave" : "master") +
                    " came; --wait 0 sends without one");
  }
  Sender sender(options, type, talk);
  for (uint64_t round = 0; options.repeat == 0 || round < options.repeat; ++round) {
    if (round != 0 && !input.rewind()) {
      return complain(options.file + " cannot be read again: " + std::strerror(errno));
    }
    std::string message;
    uint64_t number = 0;
    if (options.whole) {
      if (input.all(message) && !sender.send(message, 1)) return must_stop() ? kFine : kFinding;
    } else {
      while (input.line(message)) {
        if (!sender.send(message, ++number)) return must_stop() ? kFine : kFinding;
      }
    }
    if (input.failure() != 0) return complain(options.file + ": " + std::strerror(input.failure()));
    if (must_stop()) break;
  }
  talk.wait_until_read(options.wait_s);
  return kFine;
}

}  // namespace tool
