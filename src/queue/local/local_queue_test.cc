#include "queue/local/local_queue.h"

#include <gtest/gtest.h>

#include <latch>

#include "queue/queue_contract.h"
#include "testing/manual_clock.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

class LocalHarness final : public QueueHarness {
 public:
  LocalHarness() { open(); }

  Queue& queue() override { return *queue_; }
  LocalQueue& local() { return *queue_; }
  void advance(std::chrono::microseconds time) override {
    clock_.advance(time);
    queue_->wake();
    settle();
  }
  void reopen() override {
    queue_.reset();
    open();
  }
  ManualClock& clock() { return clock_; }
  const std::filesystem::path& folder() { return folder_.path(); }
  /// Every transaction does what is due; a few in a row let one thing lead to the next.
  void settle() {
    for (int i = 0; i < 3; ++i) {
      static_cast<void>(ask<std::vector<Claim>>(
          [&](auto reply) { queue_->claim({.model = "no-such"}, std::move(reply)); }));
    }
  }

 private:
  void open() {
    LocalQueueOptions options{.folder = folder_.path(), .retention = kContractRetention};
    Result<std::unique_ptr<LocalQueue>> opened =
        LocalQueue::open(options, clock_, random_, metrics_);
    if (!opened) ADD_FAILURE() << opened.error().message;
    queue_ = *std::move(opened);
    queue_->start();
  }

  TempFolder folder_;
  ManualClock clock_;
  SystemRandom random_;
  Metrics metrics_;
  std::unique_ptr<LocalQueue> queue_;
};

INSTANTIATE_TEST_SUITE_P(Local, QueueContract, testing::Values(QueueMaker{[] {
                           return std::make_unique<LocalHarness>();
                         }}),
                         [](const auto&) { return std::string("Queue"); });

}  // namespace
}  // namespace quern
