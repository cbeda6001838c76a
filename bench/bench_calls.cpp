// SPDX-License-Identifier: MIT
// What single calls cost, in one process, by google-benchmark.
#include <benchmark/benchmark.h>

#include <atomic>
#include <map>

#include "support.h"

namespace {

using bench::check;
using bench::Link;

constexpr int kRepetitions = 9;

Link open_master(const std::string& name) {
  return Link(bench::link_config(name, ESHM_ROLE_MASTER));
}
Link open_slave(const std::string& name) { return Link(bench::link_config(name, ESHM_ROLE_SLAVE)); }

void locked_add(benchmark::State& state) {
  static std::atomic<uint64_t> word;
  for (auto _ : state) word.fetch_add(1, std::memory_order_seq_cst);
}

// Nobody reads, nobody is attached.
void write_alone(benchmark::State& state) {
  const Link master = open_master(bench::link_name("write"));
  const size_t size = size_t(state.range(0));
  const std::vector<char> message(size + 1, 'x');
  int failures = 0;
  for (auto _ : state) failures += eshm_write(master, message.data(), size) != ESHM_SUCCESS;
  if (failures != 0) state.SkipWithError(eshm_last_error(nullptr));
}

// Each read finds an unread message: what the read costs is the pair less the write.
void write_and_read(benchmark::State& state) {
  const Link master = open_master(bench::link_name("pair"));
  const Link slave = open_slave(bench::link_name("pair"));
  const size_t size = size_t(state.range(0));
  const std::vector<char> message(size + 1, 'x');
  std::vector<char> buffer(ESHM_MAX_DATA_SIZE);
  int failures = 0;
  for (auto _ : state) {
    failures += eshm_write(master, message.data(), size) != ESHM_SUCCESS;
    size_t got = 0;
    failures += eshm_read_ex(slave, buffer.data(), buffer.size(), &got, 0) != ESHM_SUCCESS;
    failures += got != size;
  }
  if (failures != 0) state.SkipWithError("a message was missed");
}

void read_nothing(benchmark::State& state) {
  const Link master = open_master(bench::link_name("empty"));
  const Link slave = open_slave(bench::link_name("empty"));
  char buffer[ESHM_MAX_DATA_SIZE];
  int failures = 0;
  for (auto _ : state) {
    failures += eshm_read_ex(slave, buffer, sizeof buffer, nullptr, 0) != ESHM_ERROR_NO_DATA;
  }
  if (failures != 0) state.SkipWithError("data out of nowhere");
}

// Prints nothing while it runs, and keeps the medians.
class Medians : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.error_occurred) failure_ = run.benchmark_name() + ": " + run.error_message;
      if (run.aggregate_name == "median")
        ns_[run.run_name.function_name + "/" + run.run_name.args] = run.GetAdjustedRealTime();
    }
  }

  double operator()(const std::string& name) const {
    const auto found = ns_.find(name);
    return found == ns_.end() ? std::nan("") : found->second;
  }
  const std::string& failure() const { return failure_; }

 private:
  std::map<std::string, double> ns_;
  std::string failure_;
};

void print_row(const char* what, double ns, double add_ns, const char* goal) {
  std::printf("%-34s %8.1f %12.1f   %s\n", what, ns, ns / add_ns, goal);
}

void print_table(const Medians& ns, const std::vector<int>& sizes) {
  const double add = ns("locked_add/");
  std::printf("\nsingle calls, one process, medians of %d interleaved repetitions\n", kRepetitions);
  std::printf("%-34s %8s %12s   %s\n", "", "ns", "locked adds", "goal");
  print_row("lock-prefixed add", add, add, "");
  for (int size : sizes) {
    const std::string label = "eshm_write " + std::to_string(size) + " B, nobody reads";
    print_row(label.c_str(), ns("write_alone/" + std::to_string(size)), add,
              size == 64 ? "<= 10 ns" : "");
  }
  for (int size : sizes) {
    const std::string args = std::to_string(size);
    const double pair = ns("write_and_read/" + args);
    print_row(("write + read of " + args + " B").c_str(), pair, add, "");
    print_row("  less the write: read", pair - ns("write_alone/" + args), add,
              size == 64 ? "<= 15 ns" : "");
  }
  print_row("read with nothing there", ns("read_nothing/"), add, "");
}

void run(int argc, char** argv) {
  std::string min_time = "--benchmark_min_time=0.05";
  std::string interleave = "--benchmark_enable_random_interleaving=true";
  std::vector<char*> words = {argv[0], &min_time[0], &interleave[0]};
  words.insert(words.end(), argv + 1, argv + argc);
  int count = int(words.size());
  benchmark::Initialize(&count, words.data());
  if (benchmark::ReportUnrecognizedArguments(count, words.data())) bench::fail("see --help");

  const std::vector<int> sizes = {0, 8, 48, 64, 256, 1024, 4096};
  const auto prepare = [](benchmark::internal::Benchmark* one) {
    return one->Repetitions(kRepetitions)->ReportAggregatesOnly(true);
  };
  prepare(benchmark::RegisterBenchmark("locked_add", locked_add));
  for (int size : sizes) {
    prepare(benchmark::RegisterBenchmark("write_alone", write_alone))->Arg(size);
    prepare(benchmark::RegisterBenchmark("write_and_read", write_and_read))->Arg(size);
  }
  prepare(benchmark::RegisterBenchmark("read_nothing", read_nothing));

  Medians medians;
  benchmark::RunSpecifiedBenchmarks(&medians);
  if (!medians.failure().empty()) bench::fail(medians.failure());
  print_table(medians, sizes);
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_guarded("bench-calls", 600, [&] { run(argc, argv); });
}
