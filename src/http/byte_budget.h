#pragma once
// What a server keeps in memory for its callers, all together: bodies that come in, answers that are not taken yet.

#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "base/metrics.h"

namespace quern::http {

/// Nobody has to ask for this much, so that a small request goes on whatever large ones hold.
inline constexpr std::uint64_t kUncountedBytes = 64 * 1024;

/// Who pays for a hold: a number of the handler's choice, the same for all requests of one caller.
using Account = std::uint64_t;

/// An account holds half of the maximum at most, or one hold of any size. Who is alone may have any amount: a limit
/// below the size of one body would else never let it through. Threads: any. Outlives its holds.
class ByteBudget {
 public:
  ByteBudget(std::uint64_t bytes_max, Metrics& metrics);

  /// More for a hold of `own` bytes. False, and nothing is taken, if there is no room.
  bool try_take(Account account, std::uint64_t bytes, std::uint64_t own = 0);
  void give_back(Account account, std::uint64_t bytes);
  /// Whether a new hold could grow to `bytes` at this moment.
  [[nodiscard]] bool has_room(Account account, std::uint64_t bytes) const;
  /// Counts a request that is refused for want of room.
  void count_refusal() { refusals_.add(); }

 private:
  [[nodiscard]] bool fits(Account account, std::uint64_t bytes, std::uint64_t own) const;

  const std::uint64_t bytes_max_;
  mutable std::mutex mutex_;  // guards what follows, and keeps the gauge in step with it
  std::uint64_t held_ = 0;
  std::unordered_map<Account, std::uint64_t> held_by_;  // without those that hold nothing
  Gauge& gauge_;
  Counter& refusals_;
};

/// A part of a budget, given back at its end. Movable. Threads: one at a time.
class ByteHold {
 public:
  ByteHold() = default;
  ByteHold(ByteHold&& other) noexcept { swap(other); }
  ByteHold& operator=(ByteHold&& other) noexcept {
    swap(other);
    return *this;
  }
  ~ByteHold() { release(); }

  /// To hold at least what `bytes` in memory need. False: there is no room, nothing has changed.
  bool grow(ByteBudget& budget, Account account, std::uint64_t bytes);
  void release();

 private:
  void swap(ByteHold& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(account_, other.account_);
    std::swap(bytes_, other.bytes_);
  }

  ByteBudget* budget_ = nullptr;  // null: nothing is held
  Account account_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace quern::http
