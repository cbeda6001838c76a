// SPDX-License-Identifier: MIT
// eshm echo, eshm ping: the two ends of a round trip.
#include <unistd.h>

#include <cstring>
#include <vector>

#include "commands.h"
#include "links.h"
#include "run.h"
#include "samples.h"
#include "talk.h"
#include "text.h"

namespace tool {
namespace {

constexpr uint32_t kWaitMs = 100;

// As eshm_read_ex into a buffer that grows. `size`: of the message.
int read_any(ESHMHandle* handle, std::vector<char>& buffer, size_t& size, uint32_t timeout_ms) {
  for (;;) {
    const int code = eshm_read_ex(handle, buffer.data(), buffer.size(), &size, timeout_ms);
    if (code != ESHM_ERROR_BUFFER_TOO_SMALL) return code;
    buffer.resize(size);
  }
}

bool is_patience(int code) { return code == ESHM_ERROR_TIMEOUT || code == ESHM_ERROR_NO_DATA; }

}  // namespace

int run_echo(const EchoOptions& options) {
  Talk talk;
  if (!talk.open(options.link, 5)) return must_stop() ? kFine : kFinding;
  std::vector<char> buffer(65536);
  for (uint64_t echoed = 0; !must_stop() && (options.count == 0 || echoed < options.count);) {
    size_t size = 0;
    const int code = read_any(talk.handle(), buffer, size, kWaitMs);
    if (is_patience(code)) continue;
    if (code == ESHM_ERROR_INTERRUPTED) break;
    if (code != ESHM_SUCCESS) return complain_last_error();
    if (!talk.write(buffer.data(), size)) return must_stop() ? kFine : kFinding;
    ++echoed;
  }
  talk.wait_until_read(1);
  return kFine;
}

int run_ping(const PingOptions& options) {
  Talk talk;
  if (!talk.open(options.link, options.wait_s)) return must_stop() ? kFine : kFinding;
  if (!talk.wait_for_peer(options.wait_s)) {
    if (must_stop()) return kFine;
    return complain("/dev/shm/eshm_" + options.link.name +
                    ": there is no other side; start `eshm echo " + options.link.name + "`");
  }
  std::vector<char> message(options.bytes), buffer(65536);
  Samples trips;
  uint64_t sent = 0;
  bool is_cut_short = false;
  while (!must_stop() && !is_cut_short && (options.count == 0 || sent < options.count)) {
    const uint64_t began = now_ns();
    ++sent;
    std::memcpy(message.data(), &sent, sizeof sent);
    if (!talk.write(message.data(), message.size())) {
      is_cut_short = !must_stop();
      break;
    }
    const uint64_t until = began + 1'000'000'000;
    for (;;) {
      size_t size = 0;
      const int code = read_any(talk.handle(), buffer, size, kWaitMs);
      uint64_t number = 0;
      if (code == ESHM_SUCCESS && size >= sizeof number) {
        std::memcpy(&number, buffer.data(), sizeof number);
      }
      if (number == sent) {  // an older one may come late
        trips.add(double(now_ns() - began));
        break;
      }
      is_cut_short = code != ESHM_SUCCESS && !is_patience(code) && code != ESHM_ERROR_INTERRUPTED;
      if (is_cut_short) complain_last_error();
      if (is_cut_short || must_stop() || now_ns() >= until) break;
    }
    const bool is_last = options.count != 0 && sent == options.count;
    if (!is_last) pause_ns(uint64_t(options.interval_s * 1e9));
  }
  if (options.json) {
    JsonWriter out;
    out.begin_object().member("schema", "eshm.ping/1").member("name", options.link.name);
    out.member("sent", sent).member("bytes", options.bytes);
    trips.put_json(out.key("round_trip"));
    put(out.end_object().text() + "\n");
  } else {
    put(std::to_string(trips.count()) + " of " + std::to_string(sent) + " came back\n");
    if (trips.count() != 0) put("round trip " + trips.summary() + "\n" + trips.histogram(50));
  }
  // On Ctrl-C the last one may be on its way.
  const uint64_t expected = must_stop() && sent > 0 ? sent - 1 : sent;
  return trips.count() >= expected && !is_cut_short ? kFine : kFinding;
}

}  // namespace tool
