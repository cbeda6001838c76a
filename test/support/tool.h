// SPDX-License-Identifier: MIT
// The command eshm, run as a user runs it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace test {

struct ToolRun {
  int code = -1;  // exit code, or 128 + the signal
  std::string out, err;
};

// A run that goes on beside the test. Killed at the end, if need be.
class Tool {
 public:
  explicit Tool(const std::vector<std::string>& arguments);
  ~Tool();
  Tool(const Tool&) = delete;
  Tool& operator=(const Tool&) = delete;

  pid_t pid() const { return pid_; }
  void type(const std::string& input);  // to its standard input
  void end_input();
  // Waits until its output holds that text; false if it ended before.
  bool prints(const std::string& text);
  const std::string& out() const { return run_.out; }
  const std::string& err() const { return run_.err; }
  void signal(int number);
  void close_output();  // nobody reads it any more
  ToolRun finish();     // waits for its end

 private:
  bool take(int wait_ms);

  pid_t pid_;
  int in_, out_, err_;
  ToolRun run_;
};

// A whole run.
ToolRun run_tool(const std::vector<std::string>& arguments, const std::string& input = "");

// The line of `eshm ls` that begins with that name, or "".
std::string line_of(const std::string& output, const std::string& name);

}  // namespace test
