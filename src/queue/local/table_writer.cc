#include "queue/local/table_writer.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/log.h"
#include "base/low_priority.h"
#include "base/thread_name.h"
#include "queue/local/paced_writes.h"

namespace quern {
namespace {

/// While it lives, a time goes by that is counted at its end.
class Timed {
 public:
  explicit Timed(Histogram* into) : into_(into) {}
  ~Timed() {
    if (into_ == nullptr) return;
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begun_;
    into_->observe(time.count());
  }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  Histogram* const into_;
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

}  // namespace

TableWriter::TableWriter(std::unique_ptr<Tables> tables, RedoLog& log, std::size_t checkpoint_pages,
                         std::shared_ptr<const Pending> replayed, std::uint64_t number,
                         const TableTimes& times)
    : tables_(std::move(tables)),
      log_(log),
      checkpoint_pages_(checkpoint_pages),
      times_(times),
      recent_(std::make_shared<Pending>()),
      earlier_(replayed->is_empty() ? nullptr : std::move(replayed)),
      added_(number),
      earlier_number_(number),
      applied_(earlier_ == nullptr ? number : 0) {
  thread_ = std::thread([this] { loop(); });
}

TableWriter::~TableWriter() {
  {
    const std::scoped_lock lock(mutex_);
    is_stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void TableWriter::begin() {
  {
    const std::scoped_lock lock(mutex_);
    is_begun_ = true;
  }
  wake_.notify_one();
}

Result<void> TableWriter::prepare() {
  std::unique_lock lock(mutex_);
  if (is_settled_ && !failure_) return {};
  return await(lock, [this] { return is_settled_ && !failure_; });
}

void TableWriter::add(std::string_view record, std::uint64_t number) {
  std::unique_lock lock(mutex_);
  if (recent_->bytes() >= kPendingBytesSlow) hold_back(lock);
  const bool was_empty = recent_->is_empty();
  if (was_empty) first_added_ = std::chrono::steady_clock::now();
  // What this process has just put together can be taken apart.
  const Result<void> merged = recent_->merge(record);
  QUERN_ASSERT(merged);
  added_ = number;
  const bool wakes = was_empty || is_much();
  lock.unlock();
  if (wakes) wake_.notify_one();
}

// Little by little: callers would else wait for all of it at once.
void TableWriter::hold_back(std::unique_lock<std::mutex>& lock) {
  const auto goes_on = [this](std::size_t below) { return recent_->bytes() < below || failure_; };
  const std::size_t over = std::min(recent_->bytes(), kPendingBytesMax) - kPendingBytesSlow;
  const auto wait = kPendingWaitMax * over / (kPendingBytesMax - kPendingBytesSlow);
  written_.wait_for(lock, wait, [&] { return goes_on(kPendingBytesSlow); });
  written_.wait(lock, [&] { return goes_on(kPendingBytesMax); });
}

TableWriter::Overlay TableWriter::overlay() const {
  const std::scoped_lock lock(mutex_);
  return {recent_, earlier_};
}

Result<void> TableWriter::settle() {
  std::unique_lock lock(mutex_);
  return settle(lock);
}

Result<void> TableWriter::settle(const TaskId& id) {
  std::unique_lock lock(mutex_);
  const bool is_stored =
      recent_->find(id) == nullptr && (earlier_ == nullptr || earlier_->find(id) == nullptr);
  if (is_stored) return {};
  return settle(lock);
}

Result<void> TableWriter::settle(std::unique_lock<std::mutex>& lock) {
  const std::uint64_t number = added_;
  wanted_ = std::max(wanted_, number);
  return await(lock, [this, number] { return applied_ >= number; });
}

template <typename Done>
Result<void> TableWriter::await(std::unique_lock<std::mutex>& lock, Done is_done) {
  if (is_done()) return {};
  const std::uint64_t begun = writes_begun_;
  is_begun_ = is_retry_wanted_ = true;
  wake_.notify_one();
  written_.wait(lock, [&] { return is_done() || (failure_ && writes_ended_ > begun); });
  if (is_done()) return {};
  return std::unexpected(*failure_);
}

std::optional<Error> TableWriter::failure() const {
  const std::scoped_lock lock(mutex_);
  return failure_;
}

std::size_t TableWriter::cache_bytes() const {
  const std::scoped_lock lock(mutex_);
  return cache_bytes_;
}

// ---- the thread

void TableWriter::loop() {
  name_this_thread("quern-tables");
  lower_own_priority();  // commits come first
  const PacedWrites paced;
  std::unique_lock lock(mutex_);
  while (wait(lock)) {
    write(lock);
    if (is_stopping_ && failure_) return;  // the redo log has it
  }
}

bool TableWriter::wait(std::unique_lock<std::mutex>& lock) {
  for (;;) {
    if (is_stopping_) return is_begun_ && is_behind();
    const auto when = due();
    if (!when) {
      wake_.wait(lock);
    } else if (std::chrono::steady_clock::now() >= *when) {
      return true;
    } else {
      wake_.wait_until(lock, *when);
    }
  }
}

std::optional<std::chrono::steady_clock::time_point> TableWriter::due() const {
  constexpr std::chrono::steady_clock::time_point kNow{};
  if (!is_begun_) return std::nullopt;
  if (failure_) return is_retry_wanted_ ? kNow : failed_at_ + kApplyRetryInterval;
  if (!is_settled_ || earlier_ != nullptr) return kNow;
  if (recent_->is_empty()) return std::nullopt;
  return wanted_ > applied_ || is_much() ? kNow : first_added_ + kApplyDelay;
}

void TableWriter::write(std::unique_lock<std::mutex>& lock) {
  if (earlier_ == nullptr && !recent_->is_empty()) {
    earlier_ = std::exchange(recent_, std::make_shared<Pending>());
    earlier_number_ = added_;
  }
  ++writes_begun_;
  is_retry_wanted_ = false;
  std::shared_ptr<const Pending> pending = earlier_;
  const std::uint64_t number = earlier_number_;
  lock.unlock();
  written_.notify_all();  // for a commit that is held back: nothing is gathered now
  Result<void> done;
  if (pending) {
    const Timed timed(times_.apply);
    done = tables_->apply(*pending, number);
  }
  const bool is_applied = done.has_value();
  if (is_applied && !is_settled_) {
    done = tables_->settle();
    if (done) log_.release(number);
  }
  lock.lock();
  if (is_applied) {
    earlier_.reset();
    applied_ = number;
  }
  if (done) {
    is_settled_ = true;
    failure_.reset();
  } else {
    failure_ = done.error();
    failed_at_ = std::chrono::steady_clock::now();
  }
  cache_bytes_ = tables_->cache_bytes();
  ++writes_ended_;
  lock.unlock();
  // Not under the lock: whoever wakes may take this thread's place on its core; and freeing the memory
  // takes a while.
  written_.notify_all();
  pending.reset();
  if (done) checkpoint(number);
  lock.lock();
}

void TableWriter::checkpoint(std::uint64_t number) {
  if (tables_->log_pages() < checkpoint_pages_ && !log_.is_full()) return;
  const Result<bool> all = [this] {
    const Timed timed(times_.checkpoint);
    return tables_->checkpoint();
  }();
  if (all && *all) log_.release(number);
  if (std::exchange(is_checkpoint_failing_, !all) == !all) return;
  if (all) {
    log_info("the write-ahead log moves into the store again");
  } else {
    log_error("the write-ahead log only grows until this is mended",
              {{"error", all.error().message}});
  }
}

}  // namespace quern
