// SPDX-License-Identifier: MIT
// What is printed: numbers for people, names that may hold anything, tables.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tool {

// For a terminal: bytes that could move the cursor or are no UTF-8 become \xNN.
std::string printable(const std::string& bytes);
// Columns that a printable text takes on a terminal.
size_t width_of(const std::string& text);
// Cut or filled with spaces to exactly that many columns.
std::string fitted(const std::string& text, size_t columns, bool to_the_right = false);

std::string bytes_text(uint64_t bytes);        // "64K", "1.5M"
std::string duration_text(uint64_t ns);        // "12us", "3.4s", "2d"
std::string rate_text(double per_second);      // "30", "1.2k"
std::string decimal(double value, int digits);
// Shortest text that reads back as the same number.
std::string exact(double value);
std::string exact(float value);

class Table {
 public:
  // A name that begins with '>' is a column of numbers, set to the right.
  explicit Table(std::vector<std::string> header);
  void add(std::vector<std::string> row);
  std::string text() const;

 private:
  std::vector<bool> is_right_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace tool
