#include "api/live_calls.h"

#include <vector>

namespace quern::api {

bool LiveCalls::add(const std::shared_ptr<LiveCall>& call, std::size_t count_max) {
  const std::scoped_lock lock(mutex_);
  if (calls_.size() >= count_max) return false;
  calls_.emplace(call.get(), call);
  return true;
}

void LiveCalls::remove(const LiveCall* call) {
  const std::scoped_lock lock(mutex_);
  calls_.erase(call);
}

void LiveCalls::end_all() {
  std::vector<std::shared_ptr<LiveCall>> open;
  {
    const std::scoped_lock lock(mutex_);
    for (const auto& [key, weak] : calls_) {
      if (auto call = weak.lock()) open.push_back(std::move(call));
    }
  }
  for (const auto& call : open) call->end();
}

std::size_t LiveCalls::size() const {
  const std::scoped_lock lock(mutex_);
  return calls_.size();
}

}  // namespace quern::api
