// SPDX-License-Identifier: MIT
#include "demo/options.h"

#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace demo {

const char kUsage[] =
    "usage: eshm_demo <master|slave|auto> [name] [options]\n"
    "\n"
    "The master publishes this machine's readings, the slave answers each.\n"
    "Name of the link: eshm_demo, where none is given. Ctrl-C ends it.\n"
    "\n"
    "  --messages N        end after N messages sent (master) or received (slave)\n"
    "  --seconds N         end after N seconds\n"
    "  --interval-ms N     master: time between two readings (default 100)\n"
    "  --backend B         posix (default) or sysv; an attaching end takes what is there\n"
    "  --delivery D        latest (default) or queue, both ways; likewise\n"
    "  --help              this text\n";

namespace {

constexpr uint64_t kMaxNumber = 1000000000;

bool parse_number(const char* text, uint64_t* number) {
  if (!std::isdigit(static_cast<unsigned char>(text[0]))) return false;
  char* end = nullptr;
  errno = 0;
  *number = std::strtoull(text, &end, 10);
  return errno == 0 && *end == '\0' && *number >= 1 && *number <= kMaxNumber;
}

bool parse_backend(const char* text, ESHMBackend* backend) {
  if (std::strcmp(text, "posix") == 0) {
    *backend = ESHM_BACKEND_POSIX;
  } else if (std::strcmp(text, "sysv") == 0) {
    *backend = ESHM_BACKEND_SYSV;
  } else {
    return false;
  }
  return true;
}

bool parse_delivery(const char* text, ESHMDelivery* delivery) {
  if (std::strcmp(text, "latest") == 0) {
    *delivery = ESHM_DELIVERY_LATEST;
  } else if (std::strcmp(text, "queue") == 0) {
    *delivery = ESHM_DELIVERY_QUEUE;
  } else {
    return false;
  }
  return true;
}

bool parse_role(const char* text, ESHMRole* role) {
  if (std::strcmp(text, "master") == 0) {
    *role = ESHM_ROLE_MASTER;
  } else if (std::strcmp(text, "slave") == 0) {
    *role = ESHM_ROLE_SLAVE;
  } else if (std::strcmp(text, "auto") == 0) {
    *role = ESHM_ROLE_AUTO;
  } else {
    return false;
  }
  return true;
}

bool parse_option(const std::string& option, const char* value, Options* options) {
  if (option == "--messages") return parse_number(value, &options->messages);
  if (option == "--seconds") return parse_number(value, &options->seconds);
  if (option == "--interval-ms") return parse_number(value, &options->interval_ms);
  if (option == "--backend") return parse_backend(value, &options->backend);
  if (option == "--delivery") return parse_delivery(value, &options->delivery);
  return false;
}

Parsed wrong(const std::string& what) {
  std::fprintf(stderr, "eshm_demo: %s\n\n%s", what.c_str(), kUsage);
  return Parsed::kWrong;
}

}  // namespace

Parsed parse_options(int argc, char** argv, Options* options) {
  std::vector<const char*> words;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--help" || word == "-h") return Parsed::kHelp;
    if (word.compare(0, 2, "--") != 0) {
      words.push_back(argv[i]);
      continue;
    }
    const char* value = i + 1 < argc ? argv[++i] : "";
    if (!parse_option(word, value, options)) return wrong("cannot take " + word + " " + value);
  }
  if (words.empty()) return wrong("which role?");
  if (words.size() > 2) return wrong(std::string("one word too many: ") + words[2]);
  if (!parse_role(words[0], &options->role)) return wrong(std::string("no such role: ") + words[0]);
  if (words.size() == 2) options->name = words[1];
  return Parsed::kRun;
}

}  // namespace demo
