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

/// One line to stdout.
void print_line(std::string_view text);
/// The server's JSON as it is, or indented on a terminal.
void print_json(std::string_view body);

/// Triggered by SIGINT and SIGTERM from the first call on.
std::stop_token interrupt_token();

}  // namespace quern
