#include "base/delayed_wakes.h"

#include <utility>

#include "base/assert.h"

namespace quern {
namespace {

thread_local DelayedWakes* current = nullptr;

}  // namespace

DelayedWakes::DelayedWakes() {
  QUERN_ASSERT(current == nullptr);
  current = this;
}

DelayedWakes::~DelayedWakes() {
  current = nullptr;
  release();
}

void DelayedWakes::release() {
  for (const auto& sleeper : std::exchange(sleepers_, {})) sleeper->wake();
}

void DelayedWakes::wake(std::shared_ptr<Wakeable> sleeper) {
  if (current == nullptr) return sleeper->wake();
  current->sleepers_.push_back(std::move(sleeper));
}

}  // namespace quern
