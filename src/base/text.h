#pragma once
// Text put together from pieces.

#include <array>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

namespace quern {

/// A whole number in decimal digits, as a piece of text that needs no memory.
class DecimalText {
 public:
  explicit DecimalText(std::uint64_t number)
      : end_(std::to_chars(digits_.data(), digits_.data() + digits_.size(), number).ptr) {}
  DecimalText(const DecimalText&) = delete;
  DecimalText& operator=(const DecimalText&) = delete;

  operator std::string_view() const { return {digits_.data(), end_}; }

 private:
  std::array<char, 20> digits_;
  const char* end_;
};

/// Appends all of `parts`, none of which is of `out` itself; `out` grows at most once. Always inline:
/// where the length of a literal is known, copying it takes no call.
template <typename... Parts>
[[gnu::always_inline]] inline void append_all(std::string& out, const Parts&... parts) {
  const std::size_t before = out.size();
  const std::size_t after = before + (std::string_view(parts).size() + ...);
  out.resize_and_overwrite(after, [&](char* text, std::size_t) {
    char* at = text + before;
    const auto put = [&at](std::string_view part) {
      std::char_traits<char>::copy(at, part.data(), part.size());
      at += part.size();
    };
    (put(std::string_view(parts)), ...);
    return after;
  });
}

}  // namespace quern
