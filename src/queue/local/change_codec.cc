#include "queue/local/change_codec.h"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/assert.h"
#include "queue/local/change_fields.h"

namespace quern {
namespace {

template <typename T>
concept Enumeration = std::is_enum_v<T>;

constexpr std::size_t kVarintBytesMax = 10;  // of 64 bits, seven a byte

constexpr std::uint64_t little_endian(std::uint64_t value) {
  return std::endian::native == std::endian::little ? value : std::byteswap(value);
}

/// Gathers small fields on the stack, so that `bytes` is appended to once or twice a change.
class Writer {
 public:
  explicit Writer(std::string& bytes) : bytes_(bytes) {}
  ~Writer() { flush(); }
  Writer(const Writer&) = delete;

  template <typename... Fields>
  void operator()(const Fields&... each) {
    (put(each), ...);
  }

  template <typename... Fields>
  void packed(const Fields&... each) {
    static_assert(sizeof...(each) <= 8);
    unsigned bits = 0;
    unsigned bit = 1;
    ((bits |= is_there(each) ? bit : 0U, bit <<= 1U), ...);
    put(static_cast<std::uint8_t>(bits));
    (put_packed(each), ...);
  }

 private:
  /// Space for the next `count` bytes, which are written at once.
  char* next(std::size_t count) {
    if (count > pending_.size() - used_) flush();
    return pending_.data() + std::exchange(used_, used_ + count);
  }
  void flush() {
    bytes_.append(pending_.data(), used_);
    used_ = 0;
  }

  void put(std::uint8_t byte) { *next(1) = static_cast<char>(byte); }
  void put(std::uint32_t value) { put(std::uint64_t{value}); }
  void put(std::uint64_t value) {
    char* const first = next(kVarintBytesMax);
    char* to = first;
    for (; value >= 0x80; value >>= 7U) *to++ = static_cast<char>(value | 0x80U);
    *to++ = static_cast<char>(value);
    used_ -= kVarintBytesMax - static_cast<std::size_t>(to - first);
  }
  void put(std::int64_t value) {
    put((static_cast<std::uint64_t>(value) << 1U) ^ static_cast<std::uint64_t>(value >> 63U));
  }
  void put(double value) { put_fixed(std::bit_cast<std::uint64_t>(value)); }
  void put(std::chrono::microseconds value) { put(std::int64_t{value.count()}); }
  void put(WallTime time) { put(time.time_since_epoch()); }
  void put(const TaskId& id) {
    put_fixed(id.high);
    put_fixed(id.low);
  }
  void put(std::string_view text) {
    put(std::uint64_t{text.size()});
    if (text.size() <= pending_.size()) {
      text.copy(next(text.size()), text.size());
    } else {
      flush();
      bytes_.append(text);
    }
  }
  template <std::size_t count>
  void put(const std::array<std::uint8_t, count>& array) {
    std::ranges::copy(array, next(count));
  }
  template <Enumeration T>
  void put(const T& value) {
    put(std::to_underlying(value));
  }
  template <typename Record>
  void put(const Record& record) {
    fields(*this, record);
  }
  void put_fixed(std::uint64_t value) {
    const auto raw = std::bit_cast<std::array<char, 8>>(little_endian(value));
    std::copy(raw.begin(), raw.end(), next(raw.size()));
  }

  static bool is_there(bool value) { return value; }
  static bool is_there(Priority priority) { return priority == Priority::low; }
  template <typename T>
  static bool is_there(const std::optional<T>& value) {
    return value.has_value();
  }

  void put_packed(bool) {}
  void put_packed(Priority) {}
  template <typename T>
  void put_packed(const std::optional<T>& value) {
    if (value) put(*value);
  }

  std::string& bytes_;
  std::array<char, 256> pending_;  // the first used_ of them
  std::size_t used_ = 0;
};

/// After the first fault there is nothing left to read: what is read from then on means nothing.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  [[nodiscard]] std::string_view rest() const { return rest_; }
  /// What is wrong, or null. Static.
  [[nodiscard]] const char* fault() const { return fault_; }
  void set_fault(const char* fault) {
    if (fault_ == nullptr) fault_ = fault;
    rest_ = {};
  }

  template <typename... Fields>
  void operator()(Fields&... each) {
    (take(each), ...);
  }

  template <typename... Fields>
  void packed(Fields&... each) {
    static_assert(sizeof...(each) <= 8);
    const unsigned bits = take_byte();
    if (bits >> sizeof...(each) != 0) set_fault("a flag that nothing stands for");
    unsigned bit = 1;
    ((set_there(each, (bits & bit) != 0), bit <<= 1U), ...);
    (take_packed(each), ...);
  }

 private:
  std::string_view take_bytes(std::uint64_t count) {
    if (count > rest_.size()) {
      set_fault("it ends within a change");
      return {};
    }
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  std::uint8_t take_byte() {
    const std::string_view taken = take_bytes(1);
    return taken.empty() ? std::uint8_t{0} : static_cast<std::uint8_t>(taken[0]);
  }
  std::uint64_t take_fixed() {
    std::array<char, 8> raw{};
    take_bytes(raw.size()).copy(raw.data(), raw.size());
    return little_endian(std::bit_cast<std::uint64_t>(raw));
  }
  /// In the one form that a Writer makes.
  std::uint64_t take_varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const std::uint64_t byte = take_byte();
      value |= (byte & 0x7fU) << shift;
      if (byte >= 0x80) continue;
      const bool is_too_long = shift > 0 && byte == 0;
      const bool is_too_large = shift == 63 && byte > 1;
      if (is_too_long || is_too_large) break;
      return value;
    }
    set_fault("a number that is too long");
    return 0;
  }

  void take(std::uint8_t& value) { value = take_byte(); }
  void take(std::uint32_t& value) {
    const std::uint64_t taken = take_varint();
    if (taken > std::numeric_limits<std::uint32_t>::max()) set_fault("a number that is too large");
    value = static_cast<std::uint32_t>(taken);
  }
  void take(std::uint64_t& value) { value = take_varint(); }
  void take(std::int64_t& value) {
    const std::uint64_t taken = take_varint();
    value = static_cast<std::int64_t>((taken >> 1U) ^ (0U - (taken & 1U)));
  }
  void take(double& value) { value = std::bit_cast<double>(take_fixed()); }
  void take(std::chrono::microseconds& value) {
    std::int64_t count = 0;
    take(count);
    value = std::chrono::microseconds{count};
  }
  void take(WallTime& time) {
    std::chrono::microseconds since_epoch{0};
    take(since_epoch);
    time = WallTime{since_epoch};
  }
  void take(TaskId& id) {
    id.high = take_fixed();
    id.low = take_fixed();
  }
  void take(std::string_view& text) { text = take_bytes(take_varint()); }
  template <std::size_t count>
  void take(std::array<std::uint8_t, count>& array) {
    std::ranges::copy(take_bytes(count), array.data());
  }
  template <Enumeration T>
  void take(T& value) {
    std::underlying_type_t<T> taken{};
    take(taken);
    if (taken > std::to_underlying(last_of(T{}))) {
      set_fault("a value that nothing stands for");
      return;
    }
    value = static_cast<T>(taken);
  }
  template <typename Record>
  void take(Record& record) {
    fields(*this, record);
  }

  static void set_there(bool& value, bool is_there) { value = is_there; }
  static void set_there(Priority& priority, bool is_there) {
    priority = is_there ? Priority::low : Priority::normal;
  }
  template <typename T>
  static void set_there(std::optional<T>& value, bool is_there) {
    if (is_there) value.emplace();
  }

  void take_packed(bool&) {}
  void take_packed(Priority&) {}
  template <typename T>
  void take_packed(std::optional<T>& value) {
    if (value) take(*value);
  }

  std::string_view rest_;
  const char* fault_ = nullptr;
};

/// Reads a change of kind `index` or of a later one, as its tag says.
template <std::size_t index = 0>
void read_tagged(Reader& io, std::uint8_t tag, StoreChange& change) {
  if constexpr (index == std::variant_size_v<StoreChange>) {
    io.set_fault("a change of an unknown kind");
  } else if (tag == kTag<std::variant_alternative_t<index, StoreChange>>) {
    fields(io, change.emplace<index>());
  } else {
    read_tagged<index + 1>(io, tag, change);
  }
}

}  // namespace

void encode_change(const StoreChange& change, std::string& bytes) {
  Writer io(bytes);
  std::visit(
      [&]<typename Change>(const Change& content) {
        static_assert(kTag<Change> != 0, "give it a number");
        io(kTag<Change>, content);
      },
      change);
}

Result<StoreChange> ChangeReader::next() {
  QUERN_ASSERT(!is_at_end());
  Reader io(rest_);
  std::uint8_t tag = 0;
  io(tag);
  StoreChange change;
  read_tagged(io, tag, change);
  rest_ = io.rest();
  if (io.fault() != nullptr) {
    return fail(ErrorCode::data_loss,
                std::string("a record of the redo log is damaged: ") + io.fault());
  }
  return change;
}

}  // namespace quern
