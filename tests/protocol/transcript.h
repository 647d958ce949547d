#pragma once
// A transcript file, read into steps; see README.md.

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace quern::protocol {

struct Request {
  enum class Mode { once, until_it_fits, answer_later, raw } mode = Mode::once;
  std::string method;
  std::string target;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;  // raw: all bytes
};

struct Expectation {
  int status = 0;
  std::string reason;  // empty: any
  std::string json;    // pattern; empty: none
  bool has_exact = false;
  std::string exact;
  std::vector<std::string> texts;  // that the body holds
  std::vector<std::pair<std::string, std::string>> headers;
  bool of_earlier = false;  // of the oldest request whose answer was left for later
};

struct Step {
  enum class Kind { request, expectation, key, act } kind;
  int line = 0;
  Request request;
  Expectation expectation;
  std::string word;  // key: its name; act: the command
};

/// Throws std::runtime_error with the line of what it cannot read.
std::vector<Step> read_transcript(const std::filesystem::path& file);

}  // namespace quern::protocol
