// SPDX-License-Identifier: MIT
// eshm top: all links, live.
#include <sys/statvfs.h>

#include <algorithm>
#include <ctime>
#include <map>

#include "commands.h"
#include "describe.h"
#include "run.h"
#include "terminal.h"
#include "text.h"

namespace tool {
namespace {

constexpr size_t kMostHistory = 240;

// The rates of a link over the last looks.
struct History {
  std::vector<double> rates[2];
  void add(const WatchedLink& link) {
    for (const int direction : {ESHM_M2S, ESHM_S2M}) {
      std::vector<double>& all = rates[direction];
      all.push_back(link.rate(direction));
      if (all.size() > kMostHistory) all.erase(all.begin());
    }
  }
};

std::string clock_text() {
  const time_t seconds = time(nullptr);
  tm local;
  char text[16];
  if (localtime_r(&seconds, &local) == nullptr) return "";
  std::strftime(text, sizeof text, "%H:%M:%S", &local);
  return text;
}

std::string newest_text(const ESHMLinkInfo& info) {
  const uint64_t newest = std::max(info.m2s.newest_ns, info.s2m.newest_ns), now = now_ns();
  return newest == 0 || newest > now ? "" : duration_text(now - newest);
}

std::string fill_text(const ESHMLinkInfo& info) {
  double most = -1;
  for (const ESHMLinkChannel* channel : {&info.m2s, &info.s2m}) {
    if (channel->queue_capacity == 0) continue;
    most = std::max(most, 100.0 * double(channel->queued_bytes) / double(channel->queue_capacity));
  }
  return most < 0 ? "" : decimal(std::min(most, 100.0), 0) + "%";
}

// What the screen shows, and what the keys change.
class Top {
 public:
  explicit Top(const TopOptions& options) : sort_(options.sort), filter_(options.filter) {}

  bool look() {
    if (!set_.look()) return false;
    std::map<std::string, History> kept;
    for (const WatchedLink& link : set_.links()) {
      const std::string name = link.info().name;
      History& history = kept[name];
      history = std::move(history_[name]);
      history.add(link);
    }
    history_ = std::move(kept);
    return true;
  }

  std::vector<const WatchedLink*> chosen() const {
    std::vector<const WatchedLink*> links;
    for (const WatchedLink& link : set_.links()) {
      const std::string name = link.info().name;
      if (name.find(filter_) != std::string::npos) links.push_back(&link);
    }
    const auto by = [&links](auto greater) { std::stable_sort(links.begin(), links.end(), greater); };
    const auto rate = [](const WatchedLink* link) {
      return link->rate(ESHM_M2S) + link->rate(ESHM_S2M);
    };
    if (sort_ == "rate") by([&](auto* a, auto* b) { return rate(a) > rate(b); });
    if (sort_ == "age") by([](auto* a, auto* b) { return a->info().made_ns < b->info().made_ns; });
    if (sort_ == "size") {
      by([](auto* a, auto* b) { return a->info().segment_bytes > b->info().segment_bytes; });
    }
    return links;
  }

  void press(const KeyPress& press) {
    const std::string& letter = press.letter;
    if (is_typing_) {
      type(press);
    } else if (press.key == Key::kUp || letter == "k") {
      select(-1);
    } else if (press.key == Key::kDown || letter == "j") {
      select(1);
    } else if (press.key == Key::kEnter) {
      has_detail_ = !has_detail_;
    } else if (press.key == Key::kEscape) {
      has_detail_ = false;
      filter_.clear();
    } else if (letter == "s") {
      sort_ = sort_ == "name" ? "rate" : sort_ == "rate" ? "age" : sort_ == "age" ? "size" : "name";
    } else if (letter == "/") {
      is_typing_ = true;
    } else if (letter == "q") {
      is_over_ = true;
    }
  }
  bool is_over() const { return is_over_; }

  std::vector<std::string> lines(Size size) {
    const std::vector<const WatchedLink*> links = chosen();
    keep_selection(links);
    std::vector<std::string> lines = {title(links.size(), size.columns)};
    if (has_detail_ && selected_ < links.size()) {
      add_detail(*links[selected_], size, lines);
    } else {
      add_list(links, size, lines);
    }
    while (lines.size() + 1 < size.rows) lines.push_back("");
    lines.resize(std::max<size_t>(size.rows, 2) - 1);
    lines.push_back(fitted(is_typing_ ? "filter: " + printable(filter_) + "_"
                                      : "arrows select  Enter detail  s sort: " + sort_ +
                                            "  / filter" +
                                            (filter_.empty() ? "" : ": " + printable(filter_)) +
                                            "  q quit",
                           size.columns));
    return lines;
  }

  void print_batch() const {
    put(clock_text() + "\n");
    Table table({"NAME", "STATE", ">M2S/s", ">S2M/s", ">NEWEST", ">QUEUE", ">SIZE"});
    for (const WatchedLink* link : chosen()) {
      table.add({printable(link->info().name), link->verdict(), rate_text(link->rate(ESHM_M2S)),
                 rate_text(link->rate(ESHM_S2M)), newest_text(link->info()),
                 fill_text(link->info()), bytes_text(link->info().segment_bytes)});
    }
    put(table.text() + "\n");
    flush();
  }

 private:
  void type(const KeyPress& press) {
    if (press.key == Key::kEnter) is_typing_ = false;
    if (press.key == Key::kEscape) is_typing_ = false, filter_.clear();
    if (press.key == Key::kLetter) filter_ += press.letter;
    if (press.key != Key::kBackspace) return;
    while (!filter_.empty() && (uint8_t(filter_.back()) & 0xc0) == 0x80) filter_.pop_back();
    if (!filter_.empty()) filter_.pop_back();
  }

  void select(int step) {
    const std::vector<const WatchedLink*> links = chosen();
    if (links.empty()) return;
    selected_ = size_t(std::clamp<long>(long(selected_) + step, 0, long(links.size()) - 1));
    selected_name_ = links[selected_]->info().name;
  }

  // By its name: links come and go above it.
  void keep_selection(const std::vector<const WatchedLink*>& links) {
    const auto same = std::find_if(links.begin(), links.end(), [&](const WatchedLink* link) {
      return selected_name_ == link->info().name;
    });
    if (same != links.end()) selected_ = size_t(same - links.begin());
    if (selected_ >= links.size()) selected_ = links.empty() ? 0 : links.size() - 1;
    if (!links.empty()) selected_name_ = links[selected_]->info().name;
  }

  std::string title(size_t shown, size_t columns) const {
    size_t orphans = 0;
    for (const WatchedLink& link : set_.links()) orphans += link.is_orphan();
    struct statvfs memory;
    std::string text = "eshm top  " + std::to_string(shown) + " of " +
                       std::to_string(set_.links().size()) + " links, " + std::to_string(orphans) +
                       (orphans == 1 ? " orphan" : " orphans");
    if (statvfs("/dev/shm", &memory) == 0) {
      text += ", " + bytes_text(uint64_t(memory.f_bavail) * memory.f_frsize) + " free";
    }
    const std::string time = clock_text();
    if (columns < time.size() + 2) return fitted(text, columns);
    return coloured(kBold, fitted(text, columns - time.size() - 1) + " " + time);
  }

  static const char* colour_of(const WatchedLink& link) {
    const std::string verdict = link.verdict();
    if (verdict == "healthy") return kGreen;
    if (link.is_well() || verdict == "no master") return kBold;
    return verdict == "orphan" || verdict == "unreadable" || verdict == "leftover" ? kYellow : kRed;
  }

  void add_list(const std::vector<const WatchedLink*>& links, Size size,
                std::vector<std::string>& lines) {
    constexpr size_t kFixed = 2 + 14 + 2 * (7 + 1 + 8 + 1) + 8 + 1 + 5, kLeastName = 10;
    const size_t name_columns =
        size.columns > kFixed + kLeastName ? size.columns - kFixed : kLeastName;
    const auto row = [&](const std::string& mark, const std::string& name, const std::string& state,
                         const std::string& a, const std::string& a_line, const std::string& b,
                         const std::string& b_line, const std::string& age,
                         const std::string& fill) {
      return mark + fitted(name, name_columns) + " " + state + fitted(a, 7, true) + " " + a_line +
             " " + fitted(b, 7, true) + " " + b_line + " " + fitted(age, 7, true) + " " +
             fitted(fill, 5, true);
    };
    lines.push_back(fitted(row(" ", "NAME", fitted("STATE", 13), "M2S/s", "        ", "S2M/s",
                               "        ", "NEWEST", "QUEUE"),
                           size.columns));
    const size_t room = size.rows > 4 ? size.rows - 3 : 1;
    if (selected_ < first_) first_ = selected_;
    if (selected_ >= first_ + room) first_ = selected_ - room + 1;
    for (size_t i = first_; i < links.size() && i < first_ + room; ++i) {
      const WatchedLink& link = *links[i];
      const History& history = history_.at(link.info().name);
      const bool is_narrow = size.columns < kFixed + kLeastName;
      const std::string state = fitted(link.verdict(), 13);
      const std::string line =
          row(i == selected_ ? ">" : " ", printable(link.info().name),
              is_narrow ? state : coloured(colour_of(link), state),
              rate_text(link.rate(ESHM_M2S)), sparkline(history.rates[0], 8),
              rate_text(link.rate(ESHM_S2M)), sparkline(history.rates[1], 8),
              newest_text(link.info()), fill_text(link.info()));
      lines.push_back(is_narrow ? fitted(line, size.columns) : line);
    }
    if (links.empty()) lines.push_back(fitted("there are no links", size.columns));
  }

  void add_detail(const WatchedLink& link, Size size, std::vector<std::string>& lines) const {
    const ESHMLinkInfo& info = link.info();
    const History& history = history_.at(info.name);
    const auto add = [&](const std::string& text) {
      // Long ones go on in further lines.
      for (std::string rest = text; !rest.empty();) {
        size_t at = 0;
        while (at < rest.size() && width_of(rest.substr(0, at + 1)) <= size.columns) ++at;
        while (at < rest.size() && at > 1 && (uint8_t(rest[at]) & 0xc0) == 0x80) --at;
        lines.push_back(fitted(rest.substr(0, std::max<size_t>(at, 1)), size.columns));
        rest.erase(0, std::max<size_t>(at, 1));
      }
    };
    lines.push_back("");
    add("link     " + printable(info.name));
    add("verdict  " + verdict_sentence(link, real_now_ns()));
    if (!link.is_segment()) return;
    add("master   " + peer_text(info.master, link.master()));
    add("slave    " + peer_text(info.slave, link.slave()));
    for (const ESHMDirection direction : {ESHM_M2S, ESHM_S2M}) {
      const ESHMLinkChannel& channel = direction == ESHM_M2S ? info.m2s : info.s2m;
      lines.push_back("");
      add(std::string(direction == ESHM_M2S ? "m2s      " : "s2m      ") +
          channel_text(info.name, channel, direction) + ", " + std::to_string(channel.written) +
          " written, " + std::to_string(channel.read) + " read, " +
          rate_text(link.rate(direction)) + "/s");
      lines.push_back(sparkline(history.rates[direction], size.columns));
    }
  }

  LinkSet set_;
  std::map<std::string, History> history_;
  std::string sort_, filter_, selected_name_;
  size_t selected_ = 0, first_ = 0;
  bool has_detail_ = false, is_typing_ = false, is_over_ = false;
};

}  // namespace

int run_top(const TopOptions& options) {
  Top top(options);
  if (!top.look()) return complain_last_error();
  const uint64_t interval_ns = uint64_t(options.interval_s * 1e9);
  uint64_t frames = 0;
  const auto is_last = [&] { return options.frames != 0 && ++frames >= options.frames; };
  if (options.batch || !is_terminal()) {
    do {
      pause_ns(interval_ns);
      if (must_stop()) break;
      if (!top.look()) return complain_last_error();
      top.print_batch();
    } while (!is_last());
    return kFine;
  }
  Screen screen;
  uint64_t next_ns = now_ns() + std::min<uint64_t>(interval_ns, 200'000'000);
  while (!must_stop() && !top.is_over()) {
    screen.show(top.lines(terminal_size()));
    const KeyPress press = screen.wait_key(next_ns);
    if (press.key != Key::kNone) top.press(press);
    if (now_ns() < next_ns) continue;
    if (!top.look()) return complain_last_error();
    next_ns = now_ns() + interval_ns;
    if (is_last()) break;
  }
  return kFine;
}

}  // namespace tool
