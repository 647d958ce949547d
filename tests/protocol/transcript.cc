#include "transcript.h"

#include <cctype>
#include <fstream>
#include <regex>
#include <stdexcept>

namespace quern::protocol {
namespace {

// Parts are two or more spaces apart. A part that looks like a header is one until the body begins.
std::vector<std::string> split_parts(const std::string& text) {
  std::vector<std::string> parts;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find("  ", at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = text.find_first_not_of(' ', end);
    if (at == std::string::npos) break;
    if (text[at] == '{' || text[at] == '[') {  // the body: it may hold spaces of its own
      parts.push_back(text.substr(at));
      break;
    }
  }
  return parts;
}

std::string unescape(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[++i];
    if (c == 'x' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
      i += 2;
    } else {
      out += c == 't' ? '\t' : c == 'r' ? '\r' : c == 'n' ? '\n' : c == '0' ? '\0' : c;
    }
  }
  return out;
}

const std::regex kHeader("([A-Za-z][A-Za-z0-9-]*): ?(.*)");

Request read_request(const std::string& text, Request::Mode mode) {
  Request request;
  request.mode = mode;
  if (mode == Request::Mode::raw) {
    request.body = unescape(text);
    return request;
  }
  const std::vector<std::string> parts = split_parts(text);
  const std::size_t space = parts.at(0).find(' ');
  if (space == std::string::npos) throw std::runtime_error("expected METHOD /path");
  request.method = parts[0].substr(0, space);
  request.target = parts[0].substr(space + 1);
  for (std::size_t i = 1; i < parts.size(); ++i) {
    std::smatch header;
    if (std::regex_match(parts[i], header, kHeader))
      request.headers.emplace_back(header[1], header[2]);
    else
      request.body = parts[i].starts_with('\'') ? unescape(parts[i].substr(1)) : parts[i];
  }
  return request;
}

void read_body_pattern(Expectation& expectation, const std::string& text) {
  if (text.starts_with('=')) {
    expectation.has_exact = true;
    expectation.exact = text.substr(1);
  } else if (text.starts_with('~')) {
    expectation.texts.push_back(text.substr(1));
  } else {
    expectation.json = text;
  }
}

Expectation read_expectation(const std::string& text, bool of_earlier) {
  Expectation expectation;
  expectation.of_earlier = of_earlier;
  expectation.status = std::stoi(text.substr(0, 3));
  const std::size_t body = text.find_first_of("{[=~", 3);
  std::string reason = text.substr(3, body == std::string::npos ? body : body - 3);
  while (!reason.empty() && reason.front() == ' ') reason.erase(0, 1);
  while (!reason.empty() && reason.back() == ' ') reason.pop_back();
  expectation.reason = reason;
  if (body != std::string::npos) read_body_pattern(expectation, text.substr(body));
  return expectation;
}

void read_continuation(std::vector<Step>& steps, const std::string& text) {
  if (steps.empty() || steps.back().kind != Step::Kind::expectation)
    throw std::runtime_error("an indented line belongs to an answer");
  Expectation& expectation = steps.back().expectation;
  std::smatch header;
  if (text.starts_with('~'))
    expectation.texts.push_back(text.substr(1));
  else if (std::regex_match(text, header, kHeader))
    expectation.headers.emplace_back(header[1], header[2]);
  else
    throw std::runtime_error("expected ~text or Name: value");
}

void read_line(std::vector<Step>& steps, const std::string& line, int number) {
  if (line.empty() || line.starts_with('#')) return;
  const auto after = [&](std::size_t n) { return line.substr(std::min(n, line.size())); };
  const auto add_request = [&](std::size_t skip, Request::Mode mode) {
    steps.push_back({Step::Kind::request, number, read_request(after(skip), mode), {}, {}});
  };
  if (line.starts_with("  ")) return read_continuation(steps, after(2));
  if (line.starts_with(">raw ")) return add_request(5, Request::Mode::raw);
  if (line.starts_with(">> ")) return add_request(3, Request::Mode::until_it_fits);
  if (line.starts_with(">& ")) return add_request(3, Request::Mode::answer_later);
  if (line.starts_with("> ")) return add_request(2, Request::Mode::once);
  if (line.starts_with("<& "))
    return steps.push_back(
        {Step::Kind::expectation, number, {}, read_expectation(after(3), true), {}});
  if (line.starts_with("< "))
    return steps.push_back(
        {Step::Kind::expectation, number, {}, read_expectation(after(2), false), {}});
  if (line.starts_with("@ ")) return steps.push_back({Step::Kind::key, number, {}, {}, after(2)});
  if (line.starts_with("! ")) return steps.push_back({Step::Kind::act, number, {}, {}, after(2)});
  throw std::runtime_error("a line begins with # @ > >> >& >raw < <& or !");
}

}  // namespace

std::vector<Step> read_transcript(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) throw std::runtime_error("cannot read " + file.string());
  std::vector<Step> steps;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    try {
      read_line(steps, line, number);
    } catch (const std::exception& e) {
      throw std::runtime_error(file.filename().string() + ":" + std::to_string(number) + ": " +
                               e.what());
    }
  }
  return steps;
}

}  // namespace quern::protocol
