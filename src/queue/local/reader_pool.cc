#include "queue/local/reader_pool.h"

#include <utility>

#include "base/thread_name.h"

namespace quern {

ReaderPool::ReaderPool(std::vector<std::unique_ptr<JournalReader>> readers)
    : readers_(std::move(readers)) {}

void ReaderPool::start() {
  const std::scoped_lock lock(mutex_);
  if (!threads_.empty() || stopping_) return;
  for (const std::unique_ptr<JournalReader>& reader : readers_) {
    threads_.emplace_back([this, &reader] { loop(*reader); });
  }
}

void ReaderPool::stop() {
  std::vector<std::thread> threads;
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
    threads.swap(threads_);
  }
  wake_.notify_all();
  for (std::thread& thread : threads) thread.join();
  // Without threads (never started) what waits is refused, so that everybody gets an answer.
  std::deque<Read> left;
  {
    const std::scoped_lock lock(mutex_);
    left.swap(waiting_);
  }
  for (Read& read : left) read(fail(ErrorCode::unavailable, "the queue is stopped"));
}

void ReaderPool::post(Read read) {
  const char* refused = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    if (stopping_) {
      refused = "the queue is stopped";
    } else if (waiting_.size() >= kReadsWaitingMax) {
      refused = "too many reads wait for the store";
    } else {
      waiting_.push_back(std::move(read));
    }
  }
  if (refused == nullptr) return wake_.notify_one();
  read(fail(ErrorCode::unavailable, refused, std::chrono::seconds{1}));
}

void ReaderPool::loop(JournalReader& reader) {
  name_this_thread("quern-reader");
  for (;;) {
    Read read;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      read = std::move(waiting_.front());
      waiting_.pop_front();
    }
    read(&reader);
  }
}

}  // namespace quern
