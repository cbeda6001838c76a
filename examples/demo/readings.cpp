// SPDX-License-Identifier: MIT
#include "demo/readings.h"

#include <glob.h>

#include <cstdio>
#include <fstream>
#include <sstream>

namespace demo {
namespace {

// Some machines have dozens; a line has room for a few.
constexpr size_t kMaxSensors = 4;

std::vector<std::string> matching_paths(const char* pattern) {
  std::vector<std::string> paths;
  glob_t found;
  if (glob(pattern, 0, nullptr, &found) == 0) {
    paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  }
  globfree(&found);
  return paths;
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/') + 1); }

struct Memory {
  double used_gib = 0;
  double total_gib = 0;
};

Memory read_memory() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  double kib = 0;
  double total = 0;
  double available = 0;
  std::string rest;
  while (file >> key >> kib && std::getline(file, rest)) {
    if (key == "MemTotal:") total = kib;
    if (key == "MemAvailable:") available = kib;
  }
  constexpr double kKibPerGib = 1024.0 * 1024.0;
  return {(total - available) / kKibPerGib, total / kKibPerGib};
}

double read_load() {
  double load = 0;
  std::ifstream("/proc/loadavg") >> load;
  return load;
}

}  // namespace

MachineReadings::MachineReadings() : last_(read_cpu_ticks()), sensors_(find_sensors()) {}

std::string MachineReadings::sample() {
  const Memory memory = read_memory();
  char line[128];
  std::snprintf(line, sizeof line, "cpu %.1f %%, memory %.2f of %.2f GiB, load %.2f", cpu_percent(),
                memory.used_gib, memory.total_gib, read_load());
  return line + temperatures();
}

MachineReadings::CpuTicks MachineReadings::read_cpu_ticks() {
  std::istringstream line(first_line("/proc/stat"));
  std::string word;
  line >> word;
  // user nice system idle iowait irq softirq steal; what follows is counted in user already.
  CpuTicks ticks;
  uint64_t value = 0;
  for (int field = 0; field < 8 && line >> value; ++field) {
    ticks.all += value;
    const bool idle = field == 3 || field == 4;
    if (!idle) ticks.busy += value;
  }
  return ticks;
}

// Ticks are 10 ms long: over less than some of them the last figure says more than a new one.
double MachineReadings::cpu_percent() {
  constexpr uint64_t kEnoughTicks = 10;
  const CpuTicks now = read_cpu_ticks();
  if (now.all >= last_.all + kEnoughTicks && now.busy >= last_.busy) {
    cpu_percent_ = 100.0 * static_cast<double>(now.busy - last_.busy) /
                   static_cast<double>(now.all - last_.all);
    last_ = now;
  }
  return cpu_percent_;
}

std::vector<MachineReadings::Sensor> MachineReadings::find_sensors() {
  std::vector<Sensor> sensors;
  for (const std::string& path : matching_paths("/sys/class/thermal/thermal_zone*/temp")) {
    sensors.push_back({first_line(folder_of(path) + "type"), path});
  }
  if (sensors.empty()) {
    for (const std::string& path : matching_paths("/sys/class/hwmon/hwmon*/temp*_input")) {
      sensors.push_back({first_line(folder_of(path) + "name"), path});
    }
  }
  if (sensors.size() > kMaxSensors) sensors.resize(kMaxSensors);
  return sensors;
}

std::string MachineReadings::temperatures() const {
  std::string text;
  for (const Sensor& sensor : sensors_) {
    double millidegrees = 0;
    // A sensor may be asleep and refuse.
    if (!(std::ifstream(sensor.path) >> millidegrees)) continue;
    char figure[32];
    std::snprintf(figure, sizeof figure, " %.1f C", millidegrees / 1000.0);
    text += ", " + sensor.name + figure;
  }
  return text;
}

}  // namespace demo
