#pragma once
// The verbs of `quern`. Exit codes: 0 done, 1 the task failed, 2 usage (and what cannot be read
// or written here), 3 refused, 4 unreachable, 130 interrupted.

#include <functional>
#include <string>

namespace quern {

/// `quern serve`'s flags; empty: not given.
struct ServeFlags {
  std::string config;
  std::string listen;
  std::string data;
  bool settings = false;  // print what a configuration may say, and end
};

/// Reads the command line and runs one verb; returns the exit code. `serve` runs the server and
/// returns its code.
int run_cli(int argc, char** argv, const std::function<int(const ServeFlags&)>& serve);

}  // namespace quern
