#pragma once
// The signals that a server is told by, from the moment it starts: a stop that is wanted at once must not wait
// until its store has been read.

#include <cstdint>
#include <memory>
#include <utility>

#include "base/result.h"

namespace quern {

enum class ServeWish : std::uint8_t { reload, stop };

/// Threads: one.
class ServeSignals {
 public:
  /// Blocks SIGTERM, SIGINT and SIGHUP in this thread, and so in those that it starts, and waits for them in
  /// a thread of its own from now to the end of the process. A second SIGTERM or SIGINT ends the process at
  /// once with code 1, whatever the others are at: what was acknowledged is on the disk, and the guard ends
  /// the runners. Errors: unavailable (no thread).
  static Result<ServeSignals> start();

  /// Waits for the next wish. Several reloads that came meanwhile are one; a stop comes before them.
  ServeWish next();

 private:
  struct Seen;
  explicit ServeSignals(std::shared_ptr<Seen> seen) : seen_(std::move(seen)) {}
  std::shared_ptr<Seen> seen_;
};

}  // namespace quern
