#pragma once
// Folds the write-ahead log into the main file without holding up commits.
//
// SQLite's own checkpoint runs inside a commit, which then takes tens of milliseconds. Here a thread
// copies the log while commits go on, and what they added, until little was left to copy; then the
// commit thread copies the few pages that came meanwhile, between two transactions, so that the log
// can begin anew. The log may so grow past `pages`, by what is committed meanwhile.
// Threads: after_commits() from the commit thread, the rest from the owner.

#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <thread>

#include "base/result.h"
#include "queue/local/journal.h"
#include "queue/local/sqlite.h"

namespace quern {

class Checkpointer {
 public:
  static Result<std::unique_ptr<Checkpointer>> open(const std::filesystem::path& file,
                                                    Journal& journal, std::size_t pages);
  ~Checkpointer() { stop(); }
  Checkpointer(const Checkpointer&) = delete;
  Checkpointer& operator=(const Checkpointer&) = delete;

  void start();
  void stop();  // idempotent
  /// Takes the next step if there is one. Call it when nobody waits for an answer.
  void after_commits();

 private:
  enum class Stage : std::uint8_t { idle, wanted, copied };

  Checkpointer(Connection connection, Journal& journal, std::size_t pages);
  void loop();
  Result<void> copy();
  /// Says once that checkpoints fail, and once that they work again.
  void note(const Result<void>& done);

  Connection connection_;  // of the thread
  Journal& journal_;
  std::size_t pages_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  Stage stage_ = Stage::idle;
  bool stopping_ = false;
  bool failing_ = false;
  std::thread thread_;
};

}  // namespace quern
