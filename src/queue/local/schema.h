#pragma once
// The tables of the embedded store, version 4.
//
// seq      TaskId::sequence(): ascending, so every table of tasks is appended to at its end
// chance   the 60 random bits that make the rest of the id
// times    microseconds since 1970, UTC
// flags    bits of task_flag (journal_rows.h)
// Live tasks and ended ones are two tables: recovery reads the first, however many have ended, and
// neither needs an index over its state.
// body     a task's input. Small ones are in the task's own row, which goes to the disk anyway: one
//          row a create, not two. Larger ones are in `input`, so that a change of state rewrites a
//          short row; their `body` is null.
// last_…   the attempt that a task ended with, if one did: most tasks have no other. Earlier ones
//          are in `attempt`, and so is the last one of a task that is queued again.
// applied  the number of the redo log's last record that is in the tables.
// log_seed random, of this store alone: the redo log's checksums begin with it.

#include <array>
#include <cstddef>

namespace quern {

inline constexpr int kSchemaVersion = 4;
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

CREATE TABLE store (id INTEGER PRIMARY KEY CHECK (id = 0), lease_tokens INTEGER NOT NULL,
                    applied INTEGER NOT NULL DEFAULT 0, log_seed INTEGER NOT NULL DEFAULT 0);
INSERT INTO store (id, lease_tokens, log_seed) VALUES (0, 0, random());
)sql";

/// The way from each older version to the next one, from version 1 on.
inline constexpr std::array<const char*, kSchemaVersion - 1> kSchemaSteps{
    // Version 1 had every body in `input`; those stay there.
    R"sql(
ALTER TABLE task ADD COLUMN body BLOB;
ALTER TABLE ended ADD COLUMN body BLOB;
)sql",
    // Version 2 had every attempt in `attempt`; those stay there.
    R"sql(
ALTER TABLE ended ADD COLUMN last_token INTEGER;
ALTER TABLE ended ADD COLUMN last_number INTEGER;
ALTER TABLE ended ADD COLUMN last_started INTEGER;
ALTER TABLE ended ADD COLUMN last_result TEXT;
ALTER TABLE ended ADD COLUMN last_reason TEXT;
)sql",
    // Version 3 had no redo log: each transaction was one of the tables.
    R"sql(
ALTER TABLE store DROP COLUMN probes;
ALTER TABLE store ADD COLUMN applied INTEGER NOT NULL DEFAULT 0;
ALTER TABLE store ADD COLUMN log_seed INTEGER NOT NULL DEFAULT 0;
UPDATE store SET log_seed = random();
)sql",
};

}  // namespace quern
