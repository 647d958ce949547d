#pragma once
// The contract of the queue: what goes in, and what is refused.

#include "queue/contract_fixture.h"

namespace quern {

// ---- submit and look

TEST_P(QueueContract, AnswersASubmitWithItsPlaceInLine) {
  EXPECT_EQ(submit(submission(TaskOptions{}))->position, 0U);
  const Result<Submitted> second = submit(submission(TaskOptions{}));

  ASSERT_TRUE(second);
  EXPECT_EQ(second->position, 1U);
  EXPECT_FALSE(second->replayed);
  const TaskView view = look(second->id);
  EXPECT_EQ(view.state, TaskState::queued);
  EXPECT_EQ(view.position, 1U);
  EXPECT_EQ(view.key, "ada");
  EXPECT_EQ(view.model, "echo");
  EXPECT_EQ(view.attempts_started, 0U);
}

TEST_P(QueueContract, RefusesAModelThatIsNotServed) {
  EXPECT_EQ(code(submit(submission({.model = "no-such"}))), ErrorCode::invalid_argument);
}

TEST_P(QueueContract, DoesNotFindWhatNeverWas) {
  const TaskId id = make_task();
  TaskId other = id;
  other.low ^= 1U;  // the same place in the order of ids, but another id

  EXPECT_EQ(code(find({.ref = {.id = other}})), ErrorCode::not_found);
  EXPECT_EQ(code(cancel({.id = other})), ErrorCode::not_found);
  EXPECT_EQ(code(find({.ref = {.id = TaskId{.high = 1, .low = 2}}})), ErrorCode::not_found);
}

TEST_P(QueueContract, HidesTasksOfOtherKeysAndModels) {
  const TaskId queued = make_task();
  const TaskId ended = make_task({.model = "speech"});
  ASSERT_TRUE(finish(claim_one("speech").lease, failure(false)));

  for (const TaskId& id : {queued, ended}) {
    for (const TaskRef& ref : {TaskRef{id, "bob", ""}, TaskRef{id, "ada", "no-such"}}) {
      EXPECT_EQ(code(find({.ref = ref, .result = true})), ErrorCode::not_found);
      EXPECT_EQ(code(find({.ref = ref, .logs = true})), ErrorCode::not_found);
      EXPECT_EQ(code(cancel(ref)), ErrorCode::not_found);
      EXPECT_EQ(code(retry(ref)), ErrorCode::not_found);
      EXPECT_EQ(code(purge(ref)), ErrorCode::not_found);
    }
  }
  EXPECT_TRUE(find({.ref = {queued, "ada", "echo"}}));
  EXPECT_TRUE(find({.ref = {ended, "ada", "speech"}}));
}

// ---- idempotency

TEST_P(QueueContract, AnswersAReusedIdempotencyKeyWithTheFirstTask) {
  const IdempotencyKey key = idempotency("k1");
  EXPECT_EQ(ask<std::optional<Submitted>>([&](auto reply) {
              queue().find_replay(key, std::move(reply));
            })->has_value(),
            false);
  const Result<Submitted> first = submit(idempotent(key));
  const Result<Submitted> second = submit(idempotent(key));

  ASSERT_TRUE(first && second);
  EXPECT_FALSE(first->replayed);
  EXPECT_TRUE(second->replayed);
  EXPECT_EQ(first->id, second->id);
  const Result<std::optional<Submitted>> replay = ask<std::optional<Submitted>>(
      [&](auto reply) { queue().find_replay(key, std::move(reply)); });
  ASSERT_TRUE(replay && *replay);
  EXPECT_EQ((*replay)->id, first->id);
  EXPECT_EQ(queue().stats().queued, 1U);
}

TEST_P(QueueContract, RefusesAnIdempotencyKeyForAnotherRequest) {
  ASSERT_TRUE(submit(idempotent(idempotency("k1", 1))));

  EXPECT_EQ(code(submit(idempotent(idempotency("k1", 2)))), ErrorCode::conflict);
  EXPECT_EQ(code(ask<std::optional<Submitted>>(
                [&](auto reply) { queue().find_replay(idempotency("k1", 2), std::move(reply)); })),
            ErrorCode::conflict);
  IdempotencyKey of_another = idempotency("k1", 2);
  of_another.key = "bob";
  EXPECT_FALSE(submit(idempotent(of_another))->replayed);
}

TEST_P(QueueContract, MakesOneTaskOfRacingSubmitsUnderOneIdempotencyKey) {
  constexpr int kRacers = 24;
  std::mutex mutex;
  std::set<TaskId> ids;
  std::atomic<int> originals{0};

  race(kRacers, [&](int) {
    const Result<Submitted> submitted = submit(idempotent(idempotency("race")));
    ASSERT_TRUE(submitted) << submitted.error().message;
    if (!submitted->replayed) ++originals;
    const std::scoped_lock lock(mutex);
    ids.insert(submitted->id);
  });

  EXPECT_EQ(originals, 1);
  EXPECT_EQ(ids.size(), 1U);
  EXPECT_EQ(queue().stats().queued, 1U);
}

TEST_P(QueueContract, KeepsIdempotencyKeysForADayWhateverBecomesOfTheTask) {
  const TaskId first = submit(idempotent(idempotency("k1")))->id;
  ASSERT_EQ(cancel({.id = first}), CancelAnswer::requested);
  ASSERT_TRUE(purge({.id = first}));
  advance(std::chrono::hours{23});
  reopen();

  const Result<Submitted> replay = submit(idempotent(idempotency("k1")));
  ASSERT_TRUE(replay);
  EXPECT_TRUE(replay->replayed);
  EXPECT_EQ(replay->id, first);

  advance(std::chrono::hours{2});
  const Result<Submitted> fresh = submit(idempotent(idempotency("k1", 2)));
  ASSERT_TRUE(fresh);
  EXPECT_FALSE(fresh->replayed);
  EXPECT_NE(fresh->id, first);
}

TEST_P(QueueContract, KeepsNoIdempotencyKeyOfARefusedSubmit) {
  QueuePolicy narrow = policy();
  narrow.keys[0].queued_max = 1;
  configure(narrow);
  make_task();
  EXPECT_EQ(code(submit(idempotent(idempotency("k1")))), ErrorCode::rate_limited);
  configure(policy());

  EXPECT_FALSE(submit(idempotent(idempotency("k1", 2)))->replayed);
}

// ---- limits

TEST_P(QueueContract, RefusesMoreThanAKeyMayQueue) {
  QueuePolicy narrow = policy();
  narrow.keys[0].queued_max = 2;
  configure(narrow);
  make_task();
  make_task({.model = "speech"});

  const Result<Submitted> third = submit(submission(TaskOptions{}));

  EXPECT_EQ(code(third), ErrorCode::rate_limited);
  EXPECT_GT(third.error().retry_after.count(), 0);
  EXPECT_TRUE(submit(submission({.key = "bob"})));
  claim_one();
  EXPECT_TRUE(submit(submission(TaskOptions{})));
}

TEST_P(QueueContract, RefusesMoreThanAModelMayQueue) {
  QueuePolicy narrow = policy();
  narrow.models[0].queued_max = 1;
  configure(narrow);
  make_task();

  EXPECT_EQ(code(submit(submission({.key = "bob"}))), ErrorCode::rate_limited);
  EXPECT_TRUE(submit(submission({.model = "speech"})));
}

TEST_P(QueueContract, RefusesMoreThanTheCallerWantsToWaitFor) {
  Submission patient = submission(TaskOptions{});
  patient.model_queued_max = 1;
  ASSERT_TRUE(submit(patient));
  ASSERT_TRUE(submit(patient));

  EXPECT_EQ(code(submit(patient)), ErrorCode::rate_limited);
}

TEST_P(QueueContract, RunsNoMoreOfAKeyThanItMay) {
  QueuePolicy narrow = policy();
  narrow.keys[0].running_max = 1;
  configure(narrow);
  make_task();
  make_task();
  make_task({.key = "bob"});

  const std::vector<Claim> claims = claim(5);

  ASSERT_EQ(claims.size(), 2U);
  EXPECT_NE(claims[0].key, claims[1].key);
}

}  // namespace quern
