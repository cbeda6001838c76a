// SPDX-License-Identifier: MIT
// Measured times: their distribution, and its picture.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "json.h"

namespace tool {

class Samples {
 public:
  // Beyond a million, a random share is kept.
  void add(double value);
  uint64_t count() const { return count_; }
  double least() const { return least_; }
  double greatest() const { return greatest_; }
  double mean() const { return count_ == 0 ? 0 : sum_ / double(count_); }
  double deviation() const;
  double quantile(double share) const;  // 0.99: the 99th percentile

  // Of nanoseconds: "min 1us  mean ...", and a histogram with logarithmic steps.
  std::string summary() const;
  std::string histogram(size_t columns) const;
  void put_json(JsonWriter& out) const;  // an object, in nanoseconds

 private:
  std::vector<double> kept_;
  uint64_t count_ = 0, dice_ = 88172645463325252u;
  double sum_ = 0, squares_ = 0, least_ = 0, greatest_ = 0;
};

}  // namespace tool
