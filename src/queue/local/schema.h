#pragma once
// The tables of the embedded store, version 3.
//
// seq      TaskId::sequence(): ascending, so every table of tasks is appended to at its end
// chance   the 60 random bits that make the rest of the id
// times    microseconds since 1970, UTC
// flags    bits of TaskFlag (journal_rows.h)
// Live tasks and ended ones are two tables: recovery reads the first, however many have ended, and
// neither needs an index over its state.
// body     a task's input. Small ones are in the task's own row, which goes to the disk anyway: one
//          row a create, not two. Larger ones are in `input`, so that a change of state rewrites a
//          short row; their `body` is null.
// last_…   the attempt that a task ended with, if one did: most tasks have no other. Earlier ones
//          are in `attempt`, and so is the last one of a task that is queued again.

#include <cstddef>

namespace quern {

inline constexpr int kSchemaVersion = 3;
inline constexpr std::size_t kInlineInputBytesMax = 1'024;

inline constexpr const char* kSchema = R"sql(
CREATE TABLE key_name (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE model_name (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
                         paused INTEGER NOT NULL DEFAULT 0);

CREATE TABLE task (
  seq INTEGER PRIMARY KEY, chance INTEGER NOT NULL, key INTEGER NOT NULL, model INTEGER NOT NULL,
  state INTEGER NOT NULL, flags INTEGER NOT NULL, attempts INTEGER NOT NULL, rank REAL NOT NULL,
  token INTEGER NOT NULL, submitted INTEGER NOT NULL, start_deadline INTEGER, not_before INTEGER,
  started INTEGER, body BLOB);

CREATE TABLE input (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);

CREATE TABLE ended (
  seq INTEGER PRIMARY KEY, chance INTEGER NOT NULL, key INTEGER NOT NULL, model INTEGER NOT NULL,
  state INTEGER NOT NULL, flags INTEGER NOT NULL, attempts INTEGER NOT NULL,
  submitted INTEGER NOT NULL, ended INTEGER NOT NULL, run_time INTEGER NOT NULL,
  error_type INTEGER NOT NULL, error TEXT NOT NULL, metadata TEXT NOT NULL, outputs TEXT NOT NULL,
  last_token INTEGER, last_number INTEGER, last_started INTEGER, last_result TEXT,
  last_reason TEXT, body BLOB);
CREATE INDEX ended_by_time ON ended (ended);

CREATE TABLE attempt (
  seq INTEGER NOT NULL, token INTEGER NOT NULL, number INTEGER NOT NULL, started INTEGER NOT NULL,
  ended INTEGER NOT NULL, result TEXT NOT NULL, reason TEXT NOT NULL, retried INTEGER NOT NULL,
  retry_at INTEGER, PRIMARY KEY (seq, token)) WITHOUT ROWID;

CREATE TABLE log (
  seq INTEGER NOT NULL, number INTEGER NOT NULL, time INTEGER NOT NULL, severity INTEGER NOT NULL,
  from_quern INTEGER NOT NULL, message TEXT NOT NULL, PRIMARY KEY (seq, number)) WITHOUT ROWID;

CREATE TABLE idempotency (
  seq INTEGER PRIMARY KEY, chance INTEGER NOT NULL, key INTEGER NOT NULL, name TEXT NOT NULL,
  fingerprint BLOB NOT NULL, created INTEGER NOT NULL, UNIQUE (key, name));

CREATE TABLE store (id INTEGER PRIMARY KEY CHECK (id = 0), probes INTEGER NOT NULL,
                    lease_tokens INTEGER NOT NULL);
INSERT INTO store VALUES (0, 0, 0);
)sql";

/// From version 1, which had every body in `input`.
inline constexpr const char* kSchemaFrom1 = R"sql(
ALTER TABLE task ADD COLUMN body BLOB;
ALTER TABLE ended ADD COLUMN body BLOB;
)sql";

/// From version 2, which had every attempt in `attempt`; those stay there.
inline constexpr const char* kSchemaFrom2 = R"sql(
ALTER TABLE ended ADD COLUMN last_token INTEGER;
ALTER TABLE ended ADD COLUMN last_number INTEGER;
ALTER TABLE ended ADD COLUMN last_started INTEGER;
ALTER TABLE ended ADD COLUMN last_result TEXT;
ALTER TABLE ended ADD COLUMN last_reason TEXT;
)sql";

}  // namespace quern
