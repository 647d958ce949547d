#include "runner/dispatcher.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/blocking_pool.h"
#include "base/log.h"
#include "base/thread_name.h"
#include "runner/attempt_runner.h"
#include "runner/lane.h"
#include "runner/running_attempt.h"
#include "runner/worker_pool.h"

namespace quern {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kRepeatMin{
    100};  // waits before a claim or a finish that failed is repeated, doubling
constexpr milliseconds kRepeatMax{5'000};
constexpr milliseconds kTouchFrom{
    800};  // from this wait on, a finish keeps its files from the sweep
constexpr milliseconds kFinishMax{
    5'000};  // at the very end: for the queue to take the last outcomes
constexpr milliseconds kIdleWait{3'600'000};
constexpr unsigned kInstantThreads = 2;  // however many models are instant

milliseconds next_wait(milliseconds before) {
  return std::clamp(before * 2, kRepeatMin, kRepeatMax);
}

// Claims are handed on one by one, by the queue's thread. Whoever they wake is not to take its core before the last.
void prepare_instant_thread() {
  name_this_thread("quern-instant");
  const sched_param none{};
  ::sched_setscheduler(0, SCHED_BATCH, &none);
}

using LanePtr = std::shared_ptr<ModelLane>;

// An attempt with a thread of its own.
struct Work {
  Work(Claim claim, LanePtr its_lane, const Service& service, Now started)
      : lane(std::move(its_lane)),
        executor(service.executor),
        attempt(std::move(claim), service.model, started) {}

  const LanePtr lane;
  const std::shared_ptr<Executor> executor;
  RunningAttempt attempt;
  // The dispatcher's lock guards these.
  SteadyTime beat_at;  // when the lease is to be renewed
  SteadyTime news_at;  // not before: news are worth a report of their own
  bool timed_out = false;
  bool holds_slot = true;
};
using WorkPtr = std::shared_ptr<Work>;
using ServicePtr = std::shared_ptr<const Service>;

}  // namespace

class Dispatcher::Impl {
 public:
  Impl(Queue& queue, ArtifactStore& store, const Clock& clock, Metrics& metrics, Options options);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<void> configure(std::shared_ptr<const Catalog> catalog);
  void drain(milliseconds patience);
  void on_claimable(const std::string& model);
  void on_stop(const Lease& lease, bool canceled);

 private:
  struct Timer {
    SteadyTime at;
    std::move_only_function<void()> call;
  };
  // What a round of the beat thread found to do.
  struct Due {
    std::vector<WorkPtr> beats;
    std::vector<WorkPtr> timeouts;
    std::vector<Timer> timers;
    [[nodiscard]] bool empty() const { return beats.empty() && timeouts.empty() && timers.empty(); }
  };

  void drop_idle_lanes();

  // Claims
  void pump(const LanePtr& lane);
  void on_claimed(const LanePtr& lane, const ServicePtr& service, std::uint32_t asked,
                  Result<std::vector<Claim>> claims);
  void run_all_instantly(const LanePtr& lane, const ServicePtr& service, std::vector<Claim> claims,
                         bool more);
  void end_claim(const LanePtr& lane, bool more);
  void hold(const LanePtr& lane, std::string_view reason);
  void hand_back(const LanePtr& lane, const Claim& claim);

  // Attempts with a thread
  void start(const LanePtr& lane, const Service& service, std::vector<Claim> claims);
  WorkPtr enlist(const LanePtr& lane, const Service& service, Claim& claim);
  void work(const WorkPtr& work);
  void on_work_ended(Work& work);
  void free_slot(Work& work);
  void finish(const WorkPtr& work, Outcome outcome);
  void send_finish(const WorkPtr& work, std::shared_ptr<const Outcome> outcome, milliseconds wait);
  void settle(const WorkPtr& work, const Outcome& outcome, bool accepted);
  void send_beat(const WorkPtr& work, Beat beat);
  void on_news(const Work& work);

  // Instant ones
  void run_instantly(const LanePtr& lane, const ServicePtr& service, Claim claim,
                     milliseconds wait);

  // Time
  void beat_loop();
  SteadyTime collect_due(SteadyTime now, Due& due);
  void after(milliseconds wait, std::move_only_function<void()> call);
  void wake_by(SteadyTime when);

  void begin_call();
  void end_call();
  [[nodiscard]] bool is_idle() const { return calls_ == 0 && works_.empty(); }

  Queue& queue_;
  ArtifactStore& store_;
  const Clock& clock_;
  Metrics& metrics_;
  const Options options_;
  const AttemptRunner runner_;

  std::mutex mutex_;  // guards all below
  std::condition_variable wake_;
  std::condition_variable settled_;
  std::unordered_map<std::string, LanePtr> lanes_;
  std::unordered_map<std::uint64_t, WorkPtr>
      works_;  // by lease token, until their finish is accepted
  std::vector<Timer> timers_;
  std::size_t calls_ = 0;                    // of the queue's functions, whose reply has not come
  std::size_t busy_ = 0;                     // works whose thread still runs them
  SteadyTime looks_at_ = SteadyTime::min();  // the beat thread, by itself; min(): as soon as it can
  bool draining_ = false;
  bool ending_ = false;

  WorkerPool pool_;
  BlockingPool instant_pool_;
  std::thread beat_thread_;
};

Dispatcher::Impl::Impl(Queue& queue, ArtifactStore& store, const Clock& clock, Metrics& metrics,
                       Options options)
    : queue_(queue),
      store_(store),
      clock_(clock),
      metrics_(metrics),
      options_(std::move(options)),
      runner_(store, clock, options_.input_files),
      beat_thread_([this] { beat_loop(); }) {
  instant_pool_.start(kInstantThreads, prepare_instant_thread);
}

Dispatcher::Impl::~Impl() {
  {
    std::unique_lock lock(mutex_);
    ending_ = true;
    wake_.notify_all();
  }
  beat_thread_.join();
  std::unique_lock lock(mutex_);
  timers_.clear();
  settled_.wait(lock, [this] { return calls_ == 0 && busy_ == 0; });
}

Result<void> Dispatcher::Impl::configure(std::shared_ptr<const Catalog> catalog) {
  for (const Model& model : catalog->models()) {
    if (!options_.executors.contains(model.executor.kind)) {
      return fail(ErrorCode::invalid_argument, fmt::format("model {}: there is no executor \"{}\"",
                                                           model.id, model.executor.kind));
    }
  }
  std::vector<LanePtr> served;
  {
    const std::scoped_lock lock(mutex_);
    for (auto& [id, lane] : lanes_) {
      lane->served = false;
      lane->metrics.slots.set(0);
    }
    for (const Model& model : catalog->models()) {
      LanePtr& lane = lanes_[model.id];
      if (!lane)
        lane = std::make_shared<ModelLane>(
            ModelLane{.metrics = LaneMetrics::make(metrics_, model.id)});
      lane->service = std::make_shared<const Service>(
          Service{.model = std::shared_ptr<const Model>(catalog, &model),
                  .executor = options_.executors.find(model.executor.kind)->second});
      lane->served = lane->has_tasks = true;
      lane->metrics.slots.set(model.concurrency);
      served.push_back(lane);
    }
    drop_idle_lanes();
  }
  for (const LanePtr& lane : served) pump(lane);
  return {};
}

// With the lock. Those of models that are served no more, unless something of them is under way and will be counted.
void Dispatcher::Impl::drop_idle_lanes() {
  for (auto it = lanes_.begin(); it != lanes_.end();) {
    if (!it->second->served) {
      const std::weak_ptr<ModelLane> others = std::exchange(it->second, nullptr);
      it->second = others.lock();
    }
    if (it->second) {
      ++it;
    } else {
      LaneMetrics::remove(metrics_, it->first);
      it = lanes_.erase(it);
    }
  }
}

// ---- claims

void Dispatcher::Impl::on_claimable(const std::string& model) {
  LanePtr lane;
  {
    const std::scoped_lock lock(mutex_);
    const auto found = lanes_.find(model);
    if (found == lanes_.end()) return;
    lane = found->second;
    lane->has_tasks = true;
  }
  pump(lane);
}

// A reply may come before claim() returns: the loop, and not a call from the reply, then goes on.
void Dispatcher::Impl::pump(const LanePtr& lane) {
  std::unique_lock lock(mutex_);
  if (lane->pumping) return;
  lane->pumping = true;
  while (!draining_) {
    const std::uint32_t count = lane->claim_count(options_.instant_batch);
    if (count == 0) break;
    lane->claiming = true;
    lane->has_tasks = false;
    ++calls_;
    const ServicePtr service = lane->service;
    ClaimRequest request{
        .model = service->model->id, .count_max = count, .lease_ttl = options_.lease_ttl};
    lock.unlock();
    queue_.claim(std::move(request),
                 [this, lane, service, count](Result<std::vector<Claim>> claims) {
                   on_claimed(lane, service, count, std::move(claims));
                   end_call();
                 });
    lock.lock();
  }
  lane->pumping = false;
}

void Dispatcher::Impl::on_claimed(const LanePtr& lane, const ServicePtr& service,
                                  std::uint32_t asked, Result<std::vector<Claim>> claims) {
  const bool more = !claims || claims->size() == asked;
  if (claims && service->executor->is_instant()) {
    // Not here: this thread is the queue's, and what is quick alone is not quick in hundreds.
    begin_call();
    return instant_pool_.post([this, lane, service, more, claims = std::move(*claims)]() mutable {
      run_all_instantly(lane, service, std::move(claims), more);
      end_call();
    });
  }
  if (claims) {
    start(lane, *service, std::move(*claims));
  } else {
    hold(lane, claims.error().message);
  }
  end_claim(lane, more);
}

// Only when the claims of its reply are enlisted or have run: before that, their slots look free.
void Dispatcher::Impl::end_claim(const LanePtr& lane, bool more) {
  {
    const std::scoped_lock lock(mutex_);
    lane->claiming = false;
    if (more) lane->has_tasks = true;
  }
  pump(lane);
}

void Dispatcher::Impl::hold(const LanePtr& lane, std::string_view reason) {
  milliseconds wait{};
  std::string model;
  {
    const std::scoped_lock lock(mutex_);
    if (lane->held) return;
    lane->held = true;
    if (lane->hold == milliseconds{0}) model = lane->service->model->id;
    wait = lane->hold = next_wait(lane->hold);
  }
  if (!model.empty()) {
    log_warn("no tasks can be started for now",
             {{"model", model}, {"reason", std::string(reason)}});
  }
  after(wait, [this, lane] {
    {
      const std::scoped_lock lock(mutex_);
      lane->held = false;
      lane->has_tasks = true;
    }
    pump(lane);
  });
}

// If this fails too, the lease runs out.
void Dispatcher::Impl::hand_back(const LanePtr& lane, const Claim& claim) {
  begin_call();
  queue_.finish(claim.lease, {.end = AttemptEnd::unstarted, .reason = "the server stopped"},
                [this, lane](Result<TaskState> state) {
                  (state ? lane->metrics.released : lane->metrics.lost).add();
                  end_call();
                });
}

// ---- attempts with a thread

void Dispatcher::Impl::start(const LanePtr& lane, const Service& service,
                             std::vector<Claim> claims) {
  for (Claim& claim : claims) {
    if (const WorkPtr work = enlist(lane, service, claim)) {
      pool_.run([this, work] { this->work(work); });
    } else {
      hand_back(lane, claim);
    }
  }
}

// Null once the drain has begun, which waits for those that are enlisted and no others.
WorkPtr Dispatcher::Impl::enlist(const LanePtr& lane, const Service& service, Claim& claim) {
  const Now now = clock_.now();
  std::unique_lock lock(mutex_);
  if (draining_) return nullptr;
  const auto work = std::make_shared<Work>(std::move(claim), lane, service, now);
  work->beat_at = now.steady + options_.lease_ttl / 3;
  work->attempt.set_hooks({.on_news = [this, raw = work.get()] { on_news(*raw); },
                           .on_work_ended = [this, raw = work.get()] { on_work_ended(*raw); }});
  works_.emplace(work->attempt.lease().token, work);
  ++busy_;
  ++lane->unfinished;
  lane->metrics.running.set(++lane->working);
  const SteadyTime first_due = std::min(work->beat_at, work->attempt.deadline());
  lock.unlock();
  wake_by(first_due);
  return work;
}

void Dispatcher::Impl::work(const WorkPtr& work) {
  AttemptRunner::Ran ran = runner_.run(work->attempt, *work->executor);
  if (ran.is_machine_short) hold(work->lane, ran.outcome.reason);
  // The beat thread may be about to hand over the last lines: after the finish they would be refused.
  work->attempt.send_last_news([&](Beat beat) { send_beat(work, std::move(beat)); });
  finish(work, std::move(ran.outcome));
  free_slot(*work);
  // The queue's thread, just woken for the finish and the next claim, may have been given this very core.
  std::this_thread::yield();
  runner_.clean_up(ran);
  const std::scoped_lock lock(mutex_);
  if (!ran.is_machine_short) work->lane->hold = {};
  if (--busy_ == 0) settled_.notify_all();
}

// A claim for the slot that came before the finish would find this task still running, and its key, at its limit,
// would lose its turn to another.
void Dispatcher::Impl::on_work_ended(Work& work) {
  if (!work.attempt.claim().key_is_limited) free_slot(work);
}

void Dispatcher::Impl::free_slot(Work& work) {
  {
    const std::scoped_lock lock(mutex_);
    if (!std::exchange(work.holds_slot, false)) return;
    work.lane->metrics.running.set(--work.lane->working);
  }
  pump(work.lane);
}

void Dispatcher::Impl::finish(const WorkPtr& work, Outcome outcome) {
  const RunningAttempt& attempt = work->attempt;
  const bool failed = outcome.end == AttemptEnd::failed;
  log(failed ? LogLevel::warn : LogLevel::info, failed ? "attempt failed" : "attempt ended",
      {{"task", attempt.lease().task.to_string()},
       {"key", attempt.claim().key},
       {"model", attempt.model().id},
       {"attempt", std::to_string(attempt.claim().attempt)},
       {"reason", outcome.reason}});
  send_finish(work, std::make_shared<const Outcome>(std::move(outcome)), kRepeatMin);
}

void Dispatcher::Impl::send_finish(const WorkPtr& work, std::shared_ptr<const Outcome> outcome,
                                   milliseconds wait) {
  if (work->attempt.stop_reason() == StopReason::lost) return settle(work, *outcome, false);
  begin_call();
  queue_.finish(work->attempt.lease(), *outcome,
                [this, work, outcome, wait](Result<TaskState> state) {
                  if (state || state.error().code != ErrorCode::unavailable) {
                    settle(work, *outcome, state.has_value());
                  } else {
                    // The store is full or busy. The lease is kept meanwhile, and with it the
                    // result.
                    if (wait >= kTouchFrom && !outcome->outputs.empty())
                      pool_.run([this, outcome] { store_.touch(outcome->outputs); });
                    after(wait, [=, this] { send_finish(work, outcome, next_wait(wait)); });
                  }
                  end_call();
                });
}

void Dispatcher::Impl::settle(const WorkPtr& work, const Outcome& outcome, bool accepted) {
  ModelLane& lane = *work->lane;
  {
    const std::scoped_lock lock(mutex_);
    works_.erase(work->attempt.lease().token);
    --lane.unfinished;
    settled_.notify_all();
  }
  (accepted ? lane.metrics.ended(outcome.end) : lane.metrics.lost).add();
  lane.metrics.seconds.observe(std::chrono::duration<double>(outcome.run_time).count());
  if (!accepted && !outcome.outputs.empty()) {
    pool_.run([this, outputs = outcome.outputs] { store_.remove(outputs); });
  }
  pump(work->lane);
}

void Dispatcher::Impl::send_beat(const WorkPtr& work, Beat beat) {
  begin_call();
  queue_.heartbeat(work->attempt.lease(), std::move(beat), [this, work](Result<BeatAnswer> answer) {
    if (answer && answer->cancel_requested) work->attempt.stop(StopReason::canceled);
    if (!answer && answer.error().code == ErrorCode::lease_lost) {
      work->attempt.stop(StopReason::lost);
    }
    end_call();
  });
}

void Dispatcher::Impl::on_news(const Work& work) {
  std::unique_lock lock(mutex_);
  const SteadyTime when = work.news_at;
  lock.unlock();
  wake_by(when);
}

void Dispatcher::Impl::on_stop(const Lease& lease, bool canceled) {
  WorkPtr work;
  {
    const std::scoped_lock lock(mutex_);
    const auto found = works_.find(lease.token);
    if (found == works_.end() || found->second->attempt.lease() != lease) return;
    work = found->second;
  }
  work->attempt.stop(canceled ? StopReason::canceled : StopReason::lost);
}

// ---- instant attempts

void Dispatcher::Impl::run_all_instantly(const LanePtr& lane, const ServicePtr& service,
                                         std::vector<Claim> claims, bool more) {
  for (Claim& claim : claims) run_instantly(lane, service, std::move(claim), kRepeatMin);
  {
    const std::scoped_lock lock(mutex_);
    lane->hold = {};
  }
  end_claim(lane, more);
}

// The claim is kept until the finish is accepted: running it again is cheaper than a copy of every outcome.
void Dispatcher::Impl::run_instantly(const LanePtr& lane, const ServicePtr& service, Claim claim,
                                     milliseconds wait) {
  Outcome outcome = runner_.run_instantly(claim, *service->model, *service->executor);
  Counter& counter = lane->metrics.ended(outcome.end);
  const Lease lease = claim.lease;
  begin_call();
  queue_.finish(lease, std::move(outcome),
                [this, lane, service, &counter, claim = std::move(claim),
                 wait](Result<TaskState> state) mutable {
                  if (state) {
                    counter.add();
                  } else if (state.error().code == ErrorCode::unavailable) {
                    // The lease is renewed by the finish itself, and by nothing else.
                    const milliseconds next = std::min(next_wait(wait), options_.lease_ttl / 3);
                    after(wait, [this, lane, service, claim = std::move(claim), next]() mutable {
                      run_instantly(lane, service, std::move(claim), next);
                    });
                  } else {
                    lane->metrics.lost.add();
                  }
                  end_call();
                });
}

// ---- time

// Has the beat thread look at what is due by `when`; wakes it only if by itself it would look later.
void Dispatcher::Impl::wake_by(SteadyTime when) {
  {
    const std::scoped_lock lock(mutex_);
    if (when >= looks_at_) return;
    looks_at_ = SteadyTime::min();
  }
  wake_.notify_one();
}

void Dispatcher::Impl::after(milliseconds wait, std::move_only_function<void()> call) {
  const SteadyTime when = clock_.now().steady + wait;
  {
    const std::scoped_lock lock(mutex_);
    timers_.push_back({when, std::move(call)});
  }
  wake_by(when);
}

void Dispatcher::Impl::beat_loop() {
  name_this_thread("quern-beat");
  std::unique_lock lock(mutex_);
  while (!ending_) {
    Due due;
    const SteadyTime now = clock_.now().steady;
    const SteadyTime next = collect_due(now, due);
    if (due.empty()) {
      looks_at_ = next;
      wake_.wait_for(lock, next - now, [&] { return looks_at_ != next || ending_; });
      looks_at_ = SteadyTime::min();
      continue;
    }
    lock.unlock();
    for (const WorkPtr& work : due.timeouts) work->attempt.stop(StopReason::timeout);
    for (const WorkPtr& work : due.beats) {
      work->attempt.send_news([&](Beat beat) { send_beat(work, std::move(beat)); });
    }
    for (Timer& timer : due.timers) timer.call();
    lock.lock();
  }
}

// Answers when there is something to do again.
SteadyTime Dispatcher::Impl::collect_due(SteadyTime now, Due& due) {
  SteadyTime next = now + kIdleWait;
  for (const auto& [token, work] : works_) {
    if (!work->timed_out && work->attempt.deadline() <= now) {
      work->timed_out = true;
      due.timeouts.push_back(work);
    }
    if (!work->timed_out) next = std::min(next, work->attempt.deadline());

    SteadyTime when = work->beat_at;
    if (work->attempt.has_news()) when = std::min(when, work->news_at);
    if (when <= now) {
      work->beat_at = when = now + options_.lease_ttl / 3;
      work->news_at = now + options_.news_interval;
      due.beats.push_back(work);
    }
    next = std::min(next, when);
  }
  const auto later = std::partition(timers_.begin(), timers_.end(),
                                    [&](const Timer& timer) { return timer.at > now; });
  due.timers.assign(std::make_move_iterator(later), std::make_move_iterator(timers_.end()));
  timers_.erase(later, timers_.end());
  for (const Timer& timer : timers_) next = std::min(next, timer.at);
  return next;
}

// ---- the end

void Dispatcher::Impl::begin_call() {
  const std::scoped_lock lock(mutex_);
  ++calls_;
}

void Dispatcher::Impl::end_call() {
  const std::scoped_lock lock(mutex_);
  if (--calls_ == 0) settled_.notify_all();
}

void Dispatcher::Impl::drain(milliseconds patience) {
  std::vector<WorkPtr> left;
  std::unique_lock lock(mutex_);
  draining_ = true;
  settled_.wait_for(lock, patience, [this] { return is_idle(); });
  for (const auto& [token, work] : works_) left.push_back(work);
  lock.unlock();
  for (const WorkPtr& work : left) work->attempt.stop(StopReason::shutdown);
  lock.lock();
  settled_.wait(lock, [this] { return busy_ == 0; });
  if (!settled_.wait_for(lock, kFinishMax, [this] { return is_idle(); })) {
    log_error("the queue took no more outcomes; these attempts count as crashed",
              {{"attempts", std::to_string(works_.size())}});
  }
}

Dispatcher::Dispatcher(Queue& queue, ArtifactStore& store, const Clock& clock, Metrics& metrics,
                       Options options)
    : impl_(std::make_unique<Impl>(queue, store, clock, metrics, std::move(options))) {}

Dispatcher::~Dispatcher() { impl_->drain({}); }

Result<void> Dispatcher::configure(std::shared_ptr<const Catalog> catalog) {
  return impl_->configure(std::move(catalog));
}

void Dispatcher::drain(milliseconds patience) { impl_->drain(patience); }

void Dispatcher::on_claimable(const std::string& model) { impl_->on_claimable(model); }

void Dispatcher::on_stop(const Lease& lease, bool canceled) { impl_->on_stop(lease, canceled); }

}  // namespace quern
