#pragma once
// What the tests of the core share: one model, one key, and a clock that moves when told.

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "queue/core.h"
#include "task/task_id.h"
#include "testing/manual_clock.h"
#include "testing/seeded_random.h"

namespace quern {

inline constexpr ModelIndex kModel{0};
inline constexpr ModelIndex kOther{1};
inline constexpr KeyIndex kKey{0};
inline constexpr KeyIndex kSecond{1};
inline constexpr std::chrono::seconds kTtl{30};
inline constexpr std::uint64_t kMost = ~0ULL;

struct SubmitSpec {
  KeyIndex key = kKey;
  ModelIndex model = kModel;
  Priority priority = Priority::normal;
  bool no_retry = false;
  std::optional<std::chrono::milliseconds> start_timeout;
  std::optional<std::uint64_t> model_queued_max;
};

class QueueCoreTest : public testing::Test {
 protected:
  TaskId next_id() { return ids_.next(clock_.now().wall); }

  Result<std::uint64_t> try_submit(const SubmitSpec& options = {}) {
    last_ = next_id();
    return core_->submit({.id = last_,
                          .key = options.key,
                          .model = options.model,
                          .priority = options.priority,
                          .no_retry = options.no_retry,
                          .start_timeout = options.start_timeout,
                          .model_queued_max = options.model_queued_max},
                         clock_.now());
  }
  /// Submits and leaves the batch open.
  TaskId submit(const SubmitSpec& options = {}) {
    EXPECT_TRUE(try_submit(options).has_value());
    return last_;
  }
  TaskId committed(const SubmitSpec& options = {}) {
    const TaskId id = submit(options);
    core_->commit();
    return id;
  }
  std::vector<Claimed> claim(std::uint32_t count = 1, ModelIndex model = kModel) {
    std::vector<Claimed> out;
    core_->claim(model, count, kTtl, clock_.now(), out);
    return out;
  }
  std::vector<TaskId> claimed_ids(std::uint32_t count, ModelIndex model = kModel) {
    std::vector<TaskId> ids;
    for (const Claimed& claimed : claim(count, model)) ids.push_back(claimed.lease.task);
    return ids;
  }
  /// Submits, claims and commits: the lease of a running task.
  Lease start_one(const SubmitSpec& options = {}) {
    submit(options);
    const std::vector<Claimed> got = claim(1, options.model);
    core_->commit();
    return got.at(0).lease;
  }
  Result<TaskState> finish(const Lease& lease, const AttemptReport& report,
                           std::uint64_t chance = 0) {
    return core_->finish(lease, report, clock_.now(), chance);
  }
  void tick() { core_->tick(clock_.now(), 0, 1'000); }
  Change last_change() { return core_->changes().back(); }
  TaskState state_of(const TaskId& id) { return core_->find(id).value().row.state; }

  /// A new core from these rows, which learns its policies after them.
  void restart(const std::vector<TaskRow>& rows, const ModelPolicy& policy = {},
               const KeyPolicy& key = {}) {
    core_ = std::make_unique<QueueCore>();
    for (const TaskRow& row : rows) core_->restore(row, clock_.now());
    core_->set_model(kModel, policy);
    core_->set_key(kKey, key);
    core_->resume(clock_.now());
  }

  static constexpr AttemptReport kSucceeded{.end = AttemptEnd::succeeded};
  static constexpr AttemptReport kFailed{.end = AttemptEnd::failed,
                                         .error_type = ErrorType::inference_failure};
  static constexpr AttemptReport kRetryable{
      .end = AttemptEnd::failed, .error_type = ErrorType::inference_failure, .retryable = true};
  static constexpr AttemptReport kReleased{.end = AttemptEnd::released};
  static constexpr AttemptReport kCanceled{.end = AttemptEnd::canceled};

  ManualClock clock_;
  SeededRandom random_{1};
  TaskIdGenerator ids_{random_, 0};
  TaskId last_;
  std::unique_ptr<QueueCore> core_ = std::make_unique<QueueCore>();
};

}  // namespace quern
