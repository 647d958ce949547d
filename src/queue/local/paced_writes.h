#pragma once
// What one thread writes through SQLite, sent to the disk bit by bit between the commits of another.

namespace quern {

/// While it lives, what SQLite writes on this thread goes to the disk every 64 KiB, and the thread
/// waits for that, and as long again. Without it all goes at the next sync of the file, some
/// megabytes, and every commit to the redo log meanwhile waits for it. What SQLite promises is as it
/// was: what does not reach the disk fails a write of the transaction or checkpoint that is under
/// way. Where a file system does not know of it, nothing is paced.
///
/// Threads: that which makes it; one at a time on each.
class PacedWrites {
 public:
  PacedWrites();
  ~PacedWrites();
  PacedWrites(const PacedWrites&) = delete;
  PacedWrites& operator=(const PacedWrites&) = delete;
};

/// Makes SQLite write by the function that does the above. Once, before the first connection.
void hook_paced_writes();

}  // namespace quern
