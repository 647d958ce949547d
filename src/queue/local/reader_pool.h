#pragma once
// A few threads that read the store for callers who must not wait for a disk.
//
// Limits: kReadsWaitingMax reads wait; more are refused. Threads: any.

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "queue/local/journal_reader.h"

namespace quern {

inline constexpr std::size_t kReadsWaitingMax = 10'000;

class ReaderPool {
 public:
  /// Gets an error instead of a reader when the pool is stopped or has too much to do.
  using Read = std::move_only_function<void(Result<JournalReader*>)>;

  explicit ReaderPool(std::vector<std::unique_ptr<JournalReader>> readers);
  ~ReaderPool() { stop(); }

  void start();
  /// Does what waits, then returns. Idempotent.
  void stop();
  void post(Read read);

 private:
  void loop(JournalReader& reader);

  std::vector<std::unique_ptr<JournalReader>> readers_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::deque<Read> waiting_;
  std::vector<std::thread> threads_;
  bool stopping_ = false;
};

}  // namespace quern
