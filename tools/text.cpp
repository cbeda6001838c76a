// SPDX-License-Identifier: MIT
#include "text.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace tool {
namespace {

// One code point at `at`, or 0 where the bytes are no UTF-8. `length`: its bytes.
uint32_t code_point(const std::string& text, size_t at, size_t& length) {
  const auto byte = [&](size_t i) { return i < text.size() ? uint8_t(text[i]) : 0u; };
  const uint32_t first = byte(at);
  length = 1;
  if (first < 0x80) return first;
  const size_t more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  uint32_t point = first & (0x3f >> more);
  for (size_t i = 1; i <= more; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
    point = point << 6 | (byte(at + i) & 0x3f);
  }
  const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
  if (point < least[more] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return 0;
  length = more + 1;
  return point;
}

bool is_control(uint32_t point) {
  return point < 0x20 || (point >= 0x7f && point < 0xa0) || (point >= 0x200b && point <= 0x200f) ||
         (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
}

size_t columns_of(uint32_t point) {
  if (point >= 0x300 && point < 0x370) return 0;  // combining
  const bool is_wide = (point >= 0x1100 && point < 0x1160) || (point >= 0x2e80 && point < 0xa4d0) ||
                       (point >= 0xac00 && point < 0xd7a4) || (point >= 0xf900 && point < 0xfb00) ||
                       (point >= 0xfe30 && point < 0xfe70) || (point >= 0xff00 && point < 0xff61) ||
                       (point >= 0x1f300 && point < 0x1fb00) || point >= 0x20000;
  return is_wide ? 2 : 1;
}

std::string formatted(const char* format, double value, const char* unit) {
  char text[48];
  std::snprintf(text, sizeof text, format, value, unit);
  return text;
}

// Two digits at least, three at most.
std::string scaled(double value, const char* unit) {
  return formatted(value < 9.95 ? "%.1f%s" : "%.0f%s", value, unit);
}

}  // namespace

std::string printable(const std::string& bytes) {
  std::string text;
  for (size_t at = 0, length = 0; at < bytes.size(); at += length) {
    const uint32_t point = code_point(bytes, at, length);
    if (point != 0 && !is_control(point)) {
      text.append(bytes, at, length);
      continue;
    }
    for (size_t i = 0; i < length; ++i) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\x%02x", uint8_t(bytes[at + i]));
      text += escape;
    }
  }
  return text;
}

size_t width_of(const std::string& text) {
  size_t columns = 0;
  for (size_t at = 0, length = 0; at < text.size(); at += length) {
    columns += columns_of(code_point(text, at, length));
  }
  return columns;
}

std::string fitted(const std::string& text, size_t columns, bool to_the_right) {
  const size_t width = width_of(text);
  if (width <= columns) {
    const std::string room(columns - width, ' ');
    return to_the_right ? room + text : text + room;
  }
  std::string cut;
  size_t used = 0;
  for (size_t at = 0, length = 0; at < text.size(); at += length) {
    const size_t more = columns_of(code_point(text, at, length));
    if (used + more + 1 > columns) break;
    cut.append(text, at, length);
    used += more;
  }
  if (columns > used) cut += "~", ++used;
  return cut + std::string(columns - used, ' ');
}

std::string bytes_text(uint64_t bytes) {
  static const char* const kUnits[] = {"", "K", "M", "G", "T", "P"};
  double value = double(bytes);
  size_t unit = 0;
  while (value >= 1023.5 && unit < 5) value /= 1024, ++unit;
  return unit == 0 ? std::to_string(bytes) : scaled(value, kUnits[unit]);
}

std::string duration_text(uint64_t ns) {
  const double s = double(ns) / 1e9;
  if (ns < 1000) return std::to_string(ns) + "ns";
  if (s < 1e-3) return scaled(s * 1e6, "us");
  if (s < 1) return scaled(s * 1e3, "ms");
  if (s < 100) return scaled(s, "s");
  if (s < 100 * 60) return scaled(s / 60, "min");
  if (s < 100 * 3600) return scaled(s / 3600, "h");
  return scaled(s / 86400, "d");
}

std::string rate_text(double per_second) {
  if (per_second >= 999.5e6) return scaled(per_second / 1e9, "G");
  if (per_second >= 999.5e3) return scaled(per_second / 1e6, "M");
  if (per_second >= 9999.5) return scaled(per_second / 1e3, "k");
  if (per_second == 0) return "0";
  return formatted(per_second < 9.95 ? "%.1f%s" : "%.0f%s", per_second, "");
}

std::string decimal(double value, int digits) {
  char text[400];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string exact(double value) {
  char text[32];
  for (int digits = 1; digits <= 17; ++digits) {
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    if (std::strtod(text, nullptr) == value) break;
  }
  return text;
}

std::string exact(float value) {
  char text[32];
  for (int digits = 1; digits <= 9; ++digits) {
    std::snprintf(text, sizeof text, "%.*g", digits, double(value));
    if (std::strtof(text, nullptr) == value) break;
  }
  return text;
}

Table::Table(std::vector<std::string> header) {
  for (std::string& name : header) {
    is_right_.push_back(name[0] == '>');
    if (is_right_.back()) name.erase(0, 1);
  }
  rows_.push_back(std::move(header));
}

void Table::add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

std::string Table::text() const {
  std::vector<size_t> widths(is_right_.size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string all;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      if (i != 0) line += "  ";
      line += fitted(row[i], widths[i], is_right_[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    all += line + "\n";
  }
  return all;
}

}  // namespace tool
