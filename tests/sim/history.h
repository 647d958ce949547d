#pragma once
// One history: a seed drives clients, runners, clocks, commit failures and crashes against the core
// and the naive queue side by side, and compares everything that can be seen of them after each
// step.

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "naive_queue.h"
#include "queue/core.h"
#include "task/task_id.h"
#include "testing/seeded_random.h"

namespace quern::sim {

/// What happened, over all histories, so that a run can show that it was worth something.
struct Tally {
  std::uint64_t steps = 0;
  std::uint64_t submitted = 0;
  std::uint64_t refused = 0;
  std::uint64_t claimed = 0;
  std::uint64_t gave_way = 0;
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;
  std::uint64_t canceled = 0;
  std::uint64_t retried = 0;
  std::uint64_t stale = 0;  // reports under a lease that was not current
  std::uint64_t lost = 0;
  std::uint64_t commits = 0;
  std::uint64_t rollbacks = 0;
  std::uint64_t crashes = 0;
};

class History {
 public:
  History(std::uint64_t seed, Tally& tally);

  /// Throws Failure when a promise is broken.
  void run();
  [[nodiscard]] std::uint64_t step() const { return step_; }

 private:
  /// The store: the last committed row of every task there ever was.
  struct Stored {
    TaskRow row;
    int wins = 0;
  };

  // -- chance
  std::uint64_t draw(std::uint64_t below);
  bool one_in(std::uint64_t n) { return draw(n) == 0; }
  ModelIndex any_model();
  KeyIndex any_key();
  TaskId any_id();
  Lease any_lease();

  // -- the world
  void take_step();
  void submit();
  void claim();
  void heartbeat();
  void finish();
  void cancel();
  void requeue();
  void tick();
  void let_time_pass();
  void jump_wall();
  void change_policy();
  void unserve();
  void end_batch();
  void commit();
  void rollback();
  void crash();
  void set_policies();
  void live_out();

  // -- promises
  void compare_all();
  void compare_task(const TaskId& id);
  void compare_batch();
  void store(const Change& change);
  void check_wake_ups();

  SeededRandom random_;
  std::mt19937_64 dice_;
  Tally& tally_;
  std::unique_ptr<QueueCore> core_;
  NaiveQueue naive_;
  TaskIdGenerator ids_;
  Now now_;
  std::uint64_t step_ = 0;
  std::vector<TaskId> known_;  // every id that was ever given out
  std::vector<Lease> leases_;  // and every lease
  std::map<TaskId, Stored> store_;
  std::uint64_t last_token_ = 0;
  std::map<ModelIndex, bool> was_claimable_;  // at the last commit or rollback
};

}  // namespace quern::sim
