// SPDX-License-Identifier: MIT
#include "command_line.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "commands.h"
#include "eshm.h"
#include "run.h"
#include "text.h"

namespace tool {
namespace {

// The command's help ends with examples: what they do is learnt from them.
CLI::App* command(CLI::App& app, const char* name, const char* description, const char* examples) {
  CLI::App* const sub = app.add_subcommand(name, description);
  sub->footer(std::string("Examples:\n") + examples);
  return sub;
}

void take_name(CLI::App* sub, std::string& name) {
  sub->add_option("NAME", name, "The link, as `eshm ls` calls it")->required();
}

void take_role(CLI::App* sub, RoleOptions& link) {
  take_name(sub, link.name);
  sub->add_option("--role", link.role, "master, slave, or auto: master if there is none")
      ->check(CLI::IsMember({"master", "slave", "auto"}))
      ->capture_default_str();
  sub->add_flag("--queue", link.queue, "If it makes the link: both directions are queues");
  sub->add_option("--max-bytes", link.max_bytes, "If it makes the link: its largest message")
      ->check(CLI::Range(uint64_t(1), uint64_t(INT32_MAX)))
      ->capture_default_str();
}

CLI::Option* take_seconds(CLI::App* sub, const char* flag, double& seconds, const char* what) {
  constexpr double kLeast = 0.001, kMost = 86400;
  return sub->add_option(flag, seconds, what)->check(CLI::Range(kLeast, kMost));
}

// The commands whose options live as long as the line is parsed.
class Commands {
 public:
  explicit Commands(CLI::App& app) {
    CLI::App* sub = command(app, "ls", "Show every link of this host",
                            "  eshm ls                  a line for each link\n"
                            "  eshm ls --watch          again each second, with rates\n"
                            "  eshm ls --json | jq -r '.links[] | select(.orphan).name'");
    sub->add_flag("--json", ls_.json, "One JSON object (docs/TOOL.md has its members)");
    sub->add_flag("--names", ls_.names, "Only the names, a line each");
    sub->add_flag("--watch", ls_.watch, "Again and again, until Ctrl-C");
    take_seconds(sub, "--interval", ls_.interval_s, "Seconds between two looks of --watch");
    sub->add_option("--sample", ls_.sample_ms, "Milliseconds over which rates are measured")
        ->check(CLI::Range(0u, 60000u))
        ->capture_default_str();
    on(sub, [this] { return run_ls(ls_); });

    sub = command(app, "stat", "Show everything that is known of a link",
                  "  eshm stat cam0           exit code 1 if something is wrong with it\n"
                  "  eshm stat cam0 --look 3  how long has a hung process been silent?");
    take_name(sub, stat_.name);
    sub->add_flag("--json", stat_.json, "One JSON object (docs/TOOL.md has its members)");
    take_seconds(sub, "--look", stat_.look_s, "Seconds that it looks on");
    on(sub, [this] { return run_stat(stat_); });

    sub = command(app, "top", "Watch all links, full screen",
                  "  eshm top                 arrows select, Enter shows more, q ends\n"
                  "  eshm top --batch -n 3    three plain looks, for a log");
    sub->add_flag("--batch", top_.batch, "Plain lines instead of a screen");
    take_seconds(sub, "--interval", top_.interval_s, "Seconds between two looks");
    sub->add_option("-n", top_.frames, "End after so many looks");
    sub->add_option("--sort", top_.sort, "name, rate, age or size")
        ->check(CLI::IsMember({"name", "rate", "age", "size"}))
        ->capture_default_str();
    sub->add_option("--filter", top_.filter, "Only links whose names hold this text");
    look_on(sub, [this] { return run_top(top_); });

    sub = command(app, "cat", "Print a link's messages as they come",
                  "  eshm cat cam0                     of the master, until Ctrl-C\n"
                  "  eshm cat cam0 --s2m -n 10 --json  ten of the slave\n"
                  "  eshm cat arm --field pose.x       one field of a typed channel\n"
                  "  eshm cat log --raw > log.bin      the bytes alone");
    take_name(sub, cat_.name);
    sub->add_flag("--s2m", cat_.s2m, "What the slave sends, instead of the master");
    sub->add_flag("--both", cat_.both, "Both directions");
    const auto form = [&](const char* flag, Form which, const char* what) {
      return sub->add_flag_callback(flag, [this, which] { cat_.form = which; }, what);
    };
    CLI::Option* const json = form("--json", Form::kJson, "A JSON object a message");
    CLI::Option* const hex = form("--hex", Form::kHex, "Bytes in hexadecimal");
    CLI::Option* const raw = form("--raw", Form::kRaw, "Bytes as they are, and nothing else");
    CLI::Option* const text = form("--text", Form::kText, "As text");
    json->excludes(hex)->excludes(raw)->excludes(text);
    hex->excludes(raw)->excludes(text);
    raw->excludes(text);
    sub->add_option("-n", cat_.count, "End after so many messages");
    sub->add_flag("-f,--follow", cat_.follow, "Wait for the link, and for its next processes");
    sub->add_option("--field", cat_.fields, "Only this field of a typed channel: pose.x, a[2]")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    look_on(sub, [this] { return run_cat(cat_); });

    sub = command(app, "plot", "Plot fields of a typed link in the terminal",
                  "  eshm plot arm pose.x pose.y\n"
                  "  eshm plot arm pose.x --span 60    the last minute");
    take_name(sub, plot_.name);
    sub->add_option("FIELD", plot_.fields, "Fields that are numbers: pose.x, a[2]")->required();
    sub->add_flag("--s2m", plot_.s2m, "What the slave sends, instead of the master");
    take_seconds(sub, "--span", plot_.span_s, "Seconds from the left to the right edge");
    sub->add_option("-n", plot_.frames, "End after so many pictures");
    look_on(sub, [this] { return run_plot(plot_); });

    sub = command(app, "hz", "Measure a link's rate and jitter, both directions",
                  "  eshm hz cam0             until Ctrl-C, then a histogram\n"
                  "  eshm hz cam0 --for 5 --json");
    take_name(sub, hz_.name);
    take_seconds(sub, "--for", hz_.for_s, "End after so many seconds");
    sub->add_flag("--json", hz_.json, "One JSON object at the end");
    look_on(sub, [this] { return run_hz(hz_); });

    sub = command(app, "send", "Send lines, files or JSON objects to a link",
                  "  echo hello | eshm send cam0           each line is a message\n"
                  "  eshm send cam0 --whole picture.bin    the file is one message\n"
                  "  echo '{\"x\":1.5}' | eshm send arm --json  by the link's own type\n"
                  "  eshm send arm --type 'P{x:f64@0}8' --json --rate 100 values.json");
    take_role(sub, send_.link);
    sub->add_option("FILE", send_.file, "What to send; - is the standard input")
        ->capture_default_str();
    sub->add_option("--rate", send_.rate_hz, "Messages a second; without it as fast as it goes")
        ->check(CLI::Range(1e-6, 1e7));
    sub->add_option("--type", send_.type, "Type text of the messages");
    sub->add_flag("--json", send_.json, "Each line is a JSON object, encoded by the type");
    sub->add_flag("--whole", send_.whole, "The whole file is one message");
    sub->add_option("--repeat", send_.repeat, "Send a file so often; 0: until Ctrl-C")
        ->capture_default_str();
    sub->add_option("--wait", send_.wait_s, "Seconds to wait for the other side, and for its reading")
        ->check(CLI::Range(0.0, 86400.0))
        ->capture_default_str();
    on(sub, [this] { return run_send(send_); });

    sub = command(app, "echo", "Send each message back",
                  "  eshm echo try            then, elsewhere: eshm ping try");
    take_role(sub, echo_.link);
    sub->add_option("-n", echo_.count, "End after so many messages");
    on(sub, [this] { return run_echo(echo_); });

    sub = command(app, "ping", "Measure round trips against `eshm echo`",
                  "  eshm echo try & eshm ping try -n 100\n"
                  "  eshm ping try --interval 0.001 --bytes 1000");
    take_role(sub, ping_.link);
    sub->add_option("-n", ping_.count, "End after so many round trips");
    sub->add_option("--interval", ping_.interval_s, "Seconds between two")
        ->check(CLI::Range(0.0, 3600.0))
        ->capture_default_str();
    sub->add_option("--bytes", ping_.bytes, "Bytes of a message")
        ->check(CLI::Range(uint64_t(8), uint64_t(INT32_MAX)))
        ->capture_default_str();
    sub->add_option("--wait", ping_.wait_s, "Seconds to wait for the other side")
        ->check(CLI::Range(0.0, 86400.0))
        ->capture_default_str();
    sub->add_flag("--json", ping_.json, "One JSON object at the end");
    on(sub, [this] { return run_ping(ping_); });

    sub = command(app, "rm", "Remove links that no process uses",
                  "  eshm rm cam0\n"
                  "  eshm rm --force cam0     also if it is in use; says what that breaks");
    sub->add_option("NAME", rm_.names, "The links")->required();
    sub->add_flag("--force", rm_.force, "Also what is in use, or is no link at all");
    on(sub, [this] { return run_rm(rm_); });

    sub = command(app, "clean", "Remove all links that no process uses",
                  "  eshm clean --dry-run     only shows them\n"
                  "  eshm clean\n"
                  "  eshm clean 'cam*'        those whose names fit a pattern");
    sub->add_option("PATTERN", clean_.patterns, "Only names that fit one, as in a shell");
    sub->add_flag("--dry-run", clean_.dry_run, "Only show what would be removed");
    on(sub, [this] { return run_clean(clean_); });

    sub = command(app, "doctor", "Check what this host gives to links",
                  "  eshm doctor              exit code 1 if something should be changed\n"
                  "  eshm doctor cam0         also why this process cannot use a link");
    sub->add_option("NAME", doctor_.name, "A link");
    sub->add_flag("--json", doctor_.json, "One JSON object");
    on(sub, [this] { return run_doctor(doctor_); });

    sub = command(app, "bench", "Measure what links achieve on this host",
                  "  eshm bench               ten seconds\n"
                  "  eshm bench --for 2 --json");
    take_seconds(sub, "--for", bench_.for_s, "Seconds, in all")->capture_default_str();
    sub->add_flag("--json", bench_.json, "One JSON object");
    on(sub, [this] { return run_bench(bench_); });

    sub = command(app, "metrics", "Print all counters for Prometheus, or serve them",
                  "  eshm metrics > /var/lib/node_exporter/eshm.prom\n"
                  "  eshm metrics --listen 9090            http://127.0.0.1:9090/metrics");
    sub->add_option("--listen", metrics_.listen, "PORT or ADDRESS:PORT; without ADDRESS loopback");
    look_on(sub, [this] { return run_metrics(metrics_); });

    sub = command(app, "version", "Show the library, its layout and the kernel's features",
                  "  eshm version");
    sub->add_flag("--json", version_.json, "One JSON object");
    on(sub, [this] { return run_version(version_); });
  }

  int run() const { return chosen_ ? chosen_() : int(kUsage); }

 private:
  void on(CLI::App* sub, std::function<int()> run) {
    sub->final_callback([this, run] { chosen_ = run; });
  }

  void look_on(CLI::App* sub, std::function<int()> run) {
    on(sub, [run] {
      step_back();
      return run();
    });
  }

  LsOptions ls_;
  StatOptions stat_;
  TopOptions top_;
  CatOptions cat_;
  PlotOptions plot_;
  HzOptions hz_;
  SendOptions send_;
  EchoOptions echo_;
  PingOptions ping_;
  RmOptions rm_;
  CleanOptions clean_;
  DoctorOptions doctor_;
  BenchOptions bench_;
  MetricsOptions metrics_;
  VersionOptions version_;
  std::function<int()> chosen_;
};

// Letters that must be changed, added or removed to make one word of the other.
size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

bool is_known(const CLI::App& app, const std::string& name) {
  const std::vector<const CLI::App*> all = app.get_subcommands({});
  return std::any_of(all.begin(), all.end(),
                     [&](const CLI::App* sub) { return sub->get_name() == name; });
}

int run_external(const CLI::App& app, char** arguments) {
  const std::string name = arguments[0], program = "eshm-" + name;
  if (name.find('/') == std::string::npos) {
    execvp(program.c_str(), arguments);
    if (errno != ENOENT) {
      complain(program + " cannot be run: " + std::strerror(errno));
      return kUsage;
    }
  }
  std::string hint = "`eshm --help` lists the commands";
  size_t least = std::min<size_t>(3, name.size() / 2 + 1);
  for (const CLI::App* sub : app.get_subcommands({})) {
    const size_t letters = distance(name, sub->get_name());
    if (letters >= least) continue;
    least = letters;
    hint = "did you mean `eshm " + sub->get_name() + "`?";
  }
  complain("there is no command '" + name + "', and no " + program + " on the PATH; " + hint);
  return kUsage;
}

}  // namespace

int run_command_line(int count, char** arguments) {
  CLI::App app("See, try and clean the shared memory links of this host.", "eshm");
  app.require_subcommand(0, 1);
  app.set_version_flag("--version", std::string("eshm ") + eshm_version());
  app.footer(
      "Most used:\n"
      "  eshm ls                  which links are there, and who uses them?\n"
      "  eshm stat NAME           what is wrong with this one?\n"
      "  eshm cat NAME            what does it carry?\n"
      "  eshm clean               remove what dead processes left\n"
      "`eshm COMMAND --help` shows a command's options and examples. A COMMAND that is not\n"
      "listed runs eshm-COMMAND from the PATH.\n"
      "Exit codes: 0 fine, 1 a finding or not there, 2 wrong usage.");
  Commands commands(app);
  const bool names_command = count > 1 && arguments[1][0] != '-';
  if (names_command && !is_known(app, arguments[1])) return run_external(app, arguments + 1);
  try {
    app.parse(count, arguments);
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    put(chosen.empty() ? app.help() : chosen[0]->help("eshm"));
    return kFine;
  } catch (const CLI::CallForVersion& call) {
    put(std::string(call.what()) + "\n");
    return kFine;
  } catch (const CLI::ParseError& error) {
    const auto chosen = app.get_subcommands();
    const std::string which = chosen.empty() ? "" : chosen[0]->get_name() + " ";
    complain(std::string(error.what()) + "; `eshm " + which + "--help` shows how");
    return kUsage;
  }
  if (app.get_subcommands().empty()) {
    put(app.help());
    return kUsage;
  }
  return commands.run();
}

}  // namespace tool
