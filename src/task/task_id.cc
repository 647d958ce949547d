#include "task/task_id.h"

#include <algorithm>
#include <array>

#include "base/assert.h"

namespace quern {
namespace {

constexpr std::string_view kPrefix = "mmsu_";
constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr std::size_t kDigits = 26;
constexpr std::uint8_t kNotADigit = 0xff;
constexpr unsigned kCounterBits = 20;
constexpr std::int64_t kMillisecondsMax = (std::int64_t{1} << 43U) - 1;  // the year 2248

constexpr std::array<std::uint8_t, 256> make_digit_values() {
  std::array<std::uint8_t, 256> values{};
  values.fill(kNotADigit);
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}
constexpr auto kDigitValues = make_digit_values();

constexpr char digit(std::uint64_t value) { return kAlphabet[value & 31U]; }

}  // namespace

// 128 bits are 3 + 12 * 5 + 1 bits of `high`, then 4 + 12 * 5 bits of `low`: digit 13 has bits of
// both.
TaskIdText TaskId::text() const {
  TaskIdText text;
  static_assert(text.chars_.size() == kPrefix.size() + kDigits);
  char* digits = std::ranges::copy(kPrefix, text.chars_.data()).out;
  *digits++ = digit(high >> 61U);
  for (unsigned i = 0; i < 12; ++i) *digits++ = digit(high >> (56U - 5U * i));
  *digits++ = digit(((high & 1U) << 4U) | (low >> 60U));
  for (unsigned i = 0; i < 12; ++i) *digits++ = digit(low >> (55U - 5U * i));
  return text;
}

std::optional<TaskId> TaskId::parse(std::string_view text) {
  if (text.size() != kPrefix.size() + kDigits || !text.starts_with(kPrefix)) return std::nullopt;
  text.remove_prefix(kPrefix.size());

  TaskId id;
  for (const char c : text) {
    const std::uint8_t value = kDigitValues[static_cast<unsigned char>(c)];
    if (value == kNotADigit) return std::nullopt;
    if (id.high >> 59U != 0) return std::nullopt;  // a first digit over 7 has no place in 128 bits
    id.high = (id.high << 5U) | (id.low >> 59U);
    id.low = (id.low << 5U) | value;
  }
  return id;
}

TaskIdGenerator::TaskIdGenerator(Random& random, std::int64_t last_sequence)
    : random_(random), last_(last_sequence) {}

TaskId TaskIdGenerator::next(WallTime now) {
  const auto since_1970 =
      std::chrono::floor<std::chrono::milliseconds>(now.time_since_epoch()).count();
  const std::int64_t ms = std::clamp<std::int64_t>(since_1970, 0, kMillisecondsMax);
  // A clock that stands still, or goes back, counts on from the last id; past the counter's end
  // that borrows from the next millisecond.
  last_ = std::max(last_ + 1, ms << kCounterBits);
  QUERN_ASSERT(last_ > 0);

  const auto sequence = static_cast<std::uint64_t>(last_);
  return {.high = sequence >> 4U, .low = (sequence << 60U) | (random_.next_u64() >> 4U)};
}

}  // namespace quern
