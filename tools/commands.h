// SPDX-License-Identifier: MIT
// The commands: what the command line says, and what runs. Each answers an exit code.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tool {

struct LsOptions {
  bool json = false;
  bool names = false;
  bool watch = false;
  double interval_s = 1;
  uint32_t sample_ms = 10;
};
int run_ls(const LsOptions& options);

struct StatOptions {
  std::string name;
  bool json = false;
  double look_s = 0.25;
};
int run_stat(const StatOptions& options);

struct TopOptions {
  bool batch = false;
  double interval_s = 1;
  uint64_t frames = 0;  // 0: until it is ended
  std::string sort = "name";
  std::string filter;
};
int run_top(const TopOptions& options);

enum class Form { kAuto, kJson, kHex, kRaw, kText };

struct CatOptions {
  std::string name;
  bool s2m = false;
  bool both = false;
  Form form = Form::kAuto;
  uint64_t count = 0;  // 0: no limit
  bool follow = false;
  std::vector<std::string> fields;
};
int run_cat(const CatOptions& options);

struct PlotOptions {
  std::string name;
  std::vector<std::string> fields;
  bool s2m = false;
  double span_s = 10;
  double frames_per_s = 10;
  uint64_t frames = 0;
};
int run_plot(const PlotOptions& options);

struct HzOptions {
  std::string name;
  double for_s = 0;    // 0: until it is ended
  bool json = false;
};
int run_hz(const HzOptions& options);

struct RoleOptions {
  std::string name;
  std::string role = "auto";
  bool queue = false;         // of a link that this command makes
  uint64_t max_bytes = 4096;  // likewise
};

struct SendOptions {
  RoleOptions link;
  double rate_hz = 0;
  std::string type;
  bool json = false;
  bool whole = false;
  std::string file = "-";
  double wait_s = 5;
  uint64_t repeat = 1;
};
int run_send(const SendOptions& options);

struct EchoOptions {
  RoleOptions link;
  uint64_t count = 0;
};
int run_echo(const EchoOptions& options);

struct PingOptions {
  RoleOptions link;
  uint64_t count = 0;
  double interval_s = 0.1;
  uint64_t bytes = 64;
  double wait_s = 5;
  bool json = false;
};
int run_ping(const PingOptions& options);

struct RmOptions {
  std::vector<std::string> names;
  bool force = false;
};
int run_rm(const RmOptions& options);

struct CleanOptions {
  bool dry_run = false;
  std::vector<std::string> patterns;  // none: all
};
int run_clean(const CleanOptions& options);

struct DoctorOptions {
  std::string name;
  bool json = false;
};
int run_doctor(const DoctorOptions& options);

struct BenchOptions {
  double for_s = 10;
  bool json = false;
};
int run_bench(const BenchOptions& options);

struct MetricsOptions {
  std::string listen;  // empty: once, to standard output
};
int run_metrics(const MetricsOptions& options);

struct VersionOptions {
  bool json = false;
};
int run_version(const VersionOptions& options);

}  // namespace tool
