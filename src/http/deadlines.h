#pragma once
// When connections must have moved on. Each kind of deadline has one duration, so a list in order
// of arming is in order of expiry too: arming is a few pointer moves, and a sweep looks at what
// expires only.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace quern::http {

enum class Deadline : std::uint8_t {
  setup,   // from accept to the first byte of a request, with the TLS handshake
  idle,    // between requests
  head,    // from the first byte of a head to its last
  body,    // without a byte of the body
  write,   // without a byte of the answer being taken
  linger,  // from the end of the last answer, or a byte of the refused body, to the peer's own end
};
inline constexpr std::size_t kDeadlineKinds = 6;

using CoarseTime = std::chrono::steady_clock::time_point;

/// Links that a connection derives from. Disarms itself.
class DeadlineEntry {
 public:
  DeadlineEntry() = default;
  DeadlineEntry(const DeadlineEntry&) = delete;
  DeadlineEntry& operator=(const DeadlineEntry&) = delete;

  [[nodiscard]] bool is_armed() const { return next_ != this; }
  [[nodiscard]] bool is_armed(Deadline kind) const { return is_armed() && kind_ == kind; }

  void disarm() {
    next_->previous_ = previous_;
    previous_->next_ = next_;
    next_ = previous_ = this;
  }

 protected:
  ~DeadlineEntry() { disarm(); }

 private:
  friend class Deadlines;
  DeadlineEntry* next_ = this;
  DeadlineEntry* previous_ = this;
  CoarseTime due_{};
  Deadline kind_ = Deadline::setup;
};

/// Concurrency: one thread. Limits: none of its own; an entry is in one list at most.
class Deadlines {
 public:
  using Durations = std::array<std::chrono::milliseconds, kDeadlineKinds>;

  explicit Deadlines(const Durations& durations) : durations_(durations) {}

  void arm(DeadlineEntry& entry, Deadline kind, CoarseTime now) {
    entry.disarm();
    const auto i = static_cast<std::size_t>(kind);
    entry.kind_ = kind;
    entry.due_ = now + durations_[i];
    DeadlineEntry& list = lists_[i];
    entry.previous_ = list.previous_;
    entry.next_ = &list;
    list.previous_->next_ = &entry;
    list.previous_ = &entry;
  }

  /// Disarms each entry that is due and calls `on_expired(entry, kind)`, which may arm and disarm
  /// any.
  template <typename OnExpired>
  void expire(CoarseTime now, OnExpired&& on_expired) {
    for (DeadlineEntry& list : lists_) {
      while (list.is_armed() && list.next_->due_ <= now) {
        DeadlineEntry& entry = *list.next_;
        entry.disarm();
        on_expired(entry, entry.kind_);
      }
    }
  }

  [[nodiscard]] bool empty() const {
    for (const DeadlineEntry& list : lists_) {
      if (list.is_armed()) return false;
    }
    return true;
  }

 private:
  struct List : DeadlineEntry {};  // the ring's fixed point

  Durations durations_;
  std::array<List, kDeadlineKinds> lists_;
};

}  // namespace quern::http
