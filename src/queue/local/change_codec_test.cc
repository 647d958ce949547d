#include "queue/local/change_codec.h"

#include <gtest/gtest.h>

#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace quern {
namespace {

using std::chrono::microseconds;
using namespace std::string_view_literals;

constexpr std::uint64_t kMax64 = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint32_t kMax32 = std::numeric_limits<std::uint32_t>::max();

constexpr WallTime at(std::int64_t microseconds_since_1970) {
  return WallTime{microseconds{microseconds_since_1970}};
}

// All members of each kind, to compare by.
auto members(const AttemptRecord& a) {
  return std::tie(a.sequence, a.token, a.number, a.started, a.ended, a.result, a.reason, a.retried,
                  a.retry_at);
}
auto members(const IdempotencyRecord& r) { return std::tie(r.id, r.fingerprint, r.created); }
auto members(const InsertKey& c) { return std::tie(c.index, c.name); }
auto members(const InsertModel& c) { return std::tie(c.index, c.name); }
auto members(const SetPaused& c) { return std::tie(c.model, c.paused); }
auto members(const InsertTask& c) { return std::tie(c.row, c.input); }
auto members(const UpdateTask& c) { return std::tie(c.row, c.started); }
auto members(const EndTask& c) {
  return std::tuple_cat(
      std::tie(c.row, c.run_time, c.error, c.metadata_json, c.outputs),
      std::tuple(c.last.transform([](const AttemptRecord& a) { return members(a); })));
}
auto members(const ReviveTask& c) { return std::tie(c.row); }
auto members(const InsertAttempt& c) { return members(c.attempt); }
auto members(const InsertLog& c) {
  return std::tie(c.id, c.number, c.time, c.severity, c.from_quern, c.message);
}
auto members(const DropLogs& c) { return std::tie(c.id, c.first_kept); }
auto members(const InsertIdempotency& c) {
  return std::tuple_cat(std::tie(c.key, c.name), members(c.record));
}
auto members(const RemoveIdempotency& c) { return std::tie(c.created_before, c.count_max); }
auto members(const RemoveEnded& c) { return std::tie(c.id); }
auto members(const ReserveLeaseTokens& c) { return std::tie(c.up_to); }

bool is_same(const StoreChange& one, const StoreChange& other) {
  return std::visit(
      []<typename A, typename B>(const A& a, const B& b) {
        if constexpr (std::is_same_v<A, B>) return members(a) == members(b);
        return false;
      },
      one, other);
}

std::string encode(const std::vector<StoreChange>& changes) {
  std::string bytes;
  for (const StoreChange& change : changes) encode_change(change, bytes);
  return bytes;
}

/// What a record holds up to its end or to the first damage, which is the only error there is.
struct Decoded {
  std::vector<StoreChange> changes;
  bool is_whole = true;
};

Decoded decode(std::string_view bytes) {
  Decoded decoded;
  ChangeReader reader(bytes);
  while (!reader.is_at_end()) {
    const Result<StoreChange> change = reader.next();
    if (!change) {
      EXPECT_EQ(change.error().code, ErrorCode::data_loss);
      EXPECT_TRUE(change.error().message.starts_with("a record of the redo log is damaged"));
      decoded.is_whole = false;
      break;
    }
    decoded.changes.push_back(*change);
  }
  return decoded;
}

void expect_kept(const std::vector<StoreChange>& changes) {
  const std::string bytes = encode(changes);
  const Decoded decoded = decode(bytes);
  EXPECT_TRUE(decoded.is_whole);
  ASSERT_EQ(decoded.changes.size(), changes.size());
  for (std::size_t i = 0; i < changes.size(); ++i) {
    EXPECT_TRUE(is_same(decoded.changes[i], changes[i])) << i << ", kind " << changes[i].index();
  }
}

TaskRow full_row() {
  return {.id = {0x0123'4567'89ab'cdef, 0xfedc'ba98'7654'3210},
          .key = KeyIndex{300},
          .model = ModelIndex{4},
          .state = TaskState::canceled,
          .priority = Priority::low,
          .no_retry = true,
          .cancel_requested = true,
          .start_timed_out = true,
          .attempts_started = 5,
          .rank = 6.25,
          .lease_token = 70'000,
          .submitted = at(1'764'192'000'000'008),
          .start_deadline = at(9),
          .not_before = at(10),
          .ended = at(11),
          .error_type = ErrorType::internal_server_error};
}

AttemptRecord full_attempt() {
  return {.sequence = 1,
          .token = 2,
          .number = 3,
          .started = at(4),
          .ended = at(5),
          .result = "crashed",
          .reason = "signal 9 (Killed)",
          .retried = true,
          .retry_at = at(6)};
}

/// One of each kind.
std::vector<StoreChange> full_changes() {
  const TaskId id{1, 2};
  IdempotencyRecord record{.id = id, .created = at(3)};
  record.fingerprint.fill(0xab);
  record.fingerprint[0] = 0;
  return {InsertKey{KeyIndex{1}, "key"},
          InsertModel{ModelIndex{2}, "model"},
          SetPaused{ModelIndex{3}, true},
          InsertTask{full_row(), R"({"prompt":"hi"})"},
          UpdateTask{full_row(), at(12)},
          EndTask{full_row(), microseconds{13}, "error", "{}", "[{}]", full_attempt()},
          ReviveTask{full_row()},
          InsertAttempt{full_attempt()},
          InsertLog{id, 14, at(15), LogSeverity::debug, true, "line"},
          DropLogs{id, 16},
          InsertIdempotency{KeyIndex{17}, "name", record},
          RemoveIdempotency{at(18), 19},
          RemoveEnded{id},
          ReserveLeaseTokens{20}};
}

/// One of each kind, with nothing in it.
std::vector<StoreChange> bare_changes() {
  std::vector<StoreChange> changes;
  [&]<std::size_t... index>(std::index_sequence<index...>) {
    (changes.emplace_back(std::in_place_index<index>), ...);
  }(std::make_index_sequence<std::variant_size_v<StoreChange>>());
  return changes;
}

TEST(ChangeCodec, GivesBackEveryFieldOfEveryKindInTheOrderOfTheRecord) {
  const std::vector<StoreChange> changes = full_changes();

  std::set<std::size_t> kinds;
  for (const StoreChange& change : changes) kinds.insert(change.index());
  EXPECT_EQ(kinds.size(), std::variant_size_v<StoreChange>);
  expect_kept(changes);
}

TEST(ChangeCodec, GivesBackEveryKindWithNothingInIt) { expect_kept(bare_changes()); }

TEST(ChangeCodec, TellsTheFlagsOfARowApart) {
  std::vector<TaskRow> rows(7);
  rows[0].priority = Priority::low;
  rows[1].no_retry = true;
  rows[2].cancel_requested = true;
  rows[3].start_timed_out = true;
  rows[4].start_deadline = at(1);
  rows[5].not_before = at(1);
  rows[6].ended = at(1);

  for (const TaskRow& row : rows) expect_kept({ReviveTask{row}});
}

TEST(ChangeCodec, KeepsTimesAndNumbersAtTheirLimits) {
  for (const std::int64_t extreme :
       {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max(),
        std::int64_t{-1}, std::int64_t{63}, std::int64_t{64}, std::int64_t{-65}}) {
    TaskRow row = full_row();
    row.submitted = at(extreme);
    row.start_deadline = row.not_before = row.ended = at(extreme);
    AttemptRecord attempt = full_attempt();
    attempt.sequence = extreme;
    attempt.started = attempt.ended = at(extreme);
    attempt.retry_at = at(extreme);
    expect_kept({UpdateTask{row, at(extreme)}, InsertAttempt{attempt},
                 EndTask{.row = row, .run_time = microseconds{extreme}, .last = attempt},
                 RemoveIdempotency{at(extreme), kMax64}});
  }
  TaskRow row{.id = {kMax64, kMax64}, .key = KeyIndex{kMax32}, .model = ModelIndex{kMax32}};
  row.attempts_started = kMax32;
  row.lease_token = kMax64;
  expect_kept({ReviveTask{row}, ReserveLeaseTokens{kMax64}, DropLogs{{0, kMax64}, kMax64}});
  for (unsigned shift = 0; shift < 64; ++shift) {
    expect_kept({ReserveLeaseTokens{1ULL << shift}, ReserveLeaseTokens{(1ULL << shift) - 1}});
  }
}

TEST(ChangeCodec, KeepsTextsOfAnySizeAndContent) {
  expect_kept({InsertKey{KeyIndex{1}, ""}, InsertKey{KeyIndex{2}, "\0a\0\xff"sv}});
  for (const std::size_t size : {127U, 128U, 240U, 255U, 256U, 257U, 1U << 20U}) {
    const std::string text(size, 'x');
    expect_kept({InsertTask{full_row(), text},
                 EndTask{.error = text, .metadata_json = "{}", .outputs = text},
                 InsertLog{.number = 1, .message = text}});
  }
}

TEST(ChangeCodec, KeepsEveryBitOfARank) {
  for (const std::uint64_t bits :
       {std::bit_cast<std::uint64_t>(std::numeric_limits<double>::infinity()),
        std::bit_cast<std::uint64_t>(-0.0), std::uint64_t{0x7ff8'0000'0000'0001},
        std::uint64_t{0xfff0'0000'dead'beef}, std::uint64_t{0x0102'0304'0506'0708}}) {
    const std::string bytes = encode({ReviveTask{{.rank = std::bit_cast<double>(bits)}}});

    const Decoded decoded = decode(bytes);

    const double rank = std::get<ReviveTask>(decoded.changes.at(0)).row.rank;
    EXPECT_EQ(std::bit_cast<std::uint64_t>(rank), bits);
  }
}

TEST(ChangeCodec, EndsAtABorderOrIsDamagedWhereverARecordIsCut) {
  const std::vector<StoreChange> changes = full_changes();
  std::string bytes;
  std::vector<std::size_t> borders = {0};
  for (const StoreChange& change : changes) {
    encode_change(change, bytes);
    borders.push_back(bytes.size());
  }

  std::size_t whole = 0;  // changes before the cut
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    if (cut == borders[whole + 1]) ++whole;
    const std::vector<char> start(bytes.data(),
                                  bytes.data() + cut);  // so that a read too far shows
    const Decoded decoded = decode({start.data(), start.size()});
    EXPECT_EQ(decoded.is_whole, cut == borders[whole]) << cut;
    EXPECT_EQ(decoded.changes.size(), whole) << cut;
  }
}

TEST(ChangeCodec, ReadsOtherValuesOrDamageWhereAByteIsFlipped) {
  for (const std::string& bytes : {encode(full_changes()), encode(bare_changes())}) {
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      for (const unsigned flipped : {1U, 2U, 4U, 8U, 16U, 32U, 64U, 128U, 255U}) {
        std::vector<char> other(bytes.begin(), bytes.end());
        other[at] = static_cast<char>(static_cast<unsigned char>(other[at]) ^ flipped);
        const std::string_view record(other.data(), other.size());

        const Decoded decoded = decode(record);

        // There is one form of each value, so what was read is written as it was.
        const std::string again = encode(decoded.changes);
        EXPECT_EQ(again, record.substr(0, again.size())) << at;
        EXPECT_TRUE(!decoded.is_whole || again.size() == record.size()) << at;
      }
    }
  }
}

TEST(ChangeCodec, RefusesKindsThatItDoesNotKnow) {
  std::set<char> known;
  for (const StoreChange& change : bare_changes()) known.insert(encode({change})[0]);
  ASSERT_EQ(known.size(), std::variant_size_v<StoreChange>);

  for (unsigned tag = 0; tag < 256; ++tag) {
    const std::string bytes = static_cast<char>(tag) + std::string(300, '\0');
    EXPECT_EQ(decode(bytes).changes.empty(), !known.contains(bytes[0])) << tag;
  }
}

TEST(ChangeCodec, RefusesNumbersThatAreTooLongOrTooLarge) {
  const std::string tag = encode({ReserveLeaseTokens{}}).substr(0, 1);
  const std::string nine(9, '\xff');
  EXPECT_TRUE(decode(tag + nine + "\x01").is_whole);
  EXPECT_FALSE(decode(tag + nine + "\x02").is_whole);
  EXPECT_FALSE(decode(tag + nine + "\x81\x01").is_whole);
  EXPECT_FALSE(decode(tag + std::string("\x80\x00", 2)).is_whole) << "one byte would do";

  const std::string paused = encode({SetPaused{}}).substr(0, 1);
  EXPECT_TRUE(decode(paused + "\xff\xff\xff\xff\x0f\x01").is_whole);
  EXPECT_FALSE(decode(paused + "\xff\xff\xff\xff\x1f\x01").is_whole);
}

TEST(ChangeCodec, RefusesTextsThatAreLongerThanTheirRecord) {
  const std::string head = encode({InsertKey{}}).substr(0, 2);
  EXPECT_TRUE(decode(head + "\x03" + "abc").is_whole);
  EXPECT_FALSE(decode(head + "\x04" + "abc").is_whole);
  EXPECT_FALSE(decode(head + std::string(9, '\xff') + "\x01" + "abc").is_whole);
}

/// A record of `last`, with the byte that makes it differ from `other` raised by one.
std::string beyond(const StoreChange& last, const StoreChange& other) {
  std::string bytes = encode({last});
  const std::string from = encode({other});
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] == from[i]) continue;
    ++bytes[i];
    break;
  }
  return bytes;
}

TEST(ChangeCodec, RefusesValuesThatNothingStandsFor) {
  const TaskRow row;
  EXPECT_FALSE(
      decode(beyond(ReviveTask{{.state = TaskState::canceled}}, ReviveTask{row})).is_whole);
  EXPECT_FALSE(
      decode(beyond(ReviveTask{{.error_type = ErrorType::internal_server_error}}, ReviveTask{row}))
          .is_whole);
  EXPECT_FALSE(decode(beyond(InsertLog{.severity = LogSeverity::debug}, InsertLog{})).is_whole);
  EXPECT_FALSE(decode(beyond(SetPaused{.paused = true}, SetPaused{})).is_whole) << "no such flag";
}

TEST(ChangeCodec, HasNothingAfterTheEnd) {
  ChangeReader reader("");
  EXPECT_DEATH((void)reader.next(), "broken invariant");
}

TEST(ChangeCodec, KeepsALifeInFewerThan600Bytes) {
  const std::string input(100, 'i');
  const std::string outputs(150, 'o');
  TaskRow row{.id = {0x019a'bcde'f012'0003, 0x1123'4567'89ab'cdef}, .key = KeyIndex{7}};
  row.model = ModelIndex{3};
  row.rank = 123'456.789;
  row.submitted = at(1'764'192'000'123'456);
  row.start_deadline = at(1'764'195'600'123'456);
  std::string bytes = encode({InsertTask{row, input}});
  row.state = TaskState::running;
  row.attempts_started = 1;
  row.lease_token = 12'345'678;
  row.start_deadline.reset();
  const WallTime started = at(1'764'192'000'125'000);
  encode_change(UpdateTask{row, started}, bytes);
  row.state = TaskState::succeeded;
  row.ended = at(1'764'192'000'127'000);
  AttemptRecord last{.sequence = row.id.sequence(), .token = std::exchange(row.lease_token, 0)};
  last.number = 1;
  last.started = started;
  last.ended = *row.ended;
  last.result = "succeeded";
  encode_change(
      EndTask{.row = row, .run_time = microseconds{1'234}, .outputs = outputs, .last = last},
      bytes);

  RecordProperty("bytes", std::to_string(bytes.size()));
  EXPECT_LT(bytes.size(), 600U);
  EXPECT_EQ(decode(bytes).changes.size(), 3U);
}

}  // namespace
}  // namespace quern
