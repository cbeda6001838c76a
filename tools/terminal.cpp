// SPDX-License-Identifier: MIT
#include "terminal.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "run.h"

namespace tool {
namespace {

void put_utf8(uint32_t point, std::string& out) {  // of three bytes
  out += char(0xe0 | point >> 12);
  out += char(0x80 | (point >> 6 & 63));
  out += char(0x80 | (point & 63));
}

bool same(const Size& a, const Size& b) { return a.columns == b.columns && a.rows == b.rows; }

}  // namespace

struct Screen::Saved {
  termios attributes;
  bool is_changed = false;
};

Size terminal_size() {
  winsize window = {};
  Size size;
  const bool is_known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0;
  if (is_known && window.ws_col != 0) size.columns = window.ws_col;
  if (is_known && window.ws_row != 0) size.rows = window.ws_row;
  return size;
}

bool has_utf8() {
  for (const char* variable : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* const value = std::getenv(variable);
    if (value == nullptr || value[0] == '\0') continue;
    return strcasestr(value, "utf-8") != nullptr || strcasestr(value, "utf8") != nullptr;
  }
  return false;
}

Screen::Screen() : saved_(new Saved) {
  if (tcgetattr(STDIN_FILENO, &saved_->attributes) == 0) {
    termios raw = saved_->attributes;
    raw.c_lflag &= ~tcflag_t(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    raw.c_cc[VSUSP] = _POSIX_VDISABLE;  // stopped, it would leave the terminal like this
    saved_->is_changed = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
  }
  put("\033[?1049h\033[?25l\033[H\033[2J");
  flush();
}

Screen::~Screen() {
  put("\033[?25h\033[?1049l");
  flush();
  if (saved_->is_changed) tcsetattr(STDIN_FILENO, TCSADRAIN, &saved_->attributes);
  delete saved_;
}

void Screen::show(const std::vector<std::string>& lines) {
  const Size size = terminal_size();
  std::string frame = same(size, shown_) ? "\033[H" : "\033[H\033[2J";
  shown_ = size;
  for (size_t i = 0; i < lines.size() && i < size.rows; ++i) {
    frame += (i == 0 ? "" : "\r\n") + lines[i] + "\033[K";
  }
  put(frame + "\033[J");
  flush();
}

// Several keys may come at once. An escape that nothing follows is the key.
KeyPress Screen::next_key() {
  while (!typed_.empty()) {
    const auto take = [this](size_t bytes) {
      const std::string taken = typed_.substr(0, bytes);
      typed_.erase(0, bytes);
      return taken;
    };
    const char first = typed_[0];
    if (first == '\033' && typed_.size() > 1 && (typed_[1] == '[' || typed_[1] == 'O')) {
      size_t end = 2;  // of ESC [ parameters letter
      while (end < typed_.size() && (typed_[end] < '@' || typed_[end] > '~')) ++end;
      const std::string sequence = take(end + 1);
      if (sequence.back() == 'A') return {Key::kUp, ""};
      if (sequence.back() == 'B') return {Key::kDown, ""};
      continue;
    }
    if (first == '\033') return take(1), KeyPress{Key::kEscape, ""};
    if (first == '\n' || first == '\r') return take(1), KeyPress{Key::kEnter, ""};
    if (first == '\x7f' || first == '\b') return take(1), KeyPress{Key::kBackspace, ""};
    size_t bytes = 1;
    while (bytes < typed_.size() && (uint8_t(typed_[bytes]) & 0xc0) == 0x80) ++bytes;
    return {Key::kLetter, take(bytes)};
  }
  return {};
}

KeyPress Screen::wait_key(uint64_t until_ns) {
  while (!must_stop()) {
    const KeyPress press = next_key();
    if (press.key != Key::kNone) return press;
    if (!same(terminal_size(), shown_)) return {};
    const uint64_t now = now_ns();
    const bool is_late = now >= until_ns;
    pollfd input = {STDIN_FILENO, POLLIN, 0};
    const int wait_ms = is_late ? 0 : int(std::min<uint64_t>((until_ns - now) / 1'000'000 + 1, 50));
    if (poll(&input, 1, wait_ms) <= 0) {
      if (is_late) return {};
      continue;
    }
    char bytes[64];
    const ssize_t count = read(STDIN_FILENO, bytes, sizeof bytes);
    if (count > 0) {
      typed_.append(bytes, size_t(count));
    } else {
      pause_ns(10'000'000);  // the terminal is gone: the next output fails, too
    }
  }
  return {};
}

std::string sparkline(const std::vector<double>& values, size_t columns) {
  static const char kAscii[] = " .:-=+*#@";
  const size_t count = std::min(values.size(), columns);
  const auto first = values.end() - long(count);
  const double most = count == 0 ? 0 : *std::max_element(first, values.end());
  std::string line(columns - count, ' ');
  const bool is_utf8 = has_utf8();
  for (auto value = first; value != values.end(); ++value) {
    const int step = most <= 0 || *value <= 0 ? 0 : std::max(1, int(*value / most * 8 + 0.5));
    if (!is_utf8 || step == 0) {
      line += kAscii[step];
    } else {
      put_utf8(0x2580 + uint32_t(step), line);
    }
  }
  return line;
}

Canvas::Canvas(size_t columns, size_t rows)
    : columns_(columns), rows_(rows), dots_(columns * rows), colours_(columns * rows) {}

void Canvas::dot(size_t x, size_t y, int colour) {
  static const uint8_t kBits[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
  if (x >= width() || y >= height()) return;
  const size_t cell = y / 4 * columns_ + x / 2;
  dots_[cell] |= kBits[y % 4][x % 2];
  colours_[cell] = colour;
}

std::vector<std::string> Canvas::lines() const {
  std::vector<std::string> lines;
  const bool is_utf8 = has_utf8();
  for (size_t row = 0; row < rows_; ++row) {
    std::string line;
    for (size_t column = 0; column < columns_; ++column) {
      const size_t cell = row * columns_ + column;
      std::string letter;
      if (dots_[cell] == 0) {
        letter = " ";
      } else if (!is_utf8) {
        letter = "*";
      } else {
        put_utf8(0x2800u + dots_[cell], letter);
      }
      static const char* const kColours[] = {"32", "33", "36", "35", "34", "31"};
      line += dots_[cell] == 0 ? letter : coloured(kColours[colours_[cell] % 6], letter);
    }
    lines.push_back(line);
  }
  return lines;
}

}  // namespace tool
