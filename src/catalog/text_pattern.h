#pragma once
// A regular expression of a schema, in the dialect of ECMAScript 3 that std::regex has.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quern {

/// A longer text (in characters) matches no pattern: 0.4 to 0.8 µs a character are spent on one.
inline constexpr std::size_t kPatternTextMax = 16'384;

/// Searched for anywhere in a text, by characters, not bytes. The cost grows with the length of the
/// text and of the pattern, never faster: no text can make it blow up. Threads: any.
class TextPattern {
 public:
  /// Errors: invalid_argument. Back-references, \p{…}, named groups and look-behind are not
  /// understood.
  static Result<TextPattern> compile(std::string_view pattern);
  ~TextPattern();
  TextPattern(TextPattern&&) noexcept;
  TextPattern& operator=(TextPattern&&) noexcept;

  [[nodiscard]] bool matches(std::string_view text) const;  // `text` is valid UTF-8
  /// The same; adds to `tries` how often a character was compared, which is what the match costs.
  [[nodiscard]] bool matches(std::string_view text, std::uint64_t& tries) const;
  [[nodiscard]] const std::string& source() const { return source_; }

 private:
  struct Compiled;
  TextPattern(std::string source, std::unique_ptr<const Compiled> compiled);

  std::string source_;
  std::unique_ptr<const Compiled> compiled_;
};

}  // namespace quern
