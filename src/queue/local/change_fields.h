#pragma once
// What each change consists of as bytes: the numbers of its kinds and values, and the order of its
// fields, once for both ways. change_codec.cc has the bytes themselves.

#include <concepts>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "queue/local/store_change.h"

namespace quern {

/// The byte that says which change follows. A number is never given to another kind.
template <typename Change>
inline constexpr std::uint8_t kTag = 0;
template <>
inline constexpr std::uint8_t kTag<InsertKey> = 1;
template <>
inline constexpr std::uint8_t kTag<InsertModel> = 2;
template <>
inline constexpr std::uint8_t kTag<SetPaused> = 3;
template <>
inline constexpr std::uint8_t kTag<InsertTask> = 4;
template <>
inline constexpr std::uint8_t kTag<UpdateTask> = 5;
template <>
inline constexpr std::uint8_t kTag<EndTask> = 6;
template <>
inline constexpr std::uint8_t kTag<ReviveTask> = 7;
template <>
inline constexpr std::uint8_t kTag<InsertAttempt> = 8;
template <>
inline constexpr std::uint8_t kTag<InsertLog> = 9;
template <>
inline constexpr std::uint8_t kTag<DropLogs> = 10;
template <>
inline constexpr std::uint8_t kTag<InsertIdempotency> = 11;
template <>
inline constexpr std::uint8_t kTag<RemoveIdempotency> = 12;
template <>
inline constexpr std::uint8_t kTag<RemoveEnded> = 13;
template <>
inline constexpr std::uint8_t kTag<ReserveLeaseTokens> = 14;

/// The last value of each enumeration, up to which all are in use.
constexpr TaskState last_of(TaskState) { return TaskState::canceled; }
constexpr ErrorType last_of(ErrorType) { return ErrorType::internal_server_error; }
constexpr LogSeverity last_of(LogSeverity) { return LogSeverity::debug; }
constexpr KeyIndex last_of(KeyIndex) { return KeyIndex{std::numeric_limits<std::uint32_t>::max()}; }
constexpr ModelIndex last_of(ModelIndex) {
  return ModelIndex{std::numeric_limits<std::uint32_t>::max()};
}

template <typename T, typename Record>
concept Of = std::same_as<std::remove_const_t<T>, Record>;

// What each record consists of, once for both ways: `io` is a Writer or a Reader. The bindings name
// every member, so that one more does not compile before it is written here too. packed() takes
// what is there or not: it shares a byte, and costs nothing more where it is not.

void fields(auto& io, Of<TaskRow> auto& row) {
  auto& [id, key, model, state, priority, no_retry, cancel_requested, start_timed_out,
         attempts_started, rank, lease_token, submitted, start_deadline, not_before, ended,
         error_type] = row;
  io(id, key, model, state, attempts_started, rank, lease_token, submitted, error_type);
  io.packed(priority, no_retry, cancel_requested, start_timed_out, start_deadline, not_before,
            ended);
}

void fields(auto& io, Of<AttemptRecord> auto& attempt) {
  auto& [sequence, token, number, started, ended, result, reason, retried, retry_at] = attempt;
  io(sequence, token, number, started, ended, result, reason);
  io.packed(retried, retry_at);
}

void fields(auto& io, Of<IdempotencyRecord> auto& record) {
  auto& [id, fingerprint, created] = record;
  io(id, fingerprint, created);
}

void fields(auto& io, Of<InsertKey> auto& change) {
  auto& [index, name] = change;
  io(index, name);
}

void fields(auto& io, Of<InsertModel> auto& change) {
  auto& [index, name] = change;
  io(index, name);
}

void fields(auto& io, Of<SetPaused> auto& change) {
  auto& [model, paused] = change;
  io(model);
  io.packed(paused);
}

void fields(auto& io, Of<InsertTask> auto& change) {
  auto& [row, input] = change;
  io(row, input);
}

void fields(auto& io, Of<UpdateTask> auto& change) {
  auto& [row, started] = change;
  io(row);
  io.packed(started);
}

void fields(auto& io, Of<EndTask> auto& change) {
  auto& [row, run_time, error, metadata_json, outputs, last] = change;
  io(row, run_time, error, metadata_json, outputs);
  io.packed(last);
}

void fields(auto& io, Of<ReviveTask> auto& change) {
  auto& [row] = change;
  io(row);
}

void fields(auto& io, Of<InsertAttempt> auto& change) {
  auto& [attempt] = change;
  io(attempt);
}

void fields(auto& io, Of<InsertLog> auto& change) {
  auto& [id, number, time, severity, from_quern, message] = change;
  io(id, number, time, severity, message);
  io.packed(from_quern);
}

void fields(auto& io, Of<DropLogs> auto& change) {
  auto& [id, first_kept] = change;
  io(id, first_kept);
}

void fields(auto& io, Of<InsertIdempotency> auto& change) {
  auto& [key, name, record] = change;
  io(key, name, record);
}

void fields(auto& io, Of<RemoveIdempotency> auto& change) {
  auto& [created_before, count_max] = change;
  io(created_before, count_max);
}

void fields(auto& io, Of<RemoveEnded> auto& change) {
  auto& [id] = change;
  io(id);
}

void fields(auto& io, Of<ReserveLeaseTokens> auto& change) {
  auto& [up_to] = change;
  io(up_to);
}

}  // namespace quern
