#include "http/byte_budget.h"

#include "base/assert.h"

namespace quern::http {

ByteBudget::ByteBudget(std::uint64_t bytes_max, Metrics& metrics)
    : bytes_max_(bytes_max),
      gauge_(metrics.gauge("quern_http_memory_bytes",
                           "Large bodies and answers that are in memory now.")),
      refusals_(metrics.counter("quern_http_memory_refusals_total",
                                "Requests refused because large bodies and answers in memory were "
                                "too many.")) {}

bool ByteBudget::try_take(Account account, std::uint64_t bytes, std::uint64_t own) {
  const std::scoped_lock lock(mutex_);
  if (!fits(account, bytes, own)) return false;
  gauge_.set(static_cast<double>(held_ += bytes));
  held_by_[account] += bytes;
  return true;
}

void ByteBudget::give_back(Account account, std::uint64_t bytes) {
  const std::scoped_lock lock(mutex_);
  const auto held = held_by_.find(account);
  QUERN_ASSERT(held != held_by_.end() && bytes <= held->second);
  gauge_.set(static_cast<double>(held_ -= bytes));
  if ((held->second -= bytes) == 0) held_by_.erase(held);
}

bool ByteBudget::has_room(Account account, std::uint64_t bytes) const {
  if (bytes <= kUncountedBytes) return true;
  const std::scoped_lock lock(mutex_);
  return fits(account, bytes - kUncountedBytes, 0);
}

bool ByteBudget::fits(Account account, std::uint64_t bytes, std::uint64_t own) const {
  if (held_ == own) return true;
  if (bytes > bytes_max_ || held_ > bytes_max_ - bytes) return false;
  const auto held = held_by_.find(account);
  const std::uint64_t of_account = held == held_by_.end() ? 0 : held->second;
  return of_account == own || of_account + bytes <= bytes_max_ / 2;
}

bool ByteHold::grow(ByteBudget& budget, Account account, std::uint64_t bytes) {
  QUERN_ASSERT(budget_ == nullptr || (budget_ == &budget && account_ == account));
  if (bytes <= kUncountedBytes + bytes_) return true;
  const std::uint64_t more = bytes - kUncountedBytes - bytes_;
  if (!budget.try_take(account, more, bytes_)) return false;
  budget_ = &budget;
  account_ = account;
  bytes_ += more;
  return true;
}

void ByteHold::release() {
  if (budget_ == nullptr) return;
  std::exchange(budget_, nullptr)->give_back(account_, std::exchange(bytes_, 0));
}

}  // namespace quern::http
