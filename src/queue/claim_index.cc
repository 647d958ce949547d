#include "queue/claim_index.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"
#include "task/fair_rank.h"

namespace quern {
namespace {

constexpr std::size_t kNormal = side_of(Priority::normal);
constexpr std::size_t kLow = side_of(Priority::low);
/// Batches in which a key gives way before it takes its place wherever it is claimed. In the first
/// one the place comes free. Who is told of it then may have a claim under way, which the second one
/// answers; so the third has a claim of everyone who can have one.
constexpr std::uint32_t kGiveWayMax = 3;

constexpr Membership with_working(Membership m) {
  return m == Membership::none || m == Membership::working ? Membership::working : Membership::both;
}
constexpr Membership without_working(Membership m) {
  return m == Membership::none || m == Membership::working ? Membership::none
                                                           : Membership::committed;
}

/// For a heap with the lowest finish tag on top.
bool is_later(const IdleLane& a, const IdleLane& b) { return a.finish > b.finish; }

template <typename T>
T& make_at(std::vector<std::unique_ptr<T>>& items, std::size_t i) {
  if (i >= items.size()) items.resize(i + 1);
  if (!items[i]) {
    items[i] = std::make_unique<T>();
    items[i]->index = static_cast<decltype(T::index)>(i);
  }
  return *items[i];
}

}  // namespace

std::uint64_t Lane::hash_of(ModelIndex model, Priority priority, KeyIndex key) {
  const std::uint64_t line = std::uint64_t{std::to_underlying(model)} * 2 + side_of(priority);
  return treap_height(((line << 32U) | std::to_underlying(key)) + 1);
}

// ---- models, keys and lanes --------------------------------------------------------------------

ModelQueue& ClaimIndex::model(ModelIndex index) {
  return make_at(models_, std::to_underlying(index));
}

Key& ClaimIndex::key(KeyIndex index) { return make_at(keys_, std::to_underlying(index)); }

const ModelQueue* ClaimIndex::find_model(ModelIndex index) const {
  const std::size_t i = std::to_underlying(index);
  return i < models_.size() ? models_[i].get() : nullptr;
}

LaneIndex ClaimIndex::lane(ModelQueue& model, Priority priority, Key& key) {
  const LaneIndex found = find_lane(model, priority, key);
  return found != kNoIndex ? found : add_lane(model, priority, key);
}

LaneIndex ClaimIndex::find_lane(const ModelQueue& model, Priority priority, const Key& key) const {
  return lanes_by_name_.find(
      Lane::hash_of(model.index, priority, key.index), [&](const Lane& lane) {
        return lane.model == &model && lane.priority == priority && lane.key == &key;
      });
}

LaneIndex ClaimIndex::add_lane(ModelQueue& model, Priority priority, Key& key) {
  Lane lane;
  lane.model = &model;
  lane.key = &key;
  lane.priority = priority;
  lane.next = key.first_lane;
  const LaneIndex added = lanes_.add(lane);
  lanes_by_name_.insert(added);
  if (key.first_lane != kNoIndex) lanes_[key.first_lane].previous = added;
  key.first_lane = added;
  return added;
}

void ClaimIndex::remove_lane(LaneIndex index) {
  const Lane& lane = lanes_[index];
  if (lane.previous == kNoIndex) {
    lane.key->first_lane = lane.next;
  } else {
    lanes_[lane.previous].next = lane.next;
  }
  if (lane.next != kNoIndex) lanes_[lane.next].previous = lane.previous;
  lanes_by_name_.erase(index);
  lanes_.remove(index);
}

// A lane without tasks matters only while its finish tag is ahead of the virtual time.
void ClaimIndex::retire(LaneIndex index) {
  Lane& lane = lanes_[index];
  if (lane.is_idle) return;
  const std::size_t side = side_of(lane.priority);
  if (lane.last_finish <= lane.model->state.clocks[side].now()) {
    remove_lane(index);
    return;
  }
  lane.is_idle = true;
  std::vector<IdleLane>& idle = lane.model->idle[side];
  idle.push_back({lane.last_finish, index});
  std::ranges::push_heap(idle, is_later);
}

void ClaimIndex::forget_idle(ModelQueue& model) {
  for (const std::size_t side : {kNormal, kLow}) {
    std::vector<IdleLane>& idle = model.idle[side];
    while (!idle.empty() && idle.front().finish <= model.state.clocks[side].now()) {
      const LaneIndex index = idle.front().lane;
      std::ranges::pop_heap(idle, is_later);
      idle.pop_back();
      lanes_[index].is_idle = false;
      if (lanes_[index].tasks == 0) retire(index);  // its finish tag may have grown meanwhile
    }
  }
}

void ClaimIndex::set_key(Key& key, const KeyPolicy& policy) {
  key.policy = policy;
  update_limit(key);
}

void ClaimIndex::set_paused(ModelQueue& model, bool paused) {
  model.paused = paused;
  if (first_claimable(model) != kNoIndex) list_claimable(model);
}

void ClaimIndex::update_limit(Key& key) {
  const bool at_limit = key.policy.running_max > 0 && key.running >= key.policy.running_max;
  if (at_limit == key.at_limit) return;
  key.at_limit = at_limit;
  for (LaneIndex i = key.first_lane; i != kNoIndex; i = lanes_[i].next) {
    show_head(i);
    if (lanes_[i].head != kNoIndex) list_claimable(*lanes_[i].model);
  }
}

// ---- tasks -------------------------------------------------------------------------------------

void ClaimIndex::attach(TaskIndex task) {
  Lane& lane = lane_of(task);
  ModelQueue& model = *lane.model;
  ++lane.tasks;
  tasks_[task].older = model.newest;
  if (model.newest == kNoIndex) {
    model.oldest = task;
  } else {
    tasks_[model.newest].newer = task;
    if (tasks_[task].id < tasks_[model.newest].id) model.is_age_sorted = false;
  }
  model.newest = task;
}

void ClaimIndex::detach(TaskIndex task) {
  Lane& lane = lane_of(task);
  ModelQueue& model = *lane.model;
  const TaskRecord& record = tasks_[task];
  (record.older == kNoIndex ? model.oldest : tasks_[record.older].newer) = record.newer;
  (record.newer == kNoIndex ? model.newest : tasks_[record.newer].older) = record.older;
  if (--lane.tasks == 0) retire(record.data.lane);
}

void ClaimIndex::put_in(TaskIndex task) {
  const TaskRecord& record = tasks_[task];
  Lane& lane = lane_of(task);
  if (record.data.state == TaskState::queued) {
    ++lane.key->queued;
    positions_.set_membership(lane.model->positions[side_of(record.priority)], task,
                              with_working(record.membership));
    if (!record.data.waiting) line_up(task);
  } else if (record.data.state == TaskState::running) {
    ++lane.model->running[side_of(record.priority)];
    ++lane.running;
    ++lane.key->running;
    update_limit(*lane.key);
  }
}

void ClaimIndex::take_out(TaskIndex task) {
  const TaskRecord& record = tasks_[task];
  Lane& lane = lane_of(task);
  if (record.data.state == TaskState::queued) {
    --lane.key->queued;
    positions_.set_membership(lane.model->positions[side_of(record.priority)], task,
                              without_working(record.membership));
    if (!record.data.waiting) step_out(task);
  } else if (record.data.state == TaskState::running) {
    --lane.model->running[side_of(record.priority)];
    --lane.running;
    --lane.key->running;
    update_limit(*lane.key);
  }
}

void ClaimIndex::settle(TaskIndex task) {
  const TaskRecord& record = tasks_[task];
  const bool is_queued = record.data.state == TaskState::queued;
  positions_.set_membership(lane_of(task).model->positions[side_of(record.priority)], task,
                            is_queued ? Membership::both : Membership::none);
}

void ClaimIndex::line_up(TaskIndex task) {
  Lane& lane = lane_of(task);
  lane_order_.insert(lane.root, task);
  if (lane.first == kNoIndex || is_before(task, lane.first)) lane.first = task;
  if (lane.last == kNoIndex || is_before(lane.last, task)) lane.last = task;
  show_head(tasks_[task].data.lane);
  if (!lane.key->at_limit) list_claimable(*lane.model);
}

void ClaimIndex::step_out(TaskIndex task) {
  Lane& lane = lane_of(task);
  lane_order_.erase(lane.root, task);
  if (task == lane.first) lane.first = lane_order_.first(lane.root);
  if (task == lane.last) lane.last = lane_order_.last(lane.root);
  show_head(tasks_[task].data.lane);
}

void ClaimIndex::show_head(LaneIndex index) {
  Lane& lane = lanes_[index];
  const TaskIndex head = lane.key->at_limit || lane.gives_way ? kNoIndex : lane.first;
  if (head == lane.head) return;
  PoolIndex& heads = lane.model->heads[side_of(lane.priority)];
  if (lane.head != kNoIndex) heads_.erase(heads, index);
  lane.head = head;
  if (head != kNoIndex) heads_.insert(heads, index);
}

void ClaimIndex::sort_by_age() {
  std::vector<TaskIndex> order;
  for (const std::unique_ptr<ModelQueue>& model : models_) {
    if (!model || model->is_age_sorted) continue;
    order.clear();
    for (TaskIndex i = model->oldest; i != kNoIndex; i = tasks_[i].newer) order.push_back(i);
    std::ranges::sort(order, {}, [this](TaskIndex i) { return tasks_[i].id; });
    TaskIndex older = kNoIndex;
    for (const TaskIndex i : order) {
      tasks_[i].older = older;
      (older == kNoIndex ? model->oldest : tasks_[older].newer) = i;
      older = i;
    }
    tasks_[older].newer = kNoIndex;
    model->newest = older;
    model->is_age_sorted = true;
  }
}

// ---- answers -----------------------------------------------------------------------------------

bool ClaimIndex::is_before(TaskIndex a, TaskIndex b) const {
  return is_claimed_before(tasks_[a].rank, tasks_[a].id, tasks_[b].rank, tasks_[b].id);
}

double ClaimIndex::next_rank(LaneIndex index) {
  const Lane& lane = lanes_[index];
  double finish = lane.last_finish;
  if (lane.last != kNoIndex) {
    finish = std::max(finish, finish_tag(tasks_[lane.last].rank, lane.key->policy.weight));
  }
  return lane.model->state.clocks[side_of(lane.priority)].rank(finish);
}

bool ClaimIndex::is_idle(const ModelQueue& model, Priority priority) const {
  const std::size_t side = side_of(priority);
  return model.running[side] == 0 && positions_.working_size(model.positions[side]) == 0;
}

TaskIndex ClaimIndex::first_claimable(ModelQueue& model) {
  const std::size_t preferred = side_of(first_served(model.state.claims));
  const std::size_t side = model.heads[preferred] != kNoIndex ? preferred : 1 - preferred;
  const LaneIndex first = heads_.first(model.heads[side]);
  return first == kNoIndex ? kNoIndex : lanes_[first].head;
}

std::uint64_t ClaimIndex::committed_position(TaskIndex task) const {
  const TaskRecord& record = tasks_[task];
  const ModelQueue& model = *lane_of(task).model;
  const std::size_t side = side_of(record.priority);
  const std::uint64_t before = positions_.committed_before(model.positions[side], record);
  return side == kNormal ? before : before + positions_.committed_size(model.positions[kNormal]);
}

std::uint64_t ClaimIndex::working_position(TaskIndex task) const {
  const TaskRecord& record = tasks_[task];
  const ModelQueue& model = *lane_of(task).model;
  const std::size_t side = side_of(record.priority);
  const std::uint64_t before = positions_.working_before(model.positions[side], record);
  return side == kNormal ? before : before + positions_.working_size(model.positions[kNormal]);
}

bool ClaimIndex::may_be_held_back(const Key& key) {
  const std::uint32_t limit = key.policy.running_max;
  return limit > 0 && key.queued + key.running > limit;
}

bool ClaimIndex::shares_places(const Lane& lane) const {
  for (LaneIndex i = lane.key->first_lane; i != kNoIndex; i = lanes_[i].next) {
    const Lane& other = lanes_[i];
    if (other.model == lane.model) continue;
    const bool may_start = other.first != kNoIndex && other.model->served && !other.model->paused;
    if (may_start || other.running > 0) return true;
  }
  return false;
}

// The ranks of a lane ascend by a share each, but for gaps and changed weights.
double ClaimIndex::tasks_before(const Lane& lane, double rank) const {
  if (lane.first == kNoIndex) return 0;
  const double ahead = rank - tasks_[lane.first].rank;
  return std::max(ahead / rank_share(lane.key->policy.weight), 0.0);
}

std::uint64_t ClaimIndex::position_in_key(TaskIndex task) const {
  const Lane& lane = lane_of(task);
  double before = tasks_before(lane, tasks_[task].rank);
  if (lane.priority == Priority::low) {
    const LaneIndex normal = find_lane(*lane.model, Priority::normal, *lane.key);
    if (normal != kNoIndex && lanes_[normal].last != kNoIndex) {
      before += tasks_before(lanes_[normal], tasks_[lanes_[normal].last].rank) + 1;
    }
  }
  return static_cast<std::uint64_t>(
      std::llround(std::min(before, static_cast<double>(lane.key->queued))));
}

std::uint64_t ClaimIndex::committed_queued(const ModelQueue& model) const {
  return positions_.committed_size(model.positions[kNormal]) +
         positions_.committed_size(model.positions[kLow]);
}

std::uint64_t ClaimIndex::working_queued(const ModelQueue& model) const {
  return positions_.working_size(model.positions[kNormal]) +
         positions_.working_size(model.positions[kLow]);
}

TaskIndex ClaimIndex::first_queued(const ModelQueue& model, Priority priority) const {
  return positions_.first_working(model.positions[side_of(priority)]);
}

TaskIndex ClaimIndex::first_queued(const ModelQueue& model) const {
  const TaskIndex normal = first_queued(model, Priority::normal);
  return normal != kNoIndex ? normal : first_queued(model, Priority::low);
}

// ---- keys that have fewer places than tasks that could start -----------------------------------

bool ClaimIndex::give_way(TaskIndex task) {
  Lane& lane = lane_of(task);
  Key& key = *lane.key;
  if (has_place(lane)) return false;
  if (!key.is_giving_way) {
    if (key.times_gave_way == kGiveWayMax) return false;
    ++key.times_gave_way;
    key.is_giving_way = true;
  }
  lane.gives_way = true;
  giving_way_.push_back(tasks_[task].data.lane);
  show_head(tasks_[task].data.lane);
  list_claimable(*lane.model);
  return true;
}

void ClaimIndex::end_giving_way() {
  for (const LaneIndex index : giving_way_) {
    lanes_[index].gives_way = false;
    lanes_[index].key->is_giving_way = false;
    show_head(index);
  }
  giving_way_.clear();
}

/// Not all of the places that the lane's key has left are for lanes that come before it.
bool ClaimIndex::has_place(const Lane& lane) const {
  const Key& key = *lane.key;
  if (key.policy.running_max == 0) return true;
  std::uint64_t places = key.policy.running_max - key.running;
  for (LaneIndex i = key.first_lane; i != kNoIndex && places > 0; i = lanes_[i].next) {
    if (is_served_before(lanes_[i], lane)) --places;
  }
  return places > 0;
}

/// By age, and normal before low but for every tenth time, as within a model. Of one model, its own
/// order decides; and for a model that cannot start its task nobody waits.
bool ClaimIndex::is_served_before(const Lane& other, const Lane& lane) const {
  if (other.model == lane.model || other.first == kNoIndex || !has_room(*other.model)) return false;
  if (other.priority != lane.priority) return other.priority == first_served(lane.key->claims);
  return tasks_[other.first].id < tasks_[lane.first].id;
}

/// As far as the queue knows: the slots are the dispatcher's.
bool ClaimIndex::has_room(const ModelQueue& model) const {
  return model.served && !model.paused &&
         model.running[kNormal] + model.running[kLow] < model.policy.slots;
}

// ---- claimable models --------------------------------------------------------------------------

void ClaimIndex::list_claimable(ModelQueue& model) {
  if (model.paused || model.is_listed_claimable) return;
  model.is_listed_claimable = true;
  claimable_.push_back(model.index);
}

void ClaimIndex::clear_claimable() {
  for (const ModelIndex index : claimable_) model(index).is_listed_claimable = false;
  claimable_.clear();
}

}  // namespace quern
