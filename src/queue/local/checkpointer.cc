#include "queue/local/checkpointer.h"

#include <sys/resource.h>
#include <unistd.h>

#include <utility>

#include "base/log.h"

namespace quern {
namespace {

constexpr std::size_t kFewPages = 64;
constexpr int kNice = 10;
constexpr int kPassesMax = 8;  // a log that grows as fast as it is copied is left at that

}  // namespace

Checkpointer::Checkpointer(Connection connection, Journal& journal, std::size_t pages)
    : connection_(std::move(connection)), journal_(journal), pages_(pages) {}

Result<std::unique_ptr<Checkpointer>> Checkpointer::open(const std::filesystem::path& file,
                                                         Journal& journal, std::size_t pages) {
  Result<Connection> connection = Connection::open(file, Connection::Mode::read_write);
  if (!connection) return fail(std::move(connection));
  // A connection finds the log at its first look into the store, and copies nothing before.
  const Result<std::int64_t> looked = connection->query_integer("PRAGMA schema_version");
  if (!looked) return std::unexpected(looked.error());
  return std::unique_ptr<Checkpointer>(new Checkpointer(*std::move(connection), journal, pages));
}

void Checkpointer::start() {
  const std::scoped_lock lock(mutex_);
  if (thread_.joinable() || stopping_) return;
  thread_ = std::thread([this] { loop(); });
}

void Checkpointer::stop() {
  std::thread thread;
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
    thread.swap(thread_);
  }
  wake_.notify_all();
  if (thread.joinable()) thread.join();
}

void Checkpointer::after_commits() {
  if (journal_.log_pages() < pages_) return;
  {
    const std::scoped_lock lock(mutex_);
    if (stage_ == Stage::idle) {
      stage_ = Stage::wanted;
      return wake_.notify_one();
    }
    if (stage_ == Stage::wanted) return;
    stage_ = Stage::idle;
  }
  note(journal_.checkpoint());
}

void Checkpointer::note(const Result<void>& done) {
  {
    const std::scoped_lock lock(mutex_);
    if (std::exchange(failing_, !done) == !done) return;
  }
  if (done) return log_info("the write-ahead log moves into the store again");
  log_error("the write-ahead log only grows until this is mended",
            {{"error", done.error().message}});
}

// Each pass copies what was committed during the one before, so they soon become short.
Result<void> Checkpointer::copy() {
  std::size_t copied = 0;
  for (int pass = 0; pass < kPassesMax; ++pass) {
    const Result<std::size_t> pages = connection_.checkpoint();
    if (!pages) return std::unexpected(pages.error());
    if (*pages < copied + kFewPages) break;
    copied = *pages;
  }
  return {};
}

void Checkpointer::loop() {
  // Commits come first where cores are few. Without the right to it nothing is lost.
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kNice);
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || stage_ == Stage::wanted; });
    if (stopping_) return;
    lock.unlock();
    note(copy());
    lock.lock();
    stage_ = Stage::copied;
  }
}

}  // namespace quern
