// SPDX-License-Identifier: MIT
// eshm doctor: what this host gives to links, and what to do where it is too little.
#include <glob.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "commands.h"
#include "describe.h"
#include "host.h"
#include "links.h"
#include "observer.h"
#include "run.h"
#include "text.h"

namespace tool {
namespace {

enum class Level { kOk, kNote, kBad };

struct Finding {
  Level level;
  std::string topic;
  std::string text;
  std::string remedy;  // "" if there is nothing to do
};

class Report {
 public:
  void ok(const std::string& topic, const std::string& text) { add(Level::kOk, topic, text, ""); }
  void note(const std::string& topic, const std::string& text, const std::string& remedy) {
    add(Level::kNote, topic, text, remedy);
  }
  void bad(const std::string& topic, const std::string& text, const std::string& remedy) {
    add(Level::kBad, topic, text, remedy);
  }
  const std::vector<Finding>& findings() const { return findings_; }

 private:
  void add(Level level, const std::string& topic, const std::string& text,
           const std::string& remedy) {
    findings_.push_back({level, topic, text, remedy});
  }
  std::vector<Finding> findings_;
};

// The options of the mount at that path, or "".
std::string mount_options(const std::string& path) {
  std::ifstream mounts("/proc/self/mounts");
  std::string line, options;
  while (std::getline(mounts, line)) {
    std::istringstream fields(line);
    std::string device, where, kind, how;
    fields >> device >> where >> kind >> how;
    if (where == path) options = kind + " " + how;  // the last one covers the others
  }
  return options;
}

void check_memory(Report& report) {
  constexpr long kTmpfsMagic = 0x01021994;
  struct statfs kind;
  struct statvfs size;
  if (statfs("/dev/shm", &kind) != 0 || statvfs("/dev/shm", &size) != 0) {
    report.bad("/dev/shm", "it is not there", "mount a tmpfs at /dev/shm");
    return;
  }
  const uint64_t all = uint64_t(size.f_blocks) * size.f_frsize;
  const uint64_t free = uint64_t(size.f_bavail) * size.f_frsize;
  const std::string text = bytes_text(free) + " of " + bytes_text(all) + " free; " +
                           mount_options("/dev/shm");
  if (kind.f_type != kTmpfsMagic) {
    report.bad("/dev/shm", "it is no tmpfs", "mount a tmpfs at /dev/shm");
  } else if (access("/dev/shm", W_OK | X_OK) != 0) {
    report.bad("/dev/shm", "this user may not make files there", "chmod 1777 /dev/shm");
  } else if (all != 0 && free < all / 20) {
    report.bad("/dev/shm", text + ": it is nearly full",
               "`eshm clean` removes orphans; mount -o remount,size=... /dev/shm enlarges it");
  } else if (all != 0 && all <= (64u << 20)) {
    report.note("/dev/shm", text + ": small, as in a container by default",
                "docker run --shm-size=1g, or mount a memory volume there in Kubernetes");
  } else {
    report.ok("/dev/shm", text);
  }
  if (size.f_files != 0 && size.f_favail < 100) {
    report.bad("/dev/shm files", "few more files can be made",
               "mount -o remount,nr_inodes=... /dev/shm");
  }
}

std::string limit_text(rlim_t value, bool is_bytes) {
  if (value == RLIM_INFINITY) return "unlimited";
  return is_bytes ? bytes_text(value) : std::to_string(value);
}

void check_limits(Report& report) {
  rlimit limit;
  if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
    const std::string text = limit_text(limit.rlim_cur, true) + " may be locked";
    if (limit.rlim_cur < (1u << 20) && geteuid() != 0) {
      report.note("RLIMIT_MEMLOCK", text,
                  "ESHM_FLAG_LOCK_MEMORY needs as much as the link: ulimit -l, or memlock in "
                  "/etc/security/limits.conf, or LimitMEMLOCK= of a service");
    } else {
      report.ok("RLIMIT_MEMLOCK", text);
    }
  }
  if (getrlimit(RLIMIT_RTPRIO, &limit) == 0) {
    const bool may = limit.rlim_cur > 0 || geteuid() == 0;
    const std::string text = "priorities up to " + limit_text(limit.rlim_cur, false);
    if (may) {
      report.ok("RLIMIT_RTPRIO", text);
    } else {
      report.note("RLIMIT_RTPRIO", "no real-time priorities",
                  "for thread_policy SCHED_FIFO: rtprio in /etc/security/limits.conf, or "
                  "LimitRTPRIO= of a service");
    }
  }
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    const std::string text = limit_text(limit.rlim_cur, false) + " descriptors; a link takes one to five";
    if (limit.rlim_cur < 256) {
      report.note("RLIMIT_NOFILE", text, "ulimit -n, or LimitNOFILE= of a service");
    } else {
      report.ok("RLIMIT_NOFILE", text);
    }
  }
}

// systemd-logind removes a user's files in /dev/shm at the end of the last session.
void check_remove_ipc(Report& report) {
  struct stat meta;
  if (stat("/run/systemd/seats", &meta) != 0) {
    report.ok("RemoveIPC", "systemd-logind does not run here");
    return;
  }
  std::string value = "yes";  // its default
  glob_t files;
  const bool has_parts = glob("/etc/systemd/logind.conf.d/*.conf", 0, nullptr, &files) == 0;
  std::vector<std::string> paths = {"/etc/systemd/logind.conf"};
  for (size_t i = 0; has_parts && i < files.gl_pathc; ++i) paths.push_back(files.gl_pathv[i]);
  if (has_parts) globfree(&files);
  for (const std::string& path : paths) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      if (line.compare(0, 10, "RemoveIPC=") == 0) value = line.substr(10);
    }
  }
  constexpr uid_t kFirstOrdinaryUser = 1000;
  const bool is_off = value == "no" || value == "false" || value == "off" || value == "0";
  if (is_off || geteuid() < kFirstOrdinaryUser) {
    report.ok("RemoveIPC", is_off ? "off" : "on; system users are exempt");
  } else {
    report.bad("RemoveIPC", "on: at this user's last logout its links lose their names",
               "RemoveIPC=no in /etc/systemd/logind.conf, loginctl enable-linger, or a system user");
  }
}

uint64_t inode_of(const std::string& path) {
  struct stat meta;
  return stat(path.c_str(), &meta) == 0 ? meta.st_ino : 0;
}

void check_namespaces(Report& report) {
  constexpr uint64_t kFirstPid = 0xEFFFFFFC, kFirstIpc = 0xEFFFFFFF;  // of the host, always
  const bool own_pids = inode_of("/proc/self/ns/pid") != kFirstPid;
  const bool own_ipc = inode_of("/proc/self/ns/ipc") != kFirstIpc;
  if (own_pids) {
    report.note("PID namespace", "not the host's: ends of peers outside are seen within 10 ms",
                "share it to see them at once: docker run --pid=host, hostPID in Kubernetes");
  } else {
    report.ok("PID namespace", "the host's");
  }
  if (own_ipc) {
    report.note("IPC namespace", "not the host's: links meet only within this one",
                "to share /dev/shm: docker run --ipc=host, or --ipc=container:NAME");
  } else {
    report.ok("IPC namespace", "the host's");
  }
}

void check_kernel(Report& report) {
  for (const Feature& feature : kernel_features()) {
    if (feature.is_there) {
      report.ok(feature.name, feature.use);
      continue;
    }
    const std::string name = feature.name;
    const bool is_needed = name == "O_TMPFILE" || name == "OFD locks";
    is_needed ? report.bad(name, "missing", feature.without)
              : report.note(name, "missing", feature.without);
  }
}

void check_time(Report& report) {
  const std::string clock =
      first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  if (clock == "tsc" || clock == "kvm-clock" || clock == "hyperv_clocksource_tsc_page" ||
      clock == "arch_sys_counter") {
    report.ok("clock source", clock);
  } else if (!clock.empty()) {
    report.note("clock source", clock + ": reading the time may need a system call",
                "clocksource=tsc on the kernel's command line, if the processor's is stable");
  }
  const std::string governor =
      first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  if (governor == "performance" || governor.empty()) {
    report.ok("governor", governor.empty() ? "the processor's clock is not this system's to set"
                                           : governor);
  } else {
    report.note("governor", governor + ": a processor that slept is slow at first",
                "for low latency: cpupower frequency-set -g performance");
  }
  const std::string isolated = first_line("/sys/devices/system/cpu/isolated");
  report.ok("isolated CPUs", isolated.empty() ? "none" : isolated + " (thread_cpus names them)");
  const std::string runtime = first_line("/proc/sys/kernel/sched_rt_runtime_us");
  if (runtime == "-1" || runtime.empty()) {
    report.ok("real-time throttling", runtime.empty() ? "unknown" : "off");
  } else {
    report.note("real-time throttling",
                "on: real-time threads get " + runtime + " of " +
                    first_line("/proc/sys/kernel/sched_rt_period_us") + " us",
                "a thread that spins with SCHED_FIFO is stopped for the rest; "
                "sysctl kernel.sched_rt_runtime_us=-1 ends that");
  }
}

void check_orphans(Report& report) {
  std::vector<ESHMLinkInfo> links;
  if (!list_links(links)) {
    report.bad("links", eshm_last_error(nullptr), "");
    return;
  }
  uint64_t orphans = 0, bytes = 0;
  for (const ESHMLinkInfo& info : links) {
    if (!WatchedLink(info).is_orphan()) continue;
    ++orphans;
    bytes += info.segment_bytes;
  }
  const std::string text = std::to_string(links.size()) + ", of which " + std::to_string(orphans) +
                           " orphans with " + bytes_text(bytes) + " bytes";
  orphans == 0 ? report.ok("links", text) : report.note("links", text, "`eshm clean` removes them");
}

void check_link(Report& report, const std::string& name) {
  const WatchedLink link = watch_links({inspect(name)}, 10'000'000)[0];
  const std::string topic = "link";
  const std::string sentence = verdict_sentence(link, real_now_ns());
  if (link.is_well()) {
    report.ok(topic, sentence);
  } else {
    report.bad(topic, sentence, "`eshm stat " + printable(name) + "` shows more");
  }
  Observer observer;
  if (!observer.open(name)) {
    report.bad("looking on", eshm_last_error(nullptr), "");
  } else {
    report.ok("looking on", "this process can");
  }
  const ESHMLinkInfo& info = link.info();
  if (info.state != ESHM_LINK_FINE && info.state != ESHM_LINK_SUPERSEDED) return;
  if (info.uid != geteuid()) {
    report.note("owner", "it belongs to " + printable(user_name(info.uid)),
                "both ends need ESHMConfig.permissions of 0660 or 0666; or run as its owner");
  }
  for (const bool is_master : {true, false}) {
    const ESHMLinkPeer& peer = is_master ? info.master : info.slave;
    const std::string role = is_master ? "as master" : "as slave";
    if (peer.holds_role) {
      report.note(role, "the role is held by PID " + std::to_string(peer.pid),
                  "another process gets it when that one ends");
    } else if (!is_master && !info.master.holds_role) {
      report.note(role, "there is no master to attach to", "start the master, or wait for it");
    } else {
      report.ok(role, "the role is free");
    }
  }
}

const char* level_text(Level level) {
  switch (level) {
    case Level::kOk:
      return "ok";
    case Level::kNote:
      return "note";
    case Level::kBad:
      break;
  }
  return "BAD";
}

}  // namespace

int run_doctor(const DoctorOptions& options) {
  Report report;
  if (!options.name.empty()) check_link(report, options.name);
  check_memory(report);
  check_limits(report);
  check_remove_ipc(report);
  check_namespaces(report);
  check_kernel(report);
  check_time(report);
  check_orphans(report);
  const std::vector<Finding>& findings = report.findings();
  const bool has_bad = std::any_of(findings.begin(), findings.end(), [](const Finding& finding) {
    return finding.level == Level::kBad;
  });
  if (options.json) {
    JsonWriter out;
    out.begin_object().member("schema", "eshm.doctor/1").key("findings").begin_array();
    for (const Finding& finding : findings) {
      out.begin_object().member("level", finding.level == Level::kBad ? "bad" : level_text(finding.level));
      out.member("topic", finding.topic).member("text", finding.text).key("remedy");
      finding.remedy.empty() ? out.null() : out.value(finding.remedy);
      out.end_object();
    }
    put(out.end_array().end_object().text() + "\n");
    return has_bad ? kFinding : kFine;
  }
  for (const Finding& finding : findings) {
    const char* const colour = finding.level == Level::kBad    ? kRed
                               : finding.level == Level::kNote ? kYellow
                                                               : kGreen;
    put(coloured(colour, fitted(level_text(finding.level), 5)) + fitted(finding.topic, 21) + " " +
        printable(finding.text) + "\n");
    if (!finding.remedy.empty()) put(std::string(27, ' ') + "-> " + printable(finding.remedy) + "\n");
  }
  return has_bad ? kFinding : kFine;
}

}  // namespace tool
