// SPDX-License-Identifier: MIT
// This machine's own figures, from /proc and /sys.
#ifndef ESHM_EXAMPLES_DEMO_READINGS_H
#define ESHM_EXAMPLES_DEMO_READINGS_H

#include <cstdint>
#include <string>
#include <vector>

namespace demo {

class MachineReadings {
 public:
  MachineReadings();

  // One line: processor use since the last call, memory, load, temperatures.
  std::string sample();

 private:
  struct CpuTicks {
    uint64_t busy = 0;
    uint64_t all = 0;
  };
  struct Sensor {
    std::string name;
    std::string path;
  };

  static CpuTicks read_cpu_ticks();
  static std::vector<Sensor> find_sensors();
  double cpu_percent();
  std::string temperatures() const;

  CpuTicks last_;
  double cpu_percent_ = 0;
  std::vector<Sensor> sensors_;
};

}  // namespace demo

#endif  // ESHM_EXAMPLES_DEMO_READINGS_H
