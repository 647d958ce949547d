#pragma once
// `quern serve`: reads the configuration, runs the server until a signal ends it.

#include <string>

namespace quern {

struct ServeOptions {
  std::string config;     // empty: the example models, a key of their own, data in ./quern-data
  std::string listen;     // empty: as configured
  std::string data;       // empty: as configured
  bool settings = false;  // only print what a configuration may say
};

/// SIGTERM and SIGINT drain and stop once it serves (a second one stops at once, at the start too), SIGHUP reads
/// the configuration again. Returns the exit code: 0 stopped, 2 broken configuration, 1 anything else that kept it
/// from running. Output that cannot be written is the caller's to find, in ferror(stdout).
int serve(const ServeOptions& options);

}  // namespace quern
