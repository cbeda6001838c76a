// SPDX-License-Identifier: MIT
// A full screen, by plain ANSI sequences and termios.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tool {

struct Size {
  size_t columns = 80;
  size_t rows = 24;
};
Size terminal_size();
bool has_utf8();  // by the locale's name

enum class Key { kNone, kUp, kDown, kEnter, kEscape, kBackspace, kLetter };
struct KeyPress {
  Key key = Key::kNone;
  std::string letter;  // of kLetter, in UTF-8
};

// While it lives the terminal shows another screen, without echo. Ctrl-C still ends.
class Screen {
 public:
  Screen();
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // Shows so many lines as fit. Each is cut by its maker to the screen's width.
  void show(const std::vector<std::string>& lines);
  // The next key, or kNone at that time, or when the window changed its size.
  KeyPress wait_key(uint64_t until_ns);

 private:
  KeyPress next_key();

  struct Saved;
  Saved* saved_;
  std::string typed_;  // what was read, and is no key yet
  Size shown_;
};

// The last `columns` values, as one line of bars; the greatest of them has the full height.
std::string sparkline(const std::vector<double>& values, size_t columns);

// Dots on a grid: two by four in each character.
class Canvas {
 public:
  Canvas(size_t columns, size_t rows);
  size_t width() const { return columns_ * 2; }
  size_t height() const { return rows_ * 4; }
  void dot(size_t x, size_t y, int colour);  // from the upper left corner
  std::vector<std::string> lines() const;

 private:
  size_t columns_, rows_;
  std::vector<uint8_t> dots_;
  std::vector<int> colours_;
};

}  // namespace tool
