#pragma once
// Which task is claimed next: models, keys, and the lanes where they meet.
//
// A lane is one (model, priority, key). Its queued tasks that may start stand in claim order in a
// tree of their own, and only the first of them is shown to the model, in a tree of lane heads for
// each priority. So a key at its limit of running tasks hides one head a lane, however many tasks
// wait behind it, and a claim never scans. Everything here is the working state of the open batch,
// but for the committed half of the positions.
//
// A key below its limit may have tasks first in line at several models. Its last places go to the
// oldest of these tasks, whichever model claims first: the others give way to it for a few batches.

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "queue/position_tree.h"
#include "queue/task_table.h"
#include "queue/treap.h"
#include "task/fair_rank.h"

namespace quern {

template <typename T>
using PerPriority = std::array<T, 2>;

/// What a batch may change of a model beside its tasks.
struct ModelState {
  PerPriority<FairClock> clocks;
  std::uint64_t claims = 0;
  std::uint64_t runs = 0;             // that were observed
  std::optional<double> run_seconds;  // exponentially weighted mean of them
};

/// A lane without tasks that must be remembered until the virtual time has come to its finish tag.
struct IdleLane {
  double finish = 0;
  LaneIndex lane = kNoIndex;
};

struct ModelQueue {
  ModelIndex index{};
  ModelPolicy policy;
  bool paused = false;
  bool served = true;
  bool is_listed_claimable = false;
  bool is_open = false;       // touched by the open batch; `saved` is as it was before
  bool is_age_sorted = true;  // else restore() has met rows out of order
  ModelState state;
  ModelState saved;
  PerPriority<std::uint64_t> running{};
  std::uint64_t running_committed = 0;
  PerPriority<PoolIndex> positions{kNoIndex, kNoIndex};
  PerPriority<PoolIndex> heads{kNoIndex, kNoIndex};
  TaskIndex oldest = kNoIndex;
  TaskIndex newest = kNoIndex;
  PerPriority<std::vector<IdleLane>> idle;  // heaps, the lowest finish tag first
};

struct Key {
  KeyIndex index{};
  KeyPolicy policy;
  std::uint64_t queued = 0;
  std::uint64_t running = 0;
  bool at_limit = false;
  bool is_giving_way = false;        // in the open batch
  std::uint32_t times_gave_way = 0;  // batches since its last claim
  std::uint64_t claims = 0;          // those that were rolled back, too
  LaneIndex first_lane = kNoIndex;
};

struct Lane {
  ModelQueue* model = nullptr;
  Key* key = nullptr;
  double last_finish = 0;  // the highest finish tag of its tasks that were claimed
  double saved_last_finish = 0;
  std::uint32_t tasks = 0;  // records that name this lane
  std::uint32_t running = 0;
  Priority priority = Priority::normal;
  bool is_open = false;
  bool is_idle = false;           // in the model's heap of idle lanes
  bool gives_way = false;         // shows no head until the open batch ends
  LaneIndex previous = kNoIndex;  // of the key
  LaneIndex next = kNoIndex;
  PoolIndex chain = kNoIndex;
  PoolIndex root = kNoIndex;   // its tasks that may start,
  TaskIndex first = kNoIndex;  // the ends of these,
  TaskIndex last = kNoIndex;
  TaskIndex head = kNoIndex;  // and the one shown to the model, if any
  PoolIndex left = kNoIndex;  // in the model's tree of heads
  PoolIndex right = kNoIndex;

  static std::uint64_t hash_of(ModelIndex model, Priority priority, KeyIndex key);
  [[nodiscard]] std::uint64_t hash() const { return hash_of(model->index, priority, key->index); }
};

inline std::uint64_t slots_of(const ModelQueue& model) {
  return std::max<std::uint64_t>(model.policy.slots, 1);
}
/// How many tasks of the key may run at the model at once.
inline std::uint64_t places_of(const Key& key, const ModelQueue& model) {
  const std::uint64_t limit = key.policy.running_max;
  return limit > 0 ? std::min(limit, slots_of(model)) : slots_of(model);
}

constexpr std::size_t side_of(Priority priority) { return std::to_underlying(priority); }

class ClaimIndex {
 public:
  explicit ClaimIndex(TaskTable& tasks) : tasks_(tasks), positions_(tasks) {}
  ClaimIndex(const ClaimIndex&) = delete;

  // -- models, keys and lanes; made with default policies when first named
  ModelQueue& model(ModelIndex index);
  Key& key(KeyIndex index);
  [[nodiscard]] const ModelQueue* find_model(ModelIndex index) const;
  [[nodiscard]] std::span<const std::unique_ptr<ModelQueue>> models() const { return models_; }
  [[nodiscard]] std::uint64_t lane_count() const { return lanes_by_name_.size(); }
  LaneIndex lane(ModelQueue& model, Priority priority, Key& key);
  [[nodiscard]] Lane& lane_of(TaskIndex task) { return lanes_[tasks_[task].data.lane]; }
  [[nodiscard]] const Lane& lane_of(TaskIndex task) const { return lanes_[tasks_[task].data.lane]; }
  Lane& operator[](LaneIndex lane) { return lanes_[lane]; }
  void set_key(Key& key, const KeyPolicy& policy);
  void set_paused(ModelQueue& model, bool paused);

  // -- tasks
  /// A new record joins its lane and its model's tasks, as the youngest.
  void attach(TaskIndex task);
  /// The reverse, before the record goes. Its lane goes too when nothing needs it any more.
  void detach(TaskIndex task);
  /// Counts the task and lines it up, as its data say. It must be out.
  void put_in(TaskIndex task);
  void take_out(TaskIndex task);
  /// The committed positions follow the working ones.
  void settle(TaskIndex task);
  /// Puts each model's tasks in the order of their ids, after restore().
  void sort_by_age();

  // -- answers
  /// The rank of the next task of this lane. A task that was canceled before it was claimed costs its
  /// key nothing, unless later ones of the key wait behind it.
  [[nodiscard]] double next_rank(LaneIndex lane);
  /// No task of this priority waits or runs.
  [[nodiscard]] bool is_idle(const ModelQueue& model, Priority priority) const;
  /// What the model's next claim takes, or kNoIndex. A pause is the caller's business.
  [[nodiscard]] TaskIndex first_claimable(ModelQueue& model);
  /// Queued tasks of the task's model that would be claimed before it.
  [[nodiscard]] std::uint64_t committed_position(TaskIndex task) const;
  [[nodiscard]] std::uint64_t working_position(TaskIndex task) const;
  /// The key's limit of running tasks may keep some of them waiting.
  [[nodiscard]] static bool may_be_held_back(const Key& key);
  /// Tasks of the lane's key run at other models, or may start there: how many of its places are left
  /// for this one, nobody knows.
  [[nodiscard]] bool shares_places(const Lane& lane) const;
  /// About how many of its key's tasks start at the task's model before it, in the open batch.
  [[nodiscard]] std::uint64_t position_in_key(TaskIndex task) const;
  [[nodiscard]] std::uint64_t committed_queued(const ModelQueue& model) const;
  [[nodiscard]] std::uint64_t working_queued(const ModelQueue& model) const;
  /// Any queued task of the model, or kNoIndex: the first one, normal before low.
  [[nodiscard]] TaskIndex first_queued(const ModelQueue& model) const;
  [[nodiscard]] TaskIndex first_queued(const ModelQueue& model, Priority priority) const;

  // -- keys that have fewer places than tasks that could start
  /// The task is what first_claimable() has answered. True if the places that its key has left are
  /// for older tasks of other models: then something else comes first until the batch ends, and the
  /// model is listed as claimable.
  [[nodiscard]] bool give_way(TaskIndex task);
  void end_giving_way();

  // -- claimable models
  void list_claimable(ModelQueue& model);
  [[nodiscard]] std::span<const ModelIndex> claimable() const { return claimable_; }
  void clear_claimable();

  /// Forgets lanes without tasks whose finish tag the virtual time has come to.
  void forget_idle(ModelQueue& model);

 private:
  struct Heads {
    ClaimIndex& index;

    PoolIndex& left(LaneIndex i) { return index.lanes_[i].left; }
    PoolIndex& right(LaneIndex i) { return index.lanes_[i].right; }
    bool before(LaneIndex a, LaneIndex b) {
      return index.is_before(index.lanes_[a].head, index.lanes_[b].head);
    }
    std::uint32_t height(LaneIndex i) { return treap_height(i + 1); }
    void gain(LaneIndex, LaneIndex) {}
    void lose(LaneIndex, LaneIndex) {}
    void pull(LaneIndex) {}
  };
  struct LaneOrder {
    ClaimIndex& index;

    PoolIndex& left(TaskIndex i) { return index.tasks_[i].lane_left; }
    PoolIndex& right(TaskIndex i) { return index.tasks_[i].lane_right; }
    bool before(TaskIndex a, TaskIndex b) { return index.is_before(a, b); }
    std::uint32_t height(TaskIndex i) { return treap_height(index.tasks_[i].hash()); }
    void gain(TaskIndex, TaskIndex) {}
    void lose(TaskIndex, TaskIndex) {}
    void pull(TaskIndex) {}
  };

  [[nodiscard]] bool is_before(TaskIndex a, TaskIndex b) const;
  [[nodiscard]] LaneIndex find_lane(const ModelQueue& model, Priority priority,
                                    const Key& key) const;
  LaneIndex add_lane(ModelQueue& model, Priority priority, Key& key);
  void remove_lane(LaneIndex index);
  void retire(LaneIndex index);
  void line_up(TaskIndex task);
  void step_out(TaskIndex task);
  void show_head(LaneIndex index);
  void update_limit(Key& key);
  [[nodiscard]] double tasks_before(const Lane& lane, double rank) const;
  [[nodiscard]] bool has_room(const ModelQueue& model) const;
  [[nodiscard]] bool is_served_before(const Lane& other, const Lane& lane) const;
  [[nodiscard]] bool has_place(const Lane& lane) const;

  TaskTable& tasks_;
  PositionTree positions_;
  std::vector<std::unique_ptr<ModelQueue>> models_;  // by index
  std::vector<std::unique_ptr<Key>> keys_;           // by index
  Pool<Lane> lanes_;
  LinearHash<Lane> lanes_by_name_{lanes_};
  Treap<LaneOrder> lane_order_{LaneOrder{*this}};
  Treap<Heads> heads_{Heads{*this}};
  std::vector<ModelIndex> claimable_;
  std::vector<LaneIndex> giving_way_;
};

}  // namespace quern
