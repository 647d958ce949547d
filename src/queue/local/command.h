#pragma once
// What callers ask of the commit thread, with their replies.

#include <functional>
#include <optional>
#include <variant>
#include <vector>

#include "queue/core.h"
#include "queue/queue.h"

namespace quern {

// ---- commands that share a transaction

struct SubmitCommand {
  Submission submission;
  Reply<Submitted> reply;
  Result<Submitted> answer{};
};

struct ReplayCommand {
  IdempotencyKey key;
  Reply<std::optional<Submitted>> reply;
  Result<std::optional<Submitted>> answer{};
};

struct ClaimCommand {
  ClaimRequest request;
  Reply<std::vector<Claim>> reply;
  std::vector<Claimed> claimed{};
};

struct HeartbeatCommand {
  Lease lease;
  Beat beat;
  Reply<BeatAnswer> reply;
  Result<BeatAnswer> answer{};
};

struct FinishCommand {
  Lease lease;
  Outcome outcome;
  std::string stored_outputs;  // the outcome's, as encode_outputs() has them
  Reply<TaskState> reply;
  Result<TaskState> answer{};
};

struct CancelCommand {
  TaskRef ref;
  Reply<CancelAnswer> reply;
  /// Nothing: not a live task, so the ended ones are asked after the commit.
  std::optional<Result<CancelAnswer>> answer{};
};

struct PauseCommand {
  std::string model;
  bool paused = false;
  Reply<bool> reply;
  Result<bool> answer{};
};

/// Called after the transaction, whatever came of it.
struct AfterCommand {
  std::move_only_function<void()> then;
};

// ---- commands that have a transaction of their own

struct RetryCommand {
  TaskRef ref;
  Reply<TaskState> reply;
};

struct PurgeCommand {
  TaskRef ref;
  Reply<bool> reply;
};

struct ConfigureCommand {
  QueuePolicy policy;
  Reply<bool> reply;
};

using Command = std::variant<SubmitCommand, ReplayCommand, ClaimCommand, HeartbeatCommand,
                             FinishCommand, CancelCommand, PauseCommand, AfterCommand, RetryCommand,
                             PurgeCommand, ConfigureCommand>;

/// Whether the command has a transaction of its own.
inline bool is_alone(const Command& command) {
  return std::holds_alternative<RetryCommand>(command) ||
         std::holds_alternative<PurgeCommand>(command) ||
         std::holds_alternative<ConfigureCommand>(command);
}

}  // namespace quern
