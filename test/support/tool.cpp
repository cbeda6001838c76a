// SPDX-License-Identifier: MIT
#include "support/tool.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <sstream>

#include "support/link.h"

namespace test {
namespace {

void close_once(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

// False: at its end.
bool append_from(int& fd, std::string& to) {
  char bytes[65536];
  const ssize_t count = read(fd, bytes, sizeof bytes);
  if (count > 0) to.append(bytes, size_t(count));
  if (count == 0) close_once(fd);
  return count > 0;
}

}  // namespace

Tool::Tool(const std::vector<std::string>& arguments) {
  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) abort();
  std::vector<char*> argv = {const_cast<char*>("eshm")};
  for (const std::string& one : arguments) argv.push_back(const_cast<char*>(one.c_str()));
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(err[1], STDERR_FILENO);
    execv(ESHM_TOOL, argv.data());
    _exit(127);
  }
  remember_process(pid_);
  close(in[0]), close(out[1]), close(err[1]);
  in_ = in[1], out_ = out[0], err_ = err[0];
}

Tool::~Tool() {
  close_once(in_), close_once(out_), close_once(err_);
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  note_reaped(pid_);
}

void Tool::type(const std::string& input) {
  ASSERT_EQ(write(in_, input.data(), input.size()), ssize_t(input.size()));
}

void Tool::end_input() { close_once(in_); }
void Tool::signal(int number) { kill(pid_, number); }
void Tool::close_output() { close_once(out_); }

bool Tool::take(int wait_ms) {
  pollfd ends[] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}};  // -1 is passed over
  if (out_ < 0 && err_ < 0) return false;
  if (poll(ends, 2, wait_ms) <= 0) return true;
  if (ends[0].revents != 0) append_from(out_, run_.out);
  if (ends[1].revents != 0) append_from(err_, run_.err);
  return true;
}

bool Tool::prints(const std::string& text) {
  while (run_.out.find(text) == std::string::npos && run_.err.find(text) == std::string::npos) {
    if (!take(1000)) return false;
  }
  return true;
}

ToolRun Tool::finish() {
  end_input();
  while (take(1000)) {
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  note_reaped(pid_);
  pid_ = -1;
  run_.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return run_;
}

ToolRun run_tool(const std::vector<std::string>& arguments, const std::string& input) {
  Tool tool(arguments);
  if (!input.empty()) tool.type(input);
  return tool.finish();
}

std::string line_of(const std::string& output, const std::string& name) {
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    if (line.compare(0, name.size() + 1, name + " ") == 0) return line;
  }
  return "";
}

}  // namespace test
