#pragma once
// A regular expression of a schema, in the dialect of ECMAScript 3 that std::regex has.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quern {

/// No pattern is tried on a longer text (in characters): an ordinary one spends 0.4 to 0.8 µs a character.
inline constexpr std::size_t kPatternTextMax = 16'384;

/// Searched for anywhere in a text, by characters, not bytes. The cost grows with the length of the
/// text times that of the pattern with its repetitions written out, never faster. Threads: any.
class TextPattern {
 public:
  /// Errors: invalid_argument. Back-references, \p{…}, named groups and look-behind are not
  /// understood.
  static Result<TextPattern> compile(std::string_view pattern);
  ~TextPattern();
  TextPattern(TextPattern&&) noexcept;
  TextPattern& operator=(TextPattern&&) noexcept;

  [[nodiscard]] static bool takes(std::string_view text);
  /// `text` is valid UTF-8. Takes from `tries_left` how often a character is compared, which is what the
  /// match costs. Nothing: they were too few, or it does not take the text.
  [[nodiscard]] std::optional<bool> matches(std::string_view text, std::uint64_t& tries_left) const;
  [[nodiscard]] const std::string& source() const { return source_; }

 private:
  struct Compiled;
  TextPattern(std::string source, std::unique_ptr<const Compiled> compiled);

  std::string source_;
  std::unique_ptr<const Compiled> compiled_;
};

}  // namespace quern
