#pragma once
// What all client verbs share: where the server is, the key, how to print, Ctrl-C.

#include <stop_token>
#include <string>
#include <string_view>

#include "cli/exit_code.h"
#include "quern/client.h"

namespace quern {

/// Flags that every client verb has.
struct SessionFlags {
  std::string url;  // empty: QUERN_URL, else http://127.0.0.1:8080
  std::string key;  // empty: QUERN_KEY, else the first key that `quern serve` made in ./quern-data
  bool json = false;   // print the server's JSON, for scripts
  bool quiet = false;  // no progress
};

ClientOptions client_options(const SessionFlags& flags);

/// Prints the fault to stderr (with --json: the server's body to stdout, if there is one); returns
/// the exit code.
ExitCode report(const SessionFlags& flags, const ClientError& error);

/// To stdout, whose failures end_output() tells.
void print_text(std::string_view text);
/// One line to stdout.
void print_line(std::string_view text);
/// The server's JSON as it is, or indented on a terminal.
void print_json(std::string_view body);

/// After all output: says on stderr that some could not be written, if so. Returns the code to end
/// with: `code`, and `usage` instead of `done`. A closed pipe is no failure.
ExitCode end_output(ExitCode code);

/// Triggered by SIGINT and SIGTERM from the first call on.
std::stop_token interrupt_token();

}  // namespace quern
