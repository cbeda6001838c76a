// SPDX-License-Identifier: MIT
#include "explore/sites.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>

namespace explore {
namespace {

const std::vector<std::string>& lines_of(const std::string& file) {
  static std::map<std::string, std::vector<std::string>> known;
  auto [at, is_new] = known.try_emplace(file);
  if (is_new) {
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) at->second.push_back(line);
  }
  return at->second;
}

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string code_of(const std::string& line) { return trimmed(line.substr(0, line.find("//"))); }

std::string comment_of(const std::string& line) {
  const size_t at = line.find("//");
  return at == std::string::npos ? std::string() : trimmed(line.substr(at + 2));
}

bool ends_statement(const std::string& code) {
  return !code.empty() && std::strchr(";{}", code.back()) != nullptr;
}

// "W4 -> R1. The publication" gives W4; what is not capitals and a digit, AF but
// for it, is no label.
std::string label_in(const std::string& comment) {
  size_t end = 0;
  while (end < comment.size() && std::isalnum(static_cast<unsigned char>(comment[end]))) ++end;
  const std::string word = comment.substr(0, end);
  const bool is_label = word.size() >= 2 && word.size() <= 3 &&
                        std::isupper(static_cast<unsigned char>(word[0])) &&
                        (word == "AF" || std::isdigit(static_cast<unsigned char>(word.back())));
  return is_label ? word : std::string();
}

void add_label(Site& site, const std::string& comment) {
  const std::string label = label_in(comment);
  if (!label.empty()) site.labels.push_back(label);
}

// From the line of the call to the whole statement, and the comment before it.
void read_statement(Site& site) {
  const std::vector<std::string>& lines = lines_of(site.where.file);
  if (site.where.line > int(lines.size())) return;
  int first = site.where.line - 1;
  while (first > 0) {
    const std::string above = code_of(lines[first - 1]);
    if (above.empty() || ends_statement(above)) break;
    --first;
  }
  for (int line = first; line < int(lines.size()); ++line) {
    site.text += (site.text.empty() ? "" : " ") + code_of(lines[line]);
    add_label(site, comment_of(lines[line]));
    if (line >= site.where.line - 1 && ends_statement(code_of(lines[line]))) break;
  }
  int comment = first;
  while (comment > 0 && trimmed(lines[comment - 1]).compare(0, 2, "//") == 0) --comment;
  if (comment < first) add_label(site, comment_of(lines[comment]));
}

}  // namespace

Site site_at(const Where& where) {
  Site site;
  site.where = where;
  site.is_copy = std::strncmp(where.function, "copy_", 5) == 0;
  read_statement(site);
  return site;
}

bool Site::has_label(const std::string& label) const {
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}

bool Site::is_among(const Choice& choice) const {
  return (choice.label.empty() || has_label(choice.label)) &&
         (choice.function.empty() || choice.function == where.function) &&
         (choice.text.empty() || text.find(choice.text) != std::string::npos);
}

std::string Site::name() const {
  const char* const slash = std::strrchr(where.file, '/');
  std::string name = slash == nullptr ? where.file : slash + 1;
  name += ":" + std::to_string(where.line) + " " + where.function;
  for (const std::string& label : labels) name += " " + label;
  return name;
}

Site& Sites::at(const Where& where) {
  const size_t hash = (reinterpret_cast<uintptr_t>(where.file) >> 3) * 31 + size_t(where.line);
  for (size_t place = hash;; ++place) {
    Site*& known = known_[place % kPlaces];
    if (known == nullptr) {
      known = new Site(site_at(where));
      choose_change(*known);
      all_.push_back(known);
    }
    if (known->where.line == where.line && known->where.file == where.file) return *known;
  }
}

void Sites::choose_change(Site& site) const {
  site.change = nullptr;
  if (changes_ == nullptr) return;
  for (const Change& change : *changes_) {
    if (site.is_among(change.sites)) site.change = &change;
  }
}

void Sites::weaken(const std::vector<Change>& changes) {
  changes_ = &changes;
  for (Site* site : all_) choose_change(*site);
}

bool Sites::are_known(const std::vector<Change>& changes) const {
  return std::all_of(changes.begin(), changes.end(), [this](const Change& change) {
    return std::any_of(all_.begin(), all_.end(),
                       [&](const Site* site) { return site->is_among(change.sites); });
  });
}

}  // namespace explore
