#include "cli/session.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <system_error>
#include <thread>

#include "base/json.h"
#include "cli/table.h"
#include "client/answer_depth.h"

namespace quern {
namespace {

constexpr const char* kDefaultUrl = "http://127.0.0.1:8080";
constexpr const char* kFirstKeyFile = "quern-data/first-key";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string read_first_key() {
  std::ifstream file(kFirstKeyFile);
  std::string key;
  std::getline(file, key);
  return key;
}

// Why standard output could not be written first; 0: it could.
int output_error = 0;

void note_output(bool written) {
  if (!written && output_error == 0) output_error = errno != 0 ? errno : EIO;
}

void indent(std::string& out, const json::value& value, std::size_t depth);

template <typename Items, typename Each>
void indent_items(std::string& out, const Items& items, char open, char close, std::size_t depth,
                  Each each) {
  out += open;
  bool first = true;
  for (const auto& item : items) {
    if (!first) out += ',';
    first = false;
    out += '\n';
    out.append(2 * (depth + 1), ' ');
    each(item);
  }
  if (!first) {
    out += '\n';
    out.append(2 * depth, ' ');
  }
  out += close;
}

void indent(std::string& out, const json::value& value, std::size_t depth) {
  if (value.is_object()) {
    indent_items(out, value.get_object(), '{', '}', depth, [&](const auto& member) {
      append_json_string(out, member.key());
      out += ": ";
      indent(out, member.value(), depth + 1);
    });
  } else if (value.is_array()) {
    indent_items(out, value.get_array(), '[', ']', depth,
                 [&](const auto& item) { indent(out, item, depth + 1); });
  } else {
    out += to_json(value);
  }
}

}  // namespace

ClientOptions client_options(const SessionFlags& flags) {
  ClientOptions options;
  options.url = !flags.url.empty() ? flags.url : environment("QUERN_URL");
  if (options.url.empty()) options.url = kDefaultUrl;
  options.key = !flags.key.empty() ? flags.key : environment("QUERN_KEY");
  if (options.key.empty()) options.key = read_first_key();
  options.user_agent = "quern-cli";
  return options;
}

ExitCode report(const SessionFlags& flags, const ClientError& error) {
  if (flags.json && !error.detail.empty()) print_json(error.detail);
  std::fprintf(stderr, "quern: %s\n", one_line(error.message).c_str());
  if (error.http_status == 401) {
    std::fputs("quern: give the key by --key or in the environment variable QUERN_KEY\n", stderr);
  }
  return exit_code_of(error.fault);
}

void print_text(std::string_view text) {
  note_output(std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
              std::fflush(stdout) == 0);
}

void print_line(std::string_view text) { print_text(std::string(text) + '\n'); }

ExitCode end_output(ExitCode code) {
  note_output(std::fflush(stdout) == 0 && std::ferror(stdout) == 0);
  // Who closed the pipe has read what was wanted.
  if (output_error == 0 || output_error == EPIPE) return code;
  std::fprintf(stderr, "quern: cannot write the output: %s\n",
               std::generic_category().message(output_error).c_str());
  return code == ExitCode::done ? ExitCode::usage : code;
}

void print_json(std::string_view body) {
  Result<json::value> parsed = ::isatty(STDOUT_FILENO) == 1 ? parse_json(body, kAnswerDepthMax)
                                                            : fail(ErrorCode::invalid_argument, "");
  if (!parsed) return print_line(body);
  std::string text;
  indent(text, *parsed, 0);
  print_line(text);
}

std::stop_token interrupt_token() {
  // Signals are waited for by a thread: what a handler may do is too little to stop anything
  // properly.
  static std::stop_source source = [] {
    std::stop_source stop;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::thread([signals, stop]() mutable {
      int signal = 0;
      sigwait(&signals, &signal);
      stop.request_stop();
      sigwait(&signals, &signal);  // a second one does not wait for anything
      std::_Exit(static_cast<int>(ExitCode::interrupted));
    }).detach();
    return stop;
  }();
  return source.get_token();
}

}  // namespace quern
