#pragma once
// Threads that another has work for, woken when it has handed out all of it.

#include <memory>
#include <vector>

namespace quern {

class Wakeable {
 public:
  virtual ~Wakeable() = default;
  /// Threads: any. Once for each time that there is work again.
  virtual void wake() = 0;
};

/// While one lives, the wakes of its thread wait for its end. Without it, whoever is woken first may
/// take the core from the thread that woke it, find a single piece of work, and be woken again for the
/// next. The thread may not block before release() or the end.
///
/// Threads: that which makes it; one at a time on each.
class DelayedWakes {
 public:
  DelayedWakes();
  ~DelayedWakes();
  DelayedWakes(const DelayedWakes&) = delete;
  DelayedWakes& operator=(const DelayedWakes&) = delete;

  /// What has waited so far is woken now, such as before a call that may block.
  void release();

  /// Wakes `sleeper` at the end of this thread's DelayedWakes, or now if it has none.
  static void wake(std::shared_ptr<Wakeable> sleeper);

 private:
  std::vector<std::shared_ptr<Wakeable>> sleepers_;
};

}  // namespace quern
