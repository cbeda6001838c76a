// SPDX-License-Identifier: MIT
#include "http.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "run.h"

namespace tool {
namespace {

constexpr uint64_t kPatienceNs = 2'000'000'000;  // with one client
constexpr size_t kMostRequestBytes = 8192;

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }
  // In short pieces: a signal may come just before the call. False: not in time.
  bool wait(short events, uint64_t until) const {
    while (!must_stop() && now_ns() < until) {
      pollfd one = {fd_, events, 0};
      if (poll(&one, 1, 50) > 0) return true;
    }
    return false;
  }

 private:
  int fd_;
};

bool split(const std::string& where, std::string& address, std::string& port) {
  const size_t colon = where.rfind(':');
  address = colon == std::string::npos ? "127.0.0.1" : where.substr(0, colon);
  port = colon == std::string::npos ? where : where.substr(colon + 1);
  if (address.size() >= 2 && address.front() == '[' && address.back() == ']') {
    address = address.substr(1, address.size() - 2);
  }
  return !address.empty() && !port.empty() &&
         port.find_first_not_of("0123456789") == std::string::npos;
}

// A listening socket, or -1 and why.
int listen_at(const std::string& address, const std::string& port, std::string& why) {
  addrinfo hints = {};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failure = getaddrinfo(address.c_str(), port.c_str(), &hints, &found);
  if (failure != 0) {
    why = gai_strerror(failure);
    return -1;
  }
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int yes = 1;
  const bool is_listening =
      fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
      bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, 16) == 0;
  why = std::strerror(errno);
  freeaddrinfo(found);
  if (is_listening) return fd;
  if (fd >= 0) close(fd);
  return -1;
}

unsigned port_of(int fd) {
  sockaddr_storage name = {};
  socklen_t length = sizeof name;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) != 0) return 0;
  return ntohs(name.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&name)->sin6_port
                                          : reinterpret_cast<sockaddr_in*>(&name)->sin_port);
}

// The request's head, as far as it came; "" where none came in time.
std::string read_head(const Socket& client, uint64_t until) {
  std::string head;
  while (head.find("\r\n\r\n") == std::string::npos && head.find("\n\n") == std::string::npos) {
    if (head.size() > kMostRequestBytes || !client.wait(POLLIN, until)) return "";
    char bytes[2048];
    const ssize_t count = recv(client.fd(), bytes, sizeof bytes, MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (count <= 0) return "";
    head.append(bytes, size_t(count));
  }
  return head;
}

void send_all(const Socket& client, const std::string& text, uint64_t until) {
  for (size_t done = 0; done < text.size();) {
    if (!client.wait(POLLOUT, until)) return;
    const ssize_t count =
        send(client.fd(), text.data() + done, text.size() - done, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (count <= 0) return;
    done += size_t(count);
  }
}

std::string answer(const std::string& head, const std::function<std::string()>& page) {
  const std::string line = head.substr(0, head.find_first_of("\r\n"));
  const size_t first = line.find(' '), second = line.find(' ', first + 1);
  const std::string method = line.substr(0, first);
  std::string target = first == std::string::npos ? "" : line.substr(first + 1, second - first - 1);
  target = target.substr(0, target.find('?'));
  std::string status = "200 OK", type = "text/plain; version=0.0.4; charset=utf-8", body;
  if (method != "GET" && method != "HEAD") {
    status = "405 Method Not Allowed\r\nAllow: GET, HEAD";
    body = "GET alone is answered\n";
  } else if (target == "/metrics") {
    body = page();
  } else {
    status = "404 Not Found";
    body = "the page is /metrics\n";
  }
  return "HTTP/1.1 " + status + "\r\nContent-Type: " + type +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" +
         (method == "HEAD" ? "" : body);
}

}  // namespace

int serve_page(const std::string& where, const std::function<std::string()>& page) {
  std::string address, port, why;
  if (!split(where, address, port)) {
    complain("--listen takes PORT or ADDRESS:PORT in numbers, as 9090 or [::1]:9090");
    return kUsage;
  }
  const Socket listener(listen_at(address, port, why));
  if (listener.fd() < 0) return complain("cannot listen at " + where + ": " + why);
  const bool is_v6 = address.find(':') != std::string::npos;
  std::fprintf(stderr, "eshm: http://%s:%u/metrics, until Ctrl-C\n",
               is_v6 ? ("[" + address + "]").c_str() : address.c_str(), port_of(listener.fd()));
  while (!must_stop()) {
    if (!listener.wait(POLLIN, UINT64_MAX)) continue;
    const Socket client(accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (client.fd() < 0) {
      pause_ns(1'000'000);  // it is gone again, or there is no descriptor to be had
      continue;
    }
    const uint64_t until = now_ns() + kPatienceNs;
    const std::string head = read_head(client, until);
    if (head.empty()) continue;
    send_all(client, answer(head, page), until);
    shutdown(client.fd(), SHUT_WR);
  }
  return kFine;
}

}  // namespace tool
