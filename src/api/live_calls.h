#pragma once
// Answers that are held open: event streams and ?wait=. A drain ends those of ?wait=, the stop after it the streams, a
// reload those whose key is gone.

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

namespace quern::api {

class LiveCall {
 public:
  virtual ~LiveCall() = default;
  /// Answers, or ends the stream, with what one more look shows. May come more than once, and at any moment.
  virtual void end() = 0;
  [[nodiscard]] virtual bool is_stream() const = 0;
  /// The id of the caller's key.
  [[nodiscard]] virtual const std::string& key() const = 0;
};

/// Owns them: a call lives from add() to remove(). Threads: any.
class LiveCalls {
 public:
  /// False when `count_max` are open already.
  bool add(const std::shared_ptr<LiveCall>& call, std::size_t count_max);
  void remove(const LiveCall* call);
  void end_all();
  void end_if(const std::function<bool(const LiveCall&)>& condition);
  [[nodiscard]] std::size_t size() const;

 private:
  mutable std::mutex mutex_;  // guards calls_
  std::unordered_map<const LiveCall*, std::shared_ptr<LiveCall>> calls_;
};

}  // namespace quern::api
