#pragma once
// The contract of the queue: what others see of a task, and what administrators do with it.

#include "queue/contract_fixture.h"

namespace quern {

// ---- progress, logs, watching

TEST_P(QueueContract, ShowsProgressAndLogsAtOnceAndKeepsTheLogs) {
  const TaskId id = make_task();
  const Claim claimed = claim_one();
  Beat beat{.progress = 0.25};
  beat.logs.push_back({claimed.submitted, LogSeverity::stderr_, false, "loading"});
  ASSERT_TRUE(heartbeat(claimed.lease, beat));

  const auto runner_lines = [](const TaskView& view) {
    std::vector<std::string> lines;
    for (const LogEntry& entry : view.logs) {
      if (!entry.from_quern) lines.push_back(entry.message);
    }
    return lines;
  };
  EXPECT_EQ(look(id).progress, 0.25);
  EXPECT_THAT(runner_lines(look(id)), testing::ElementsAre("loading"));
  beat.logs[0].message = "running";
  ASSERT_TRUE(heartbeat(claimed.lease, beat));
  ASSERT_TRUE(finish(claimed.lease, success()));
  EXPECT_THAT(runner_lines(look(id)), testing::ElementsAre("loading", "running"));
  reopen();

  const TaskView view = look(id);
  EXPECT_THAT(runner_lines(view), testing::ElementsAre("loading", "running"));
  EXPECT_EQ(view.logs.front().severity == LogSeverity::stderr_ || view.logs.front().from_quern,
            true);
  EXPECT_TRUE(find({.ref = {.id = id}})->logs.empty());
}

TEST_P(QueueContract, AddsItsOwnLinesForEachAttempt) {
  const TaskId id = make_task();
  ASSERT_EQ(finish(claim_one().lease, failure(true)), TaskState::queued);
  advance(std::chrono::minutes{2});
  ASSERT_EQ(finish(claim_one().lease, success()), TaskState::succeeded);

  std::vector<std::string> lines;
  for (const LogEntry& entry : look(id).logs) {
    EXPECT_TRUE(entry.from_quern);
    lines.push_back(entry.message);
  }

  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[0], "attempt 1 started");
  EXPECT_THAT(lines[1], testing::StartsWith("attempt 1 failed: exit 1; queued again, not before "));
  EXPECT_EQ(lines[2], "attempt 2 started");
  EXPECT_EQ(lines[3], "attempt 2 succeeded");
}

TEST_P(QueueContract, KeepsTheNewestLogsAndSaysHowManyItDropped) {
  const TaskId id = make_task();
  const Claim claimed = claim_one();
  for (int i = 0; i < 12; ++i) {
    Beat beat;
    for (int j = 0; j < 100; ++j) {
      beat.logs.push_back(
          {claimed.submitted, LogSeverity::info, false, std::to_string(i * 100 + j)});
    }
    ASSERT_TRUE(heartbeat(claimed.lease, std::move(beat)));
    advance(std::chrono::seconds{2});  // some are stored before they are dropped
  }
  ASSERT_TRUE(finish(claimed.lease, success()));

  const auto check = [&] {
    std::vector<std::string> lines;
    bool told = false;
    for (const LogEntry& entry : look(id).logs) {
      if (!entry.from_quern) lines.push_back(entry.message);
      told = told || entry.message.starts_with("200 earlier lines were dropped");
    }
    ASSERT_EQ(lines.size(), kLogEntriesMax);
    EXPECT_EQ(lines.front(), "200");
    EXPECT_EQ(lines.back(), "1199");
    EXPECT_TRUE(told);
  };
  check();
  reopen();
  check();
}

TEST_P(QueueContract, CountsLinesThatWereDroppedBeforeTheyCame) {
  const TaskId id = make_task();
  const Claim claimed = claim_one();
  const auto say = [&](int from, int to, std::uint64_t dropped) {
    Beat beat{.logs_dropped = dropped};
    for (int i = from; i < to; ++i) {
      beat.logs.push_back({claimed.submitted, LogSeverity::info, false, std::to_string(i)});
    }
    ASSERT_TRUE(heartbeat(claimed.lease, std::move(beat)));
  };
  // The runner's lines are those from `from` on, and the line before them says so.
  const auto expect_kept = [&](int from, std::size_t count) {
    const TaskView view = look(id);
    EXPECT_EQ(view.logs_dropped, static_cast<std::uint64_t>(from));
    EXPECT_THAT(view.logs.at(0).message,
                testing::StartsWith(std::to_string(from) + " earlier lines were dropped"));
    std::size_t lines = 0;
    for (const LogEntry& entry : view.logs) {
      EXPECT_EQ(entry.number.has_value(), !entry.from_quern);
      if (!entry.number) continue;
      EXPECT_EQ(*entry.number, static_cast<std::uint64_t>(from) + lines);
      EXPECT_EQ(entry.message, std::to_string(*entry.number));
      ++lines;
    }
    EXPECT_EQ(lines, count);
  };

  say(0, 5, 0);
  advance(std::chrono::seconds{2});  // some are stored before they are dropped
  say(5, 10, 0);
  say(2'010, 2'020, 2'000);
  expect_kept(2'010, 10);
  say(2'020, 3'020, 0);
  expect_kept(2'020, 1'000);
  say(5'020, 6'020, 2'000);
  expect_kept(5'020, 1'000);
  ASSERT_TRUE(finish(claimed.lease, success()));

  expect_kept(5'020, 1'000);
  reopen();
  expect_kept(5'020, 1'000);
}

TEST_P(QueueContract, CutsLongLogLinesBetweenCharacters) {
  const TaskId id = make_task();
  const Claim claimed = claim_one();
  std::string line;
  while (line.size() < 2 * kLogLineBytesMax) line += "ü";
  line.insert(0, "x");  // characters begin at odd bytes
  Beat beat;
  beat.logs.push_back({claimed.submitted, LogSeverity::info, false, line});
  ASSERT_TRUE(heartbeat(claimed.lease, std::move(beat)));

  const TaskView view = look(id);

  const auto cut = std::find_if(view.logs.begin(), view.logs.end(),
                                [](const LogEntry& entry) { return !entry.from_quern; });
  ASSERT_NE(cut, view.logs.end());
  EXPECT_LT(cut->message.size(), kLogLineBytesMax + 64);
  EXPECT_THAT(cut->message, testing::HasSubstr("ü… ["));
  EXPECT_THAT(cut->message, testing::HasSubstr("bytes cut]"));
}

TEST_P(QueueContract, KeepsLogsOfEarlierAttempts) {
  const TaskId id = make_task();
  for (const char* line : {"first", "second"}) {
    const Claim claimed = claim_one();
    Beat beat;
    beat.logs.push_back({claimed.submitted, LogSeverity::info, false, line});
    ASSERT_TRUE(heartbeat(claimed.lease, std::move(beat)));
    ASSERT_EQ(finish(claimed.lease, failure(true)), TaskState::queued);
    advance(std::chrono::minutes{2});
  }

  std::vector<std::string> lines;
  for (const LogEntry& entry : look(id).logs) {
    if (!entry.from_quern) lines.push_back(entry.message);
  }

  EXPECT_THAT(lines, testing::ElementsAre("first", "second"));
}

TEST_P(QueueContract, CallsAWatchAfterEachChangeUntilItEnds) {
  const TaskId id = make_task();
  Signal changed;
  Watch watch = queue().watch(id, WatchFor::everything, [&] { changed.notify(); });
  const Lease lease = claim_one().lease;
  EXPECT_TRUE(changed.wait_for(1));
  const int before = changed.count();
  ASSERT_TRUE(heartbeat(lease, {.progress = 0.5}));
  EXPECT_TRUE(changed.wait_for(before + 1));
  watch.reset();
  const int ended = changed.count();

  ASSERT_TRUE(finish(lease, success()));
  advance(std::chrono::seconds{1});

  EXPECT_EQ(changed.count(), ended);
}

TEST_P(QueueContract, CallsAWatchWhenAPositionChanges) {
  make_task();
  const TaskId second = make_task();
  Signal changed;
  const Watch watch = queue().watch(second, WatchFor::everything, [&] { changed.notify(); });

  claim_one();
  advance(std::chrono::seconds{1});

  EXPECT_TRUE(changed.wait_for(1));
  EXPECT_EQ(look(second).position, 0U);
}

TEST_P(QueueContract, TellsAWatchForTheStateOfNothingElse) {
  make_task();
  const TaskId id = make_task();
  Signal everything;
  Signal state;
  const Watch all = queue().watch(id, WatchFor::everything, [&] { everything.notify(); });
  const Watch some = queue().watch(id, WatchFor::state, [&] { state.notify(); });

  claim_one();
  advance(std::chrono::seconds{1});
  EXPECT_TRUE(everything.wait_for(1)) << "its position";
  EXPECT_EQ(state.count(), 0);
  const Lease lease = claim_one().lease;
  EXPECT_TRUE(state.wait_for(1));
  const int before = everything.count();
  ASSERT_TRUE(heartbeat(lease, {.progress = 0.5}));
  EXPECT_TRUE(everything.wait_for(before + 1));
  EXPECT_EQ(state.count(), 1);
  ASSERT_TRUE(finish(lease, success()));
  EXPECT_TRUE(state.wait_for(2));
}

TEST_P(QueueContract, TellsWhichModelsMayBeClaimed) {
  make_task({.model = "speech"});
  EXPECT_THAT(observer_.take_claimable(), testing::Contains("speech"));
  finish(claim_one("speech").lease, {.end = AttemptEnd::released}).value();
  EXPECT_THAT(observer_.take_claimable(), testing::Contains("speech"));
  make_task();
  ASSERT_EQ(finish(claim_one().lease, failure(true)), TaskState::queued);
  observer_.take_claimable();

  advance(std::chrono::minutes{2});

  EXPECT_THAT(observer_.take_claimable(), testing::Contains("echo"));
}

// ---- administration

TEST_P(QueueContract, ListsTheNewestFirstAndPages) {
  std::vector<TaskId> ids;
  for (int i = 0; i < 7; ++i) ids.push_back(make_task());
  ASSERT_EQ(finish(claim_one().lease, success()), TaskState::succeeded);
  claim_one();
  std::reverse(ids.begin(), ids.end());

  const TaskPage first = list({.count_max = 5});
  ASSERT_EQ(first.tasks.size(), 5U);
  EXPECT_TRUE(first.more);
  const TaskPage second = list({.before = first.tasks.back().id, .count_max = 5});
  EXPECT_FALSE(second.more);
  std::vector<TaskId> listed = ids_of(first);
  for (const TaskId& id : ids_of(second)) listed.push_back(id);

  EXPECT_EQ(listed, ids);
  EXPECT_EQ(second.tasks.back().state, TaskState::succeeded);
  EXPECT_EQ(second.tasks.front().state, TaskState::running);
  EXPECT_EQ(first.tasks.front().position, 4U);
}

TEST_P(QueueContract, ListsByKeyModelStateAndAge) {
  const TaskId old = make_task();
  advance(std::chrono::hours{1});
  const TaskId canceled = make_task();
  ASSERT_TRUE(cancel({.id = canceled}));
  const TaskId bobs = make_task({.key = "bob"});
  const TaskId speech = make_task({.model = "speech"});

  EXPECT_THAT(ids_of(list({.key = "bob"})), testing::ElementsAre(bobs));
  EXPECT_THAT(ids_of(list({.model = "speech"})), testing::ElementsAre(speech));
  EXPECT_THAT(ids_of(list({.states = {TaskState::canceled, TaskState::failed}})),
              testing::ElementsAre(canceled));
  EXPECT_THAT(ids_of(list({.states = {TaskState::queued}})),
              testing::ElementsAre(speech, bobs, old));
  EXPECT_THAT(ids_of(list({.age_min = std::chrono::minutes{30}})), testing::ElementsAre(old));
  EXPECT_TRUE(list({.key = "nobody"}).tasks.empty());
}

TEST_P(QueueContract, GivesARetriedTaskAFreshSetOfAttempts) {
  const TaskId id = make_task({.model = "speech"});
  ASSERT_EQ(finish(claim_one("speech").lease, failure(true)), TaskState::failed);

  EXPECT_EQ(retry({id, "ada", "speech"}), TaskState::queued);

  EXPECT_EQ(look(id).state, TaskState::queued);
  EXPECT_EQ(look(id).error, "");
  EXPECT_EQ(code(retry({.id = id})), ErrorCode::conflict);
  const Claim again = claim_one("speech");
  EXPECT_EQ(again.lease.task, id);
  EXPECT_EQ(again.attempt, 1U);
  EXPECT_EQ(again.input, R"({"prompt":"hi"})");
  EXPECT_EQ(finish(again.lease, success()), TaskState::succeeded);
  EXPECT_EQ(look(id).attempts.size(), 2U);
  EXPECT_EQ(code(retry({.id = id})), ErrorCode::conflict);
}

TEST_P(QueueContract, PurgesAnEndedTaskWithItsFiles) {
  const TaskId id = make_task();
  EXPECT_EQ(code(purge({.id = id})), ErrorCode::conflict);
  Outcome outcome = success();
  outcome.outputs.push_back({.type = OutputType::image, .file_key = "f1", .file_name = "a.png"});
  ASSERT_TRUE(finish(claim_one().lease, outcome));

  EXPECT_TRUE(purge({id, "ada", "echo"}));

  EXPECT_EQ(code(find({.ref = {.id = id}, .result = true})), ErrorCode::not_found);
  EXPECT_EQ(code(purge({.id = id})), ErrorCode::not_found);
  EXPECT_THAT(observer_.take_expired(), testing::Contains("f1"));
}

TEST_P(QueueContract, APausedModelTakesTasksAndHandsNoneOut) {
  ASSERT_TRUE(pause("echo", true));
  const TaskId id = make_task();
  EXPECT_TRUE(claim().empty());
  reopen();
  EXPECT_TRUE(claim().empty());
  EXPECT_TRUE(queue().stats().models.at(0).paused);
  observer_.take_claimable();

  ASSERT_TRUE(pause("echo", false));

  EXPECT_THAT(observer_.take_claimable(), testing::Contains("echo"));
  EXPECT_EQ(claim_one().lease.task, id);
  EXPECT_EQ(code(pause("no-such", true)), ErrorCode::not_found);
}

TEST_P(QueueContract, EndsTheTasksOfAModelThatIsNoLongerServed) {
  const TaskId queued = make_task({.model = "speech"});
  QueuePolicy without = policy();
  std::erase_if(without.models, [](const ModelPolicy& model) { return model.id == "speech"; });

  configure(without);
  advance(std::chrono::seconds{1});

  const TaskView view = look(queued);
  EXPECT_EQ(view.state, TaskState::failed);
  EXPECT_EQ(view.error_type, ErrorType::internal_server_error);
  EXPECT_EQ(view.error, "Model is no longer served");
  EXPECT_EQ(code(submit(submission({.model = "speech"}))), ErrorCode::invalid_argument);
  EXPECT_EQ(code(retry({.id = queued})), ErrorCode::conflict);
}

TEST_P(QueueContract, ForgetsEndedTasksAfterTheirRetention) {
  const TaskId ended = make_task();
  Outcome outcome = success();
  outcome.outputs.push_back({.type = OutputType::image, .file_key = "f1", .file_name = "a.png"});
  ASSERT_TRUE(finish(claim_one().lease, outcome));
  const TaskId waiting = make_task();

  advance(kContractRetention - std::chrono::minutes{5});
  EXPECT_EQ(look(ended).state, TaskState::succeeded);
  EXPECT_TRUE(observer_.take_expired().empty());
  advance(std::chrono::minutes{10});

  EXPECT_EQ(code(find({.ref = {.id = ended}, .result = true})), ErrorCode::not_found);
  EXPECT_THAT(observer_.take_expired(), testing::ElementsAre("f1"));
  EXPECT_EQ(look(waiting).state, TaskState::queued);
}

TEST_P(QueueContract, CountsWhatWaitsAndRuns) {
  make_task();
  advance(std::chrono::seconds{90});
  make_task();
  make_task({.model = "speech"});
  claim_one("speech");

  const QueueStats stats = queue().stats();

  EXPECT_EQ(stats.queued, 2U);
  EXPECT_EQ(stats.running, 1U);
  EXPECT_TRUE(stats.writable);
  ASSERT_EQ(stats.models.size(), 2U);
  EXPECT_EQ(stats.models[0].model, "echo");
  EXPECT_EQ(stats.models[0].queued, 2U);
  EXPECT_GE(stats.models[0].oldest_queued_age, std::chrono::seconds{90});
  EXPECT_EQ(stats.models[1].running, 1U);
}

}  // namespace quern
