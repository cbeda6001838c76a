// SPDX-License-Identifier: MIT
// eshm plot: fields of typed messages, scrolling through the terminal.
#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>

#include "commands.h"
#include "links.h"
#include "observer.h"
#include "run.h"
#include "terminal.h"
#include "text.h"

namespace tool {
namespace {

constexpr size_t kScaleColumns = 11;

struct Point {
  uint64_t at_ns;
  double value;
};

class Plot {
 public:
  Plot(const PlotOptions& options, std::vector<Leaf> leaves)
      : options_(options), leaves_(std::move(leaves)), curves_(leaves_.size()) {}

  void take(const Observer& from) {
    const uint64_t now = now_ns();
    for (size_t i = 0; i < leaves_.size(); ++i) {
      if (from.size() < leaves_[i].offset + leaves_[i].bytes) continue;
      curves_[i].push_back({now, leaf_number(leaves_[i], from.data())});
    }
  }

  void forget_before(uint64_t time) {
    for (auto& curve : curves_) {
      while (!curve.empty() && curve.front().at_ns < time) curve.pop_front();
    }
  }

  std::vector<std::string> lines(Size size) {
    const uint64_t now = now_ns(), span = uint64_t(options_.span_s * 1e9);
    const uint64_t begin = now > span ? now - span : 0;
    forget_before(begin);
    double least = INFINITY, most = -INFINITY;
    for (const auto& curve : curves_) {
      for (const Point& point : curve) {
        if (!std::isfinite(point.value)) continue;
        least = std::min(least, point.value);
        most = std::max(most, point.value);
      }
    }
    const bool is_empty = least > most;
    if (is_empty) least = 0, most = 1;
    if (least == most) least -= 1, most += 1;
    const size_t columns = size.columns > kScaleColumns + 4 ? size.columns - kScaleColumns : 4;
    const size_t rows = size.rows > 4 ? size.rows - 3 : 1;
    Canvas canvas(columns, rows);
    for (size_t i = 0; i < curves_.size(); ++i) {
      for (const Point& point : curves_[i]) {
        if (!std::isfinite(point.value)) continue;
        const double x = double(point.at_ns - begin) / double(span) * double(canvas.width() - 1);
        const double y = (most - point.value) / (most - least) * double(canvas.height() - 1);
        canvas.dot(size_t(x), size_t(y + 0.5), int(i));
      }
    }
    std::vector<std::string> lines = {fitted(legend(is_empty), size.columns)};
    const std::vector<std::string> picture = canvas.lines();
    for (size_t row = 0; row < picture.size(); ++row) {
      const double share = picture.size() == 1 ? 0 : double(row) / double(picture.size() - 1);
      const bool has_number = row == 0 || row + 1 == picture.size() || row * 2 == picture.size() - 1;
      std::string scale;
      if (has_number) {
        char text[32];
        std::snprintf(text, sizeof text, "%.4g", most - share * (most - least));
        scale = text;
      }
      lines.push_back(fitted(scale, kScaleColumns - 2, true) + " |" + picture[row]);
    }
    lines.push_back(fitted(std::string(kScaleColumns, ' ') + "-" + decimal(options_.span_s, 0) +
                               " s" + std::string(columns > 12 ? columns - 9 : 1, ' ') + "now",
                           size.columns));
    return lines;
  }

 private:
  std::string legend(bool is_empty) const {
    std::string text = printable(options_.name);
    for (size_t i = 0; i < leaves_.size(); ++i) {
      text += "  " + leaves_[i].path;
      if (!curves_[i].empty()) text += "=" + exact(float(curves_[i].back().value));
    }
    return is_empty ? text + "  (no message yet)" : text;
  }

  const PlotOptions& options_;
  std::vector<Leaf> leaves_;
  std::vector<std::deque<Point>> curves_;
};

bool find_fields(const PlotOptions& options, std::vector<Leaf>& leaves) {
  const ESHMDirection direction = options.s2m ? ESHM_S2M : ESHM_M2S;
  const std::string text = type_text(options.name, direction);
  Type type;
  std::string why;
  if (text.empty() || !parse_type(text, type, why)) {
    complain("/dev/shm/eshm_" + options.name +
             ": there is no such link, or this direction names no type; `eshm stat " +
             options.name + "` shows what there is");
    return false;
  }
  for (const std::string& path : options.fields) {
    Leaf leaf;
    if (!find_leaf(type, path, leaf) || !is_number(leaf)) {
      complain("the type has no field " + path + " that is a number; `eshm stat " + options.name +
               "` shows them");
      return false;
    }
    leaves.push_back(leaf);
  }
  return true;
}

}  // namespace

int run_plot(const PlotOptions& options) {
  std::vector<Leaf> leaves;
  if (!find_fields(options, leaves)) return kFinding;
  Observer observer;
  if (!observer.open(options.name)) return complain_last_error();
  Plot plot(options, leaves);
  std::unique_ptr<Screen> screen;
  if (is_terminal()) screen = std::make_unique<Screen>();
  const uint64_t frame_ns = uint64_t(1e9 / options.frames_per_s);
  uint64_t frames = 0;
  const uint32_t direction = options.s2m ? ESHM_S2M : ESHM_M2S;
  while (!must_stop()) {
    const uint64_t next = now_ns() + frame_ns;
    while (!must_stop() && now_ns() < next) {
      const uint64_t now = now_ns();
      const uint32_t left_ms = now < next ? uint32_t((next - now) / 1'000'000) : 0;
      const int code = observer.read(left_ms);
      if (code == ESHM_SUCCESS && observer.info().direction == direction) plot.take(observer);
      if (code == ESHM_ERROR_CORRUPT) {
        screen.reset();
        return complain_last_error();
      }
    }
    const std::vector<std::string> lines = plot.lines(terminal_size());
    if (screen != nullptr) {
      screen->show(lines);
      if (screen->wait_key(0).letter == "q") break;
    } else {
      for (const std::string& line : lines) put(line + "\n");
      put("\n");
      flush();
    }
    if (options.frames != 0 && ++frames >= options.frames) break;
  }
  return kFine;
}

}  // namespace tool
