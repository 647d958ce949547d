#pragma once
// run, submit, status, result, cancel, models.

#include <string>

#include "cli/model_input.h"
#include "cli/session.h"

namespace quern {

struct RunFlags {
  std::string model;
  InputFlags input;
  std::string out = ".";  // folder for the outputs' files
  std::string idempotency_key;
};

struct TaskFlags {
  std::string id;     // or "last"
  std::string model;  // empty: looked up in the request log
  std::string out;    // result: folder to download to; empty: only print
  bool wait = false;  // result: until the task has completed
  bool logs = false;
  bool attempts = false;
};

ExitCode run_verb(const SessionFlags& session, const RunFlags& flags);
ExitCode submit_verb(const SessionFlags& session, const RunFlags& flags);
ExitCode status_verb(const SessionFlags& session, const TaskFlags& flags);
ExitCode result_verb(const SessionFlags& session, const TaskFlags& flags);
ExitCode cancel_verb(const SessionFlags& session, const TaskFlags& flags);
ExitCode models_verb(const SessionFlags& session, const std::string& model);

}  // namespace quern
