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
  decltype(calls_)::node_type gone;  // dies outside of the lock: its end may lead back here
  const std::scoped_lock lock(mutex_);
  gone = calls_.extract(call);
}

void LiveCalls::end_all() {
  end_if([](const LiveCall&) { return true; });
}

void LiveCalls::end_if(const std::function<bool(const LiveCall&)>& condition) {
  std::vector<std::shared_ptr<LiveCall>> ending;
  {
    const std::scoped_lock lock(mutex_);
    for (const auto& [address, call] : calls_) {
      if (condition(*call)) ending.push_back(call);
    }
  }
  for (const auto& call : ending) call->end();
}

std::size_t LiveCalls::size() const {
  const std::scoped_lock lock(mutex_);
  return calls_.size();
}

}  // namespace quern::api
