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

// The last `count` digits of `number`, up to `end`.
void write_digits(char* end, unsigned count, std::uint64_t number) {
  for (; count > 0; --count, number >>= 5U) *--end = digit(number);
}

std::optional<std::uint64_t> read_digits(std::string_view digits) {
  std::uint64_t number = 0;
  unsigned seen = 0;  // the bits of all their values; what is no digit has all bits
  for (const char c : digits) {
    const std::uint8_t value = kDigitValues[static_cast<unsigned char>(c)];
    seen |= value;
    number = (number << 5U) | value;
  }
  if (seen == kNotADigit) return std::nullopt;
  return number;
}

}  // namespace

// 128 bits are 3 + 12 * 5 + 1 bits of `high`, then 4 + 12 * 5 bits of `low`: digit 13 has bits of
// both.
TaskIdText TaskId::text() const {
  TaskIdText text;
  static_assert(text.chars_.size() == kPrefix.size() + kDigits);
  char* const digits = std::ranges::copy(kPrefix, text.chars_.data()).out;
  write_digits(digits + 13, 13, high >> 1U);
  digits[13] = digit((high << 4U) | (low >> 60U));
  write_digits(digits + kDigits, 12, low);
  return text;
}

std::optional<TaskId> TaskId::parse(std::string_view text) {
  if (text.size() != kPrefix.size() + kDigits || !text.starts_with(kPrefix)) return std::nullopt;
  text.remove_prefix(kPrefix.size());

  if (text.front() > '7') return std::nullopt;  // has no place in 128 bits
  const auto upper = read_digits(text.substr(0, 13));
  const auto middle = read_digits(text.substr(13, 1));
  const auto lower = read_digits(text.substr(14));
  if (!upper || !middle || !lower) return std::nullopt;
  return TaskId{.high = (*upper << 1U) | (*middle >> 4U), .low = (*middle << 60U) | *lower};
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
