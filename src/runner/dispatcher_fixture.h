#pragma once
// A dispatcher between a queue and executors that do as a test says.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "runner/dispatcher.h"
#include "runner/echo_executor.h"
#include "testing/eventually.h"
#include "testing/fake_executor.h"
#include "testing/fake_queue.h"
#include "testing/temp_folder.h"

namespace quern {

class DispatcherTest : public ::testing::Test {
 protected:
  DispatcherTest() : store_(std::move(*ArtifactStore::open(folder_.path(), random_))) {}

  static Model make_model(std::string id, std::string kind = "fake") {
    Model model;
    model.id = std::move(id);
    model.executor.kind = std::move(kind);
    model.timeout = std::chrono::minutes(10);
    return model;
  }

  // `script` is what the executor of kind "fake" does; models of kind "echo" are served too.
  void start(std::vector<Model> models, FakeExecutor::Script script,
             FakeQueue::Answers answers = FakeQueue::Answers::later) {
    queue_ = std::make_unique<FakeQueue>(answers);
    executor_ = std::make_shared<FakeExecutor>(std::move(script));
    run({{"fake", executor_}, {"echo", std::make_shared<EchoExecutor>()}}, std::move(models));
  }
  // With the queue that is there.
  void run(decltype(Dispatcher::Options::executors) executors, std::vector<Model> models) {
    options_.executors = std::move(executors);
    dispatcher_ = std::make_unique<Dispatcher>(*queue_, *store_, clock_, metrics_, options_);
    queue_->observe(dispatcher_.get());
    configure(std::move(models));
  }
  void configure(std::vector<Model> models) {
    ASSERT_TRUE(dispatcher_->configure(*Catalog::make(std::move(models))));
  }
  ~DispatcherTest() override {
    if (queue_) {
      queue_->observe(nullptr);
      queue_->flush();  // no word of it is on its way to the dispatcher any more
    }
    dispatcher_.reset();  // the queue answers to the last
  }

  static Executor::Ending succeed(const quern::Run&, ProgressSink&, const std::stop_token&) {
    return FakeExecutor::success();
  }
  static Executor::Ending wait_for_stop(const quern::Run&, ProgressSink&,
                                        const std::stop_token& stop) {
    return FakeExecutor::until_stopped(stop);
  }
  bool wait_until_running(const TaskId& task) {
    return queue_->wait_for(task, [](const auto& record) { return record.lease.has_value(); }) &&
           eventually([this] { return executor_->begun() > 0; });
  }
  std::uint64_t attempts(const std::string& model, const std::string& outcome) {
    return metrics_
        .counter("quern_attempts_total", "Attempts that ended, by outcome",
                 {{"model", model}, {"outcome", outcome}})
        .value();
  }

  double slots(const std::string& model) {
    return metrics_.gauge("quern_slots", "Configured slots", {{"model", model}}).value();
  }

  TempFolder folder_;
  SystemRandom random_;
  SystemClock clock_;
  Metrics metrics_;
  std::unique_ptr<ArtifactStore> store_;
  std::unique_ptr<FakeQueue> queue_;
  std::shared_ptr<FakeExecutor> executor_;
  Dispatcher::Options options_;
  std::unique_ptr<Dispatcher> dispatcher_;
};

}  // namespace quern
