// SPDX-License-Identifier: MIT
// The process of a command: its output, its end, its time.
#pragma once

#include <cstdint>
#include <string>

namespace tool {

// Exit codes, the same for every command.
enum Exit : int {
  kFine = 0,
  kFinding = 1,  // something is not as it should be, or is not there
  kUsage = 2,    // the command line is wrong
};

// SIGINT, SIGTERM and SIGHUP ask a command to end; a broken pipe does, too.
void handle_signals();
bool must_stop();
int interrupt_when_stopping(void*);  // ESHMConfig.interrupt

// For commands that only look on: whoever works on a link goes before them.
void step_back();

// Sleeps so long, or until the command is to end.
void pause_ns(uint64_t ns);
uint64_t now_ns();       // CLOCK_MONOTONIC
uint64_t real_now_ns();  // CLOCK_REALTIME

// To standard output. The first failure ends the command.
void put(const std::string& text);
void flush();
// After the last output: the exit code, or kFinding if the output failed.
int finish(int code);

// One line on standard error: "eshm: ...". Answers kFinding.
int complain(const std::string& text);
// The library's last sentence, as a complaint.
int complain_last_error();

bool is_terminal();                   // standard output
bool wants_colour();                  // it is one, and neither NO_COLOR nor TERM=dumb is set
std::string coloured(const char* code, const std::string& text);
constexpr const char* kRed = "31";
constexpr const char* kGreen = "32";
constexpr const char* kYellow = "33";
constexpr const char* kDim = "2";
constexpr const char* kBold = "1";

}  // namespace tool
