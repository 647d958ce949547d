#pragma once
// The bytes that came in and were not used yet, in one piece of memory.

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

#include "base/assert.h"

namespace quern::http {

/// Operation: read into tail(), commit(), look at view(), consume(). Consuming moves no byte, so
/// views of what was consumed stay good until make_room() or release(). Limits: grows only in
/// make_room(); the caller bounds it.
class ReadBuffer {
 public:
  [[nodiscard]] std::string_view view() const { return {data_.get() + begin_, end_ - begin_}; }
  [[nodiscard]] std::size_t size() const { return end_ - begin_; }
  [[nodiscard]] bool empty() const { return begin_ == end_; }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }
  /// The free bytes behind the content.
  [[nodiscard]] std::span<char> tail() const { return {data_.get() + end_, capacity_ - end_}; }

  void commit(std::size_t bytes) {
    QUERN_ASSERT(bytes <= capacity_ - end_);
    end_ += bytes;
  }
  void consume(std::size_t bytes) {
    QUERN_ASSERT(bytes <= size());
    begin_ += bytes;
  }

  /// Moves the content to the front, into more memory if fewer than `bytes_free` bytes are free
  /// then. Memory doubles from `capacity_first`. Ends every view.
  void make_room(std::size_t bytes_free, std::size_t capacity_first) {
    if (capacity_ - size() >= bytes_free) {
      std::memmove(data_.get(), data_.get() + begin_, size());
    } else {
      std::size_t capacity = std::max(capacity_, capacity_first);
      while (capacity - size() < bytes_free) capacity *= 2;
      auto data = std::make_unique_for_overwrite<char[]>(capacity);
      if (!empty()) std::memcpy(data.get(), data_.get() + begin_, size());
      data_ = std::move(data);
      capacity_ = capacity;
    }
    end_ -= begin_;
    begin_ = 0;
  }

  void append(std::string_view bytes) {
    QUERN_ASSERT(bytes.size() <= capacity_ - end_);
    std::memcpy(data_.get() + end_, bytes.data(), bytes.size());
    end_ += bytes.size();
  }

  /// Gives the memory and the content up.
  void release() { *this = ReadBuffer(); }

  ReadBuffer() = default;
  ReadBuffer(ReadBuffer&& other) noexcept { swap(other); }
  ReadBuffer& operator=(ReadBuffer&& other) noexcept {
    ReadBuffer taken(std::move(other));
    swap(taken);
    return *this;
  }

 private:
  void swap(ReadBuffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(begin_, other.begin_);
    std::swap(end_, other.end_);
    std::swap(capacity_, other.capacity_);
  }

  std::unique_ptr<char[]> data_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace quern::http
