#pragma once
// What a verb's end tells a script.

#include "quern/client.h"

namespace quern {

enum class ExitCode : int {
  done = 0,
  task_failed = 1,
  usage = 2,
  refused = 3,
  unreachable = 4,
  interrupted = 130
};

constexpr ExitCode exit_code_of(ClientFault fault) {
  switch (fault) {
    case ClientFault::usage:
      return ExitCode::usage;
    case ClientFault::refused:
    case ClientFault::not_found:
      return ExitCode::refused;
    case ClientFault::failed:
      return ExitCode::task_failed;
    case ClientFault::unreachable:
      return ExitCode::unreachable;
    case ClientFault::stopped:
      return ExitCode::interrupted;
  }
  return ExitCode::unreachable;
}

}  // namespace quern
