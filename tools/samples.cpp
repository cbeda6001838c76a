// SPDX-License-Identifier: MIT
#include "samples.h"

#include <algorithm>
#include <cmath>

#include "text.h"

namespace tool {
namespace {

std::string time_text(double ns) { return duration_text(ns < 0 ? 0 : uint64_t(ns)); }

}  // namespace

void Samples::add(double value) {
  constexpr size_t kMost = 1'000'000;
  if (count_ == 0 || value < least_) least_ = value;
  if (count_ == 0 || value > greatest_) greatest_ = value;
  ++count_;
  sum_ += value;
  squares_ += value * value;
  if (kept_.size() < kMost) {
    kept_.push_back(value);
    return;
  }
  dice_ ^= dice_ << 13, dice_ ^= dice_ >> 7, dice_ ^= dice_ << 17;
  const uint64_t place = dice_ % count_;
  if (place < kMost) kept_[place] = value;
}

double Samples::deviation() const {
  if (count_ < 2) return 0;
  const double variance = squares_ / double(count_) - mean() * mean();
  return variance > 0 ? std::sqrt(variance) : 0;
}

double Samples::quantile(double share) const {
  if (kept_.empty()) return 0;
  std::vector<double> sorted = kept_;
  const size_t index = std::min(sorted.size() - 1, size_t(share * double(sorted.size())));
  std::nth_element(sorted.begin(), sorted.begin() + long(index), sorted.end());
  return sorted[index];
}

std::string Samples::summary() const {
  if (count_ == 0) return "nothing measured";
  return "min " + time_text(least_) + "  mean " + time_text(mean()) + "  p50 " +
         time_text(quantile(0.5)) + "  p99 " + time_text(quantile(0.99)) + "  max " +
         time_text(greatest_);
}

std::string Samples::histogram(size_t columns) const {
  if (kept_.empty()) return "";
  const auto bin_of = [](double value) { return int(std::floor(2 * std::log2(std::max(value, 1.0)))); };
  const int first = bin_of(least_), last = bin_of(greatest_);
  std::vector<uint64_t> bins(size_t(last - first) + 1);
  for (const double value : kept_) ++bins[size_t(std::clamp(bin_of(value), first, last) - first)];
  const uint64_t most = *std::max_element(bins.begin(), bins.end());
  std::string text;
  for (size_t i = 0; i < bins.size(); ++i) {
    const double from = std::exp2(double(first + int(i)) / 2);
    const size_t length = size_t(double(bins[i]) / double(most) * double(columns) + 0.5);
    std::string row = fitted(time_text(from), 8, true) + " |";
    for (size_t j = 0; j < length; ++j) row += '#';
    if (bins[i] != 0 && length == 0) row += '.';
    text += row + (bins[i] != 0 ? " " + std::to_string(bins[i]) : "") + "\n";
  }
  return text;
}

void Samples::put_json(JsonWriter& out) const {
  out.begin_object().member("count", count_);
  if (count_ != 0) {
    out.member("min_ns", least_).member("mean_ns", mean()).member("p50_ns", quantile(0.5));
    out.member("p99_ns", quantile(0.99)).member("max_ns", greatest_);
    out.member("stddev_ns", deviation());
  }
  out.end_object();
}

}  // namespace tool
