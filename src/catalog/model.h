#pragma once
// What a caller may name in a URL: a model, with how it is run and what it accepts.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "catalog/schema.h"

namespace quern {

/// How a model is run: `kind` picks the executor, the rest is for it.
struct ExecutorSpec {
  std::string kind = "echo";               // "process", "echo"
  std::vector<std::string> command;        // process: program and arguments, relative to `dir`
  std::filesystem::path dir;               // process: absolute
  std::map<std::string, std::string> env;  // process: added to, or in place of, PATH, HOME, LANG
};

struct Model {
  std::string id;  // [A-Za-z0-9_.-]+
  std::string title;
  std::string description;
  std::string modality;  // "text-to-image", …; empty if not said
  ExecutorSpec executor;
  std::shared_ptr<const Schema> schema;        // null: any JSON object is accepted
  std::uint32_t concurrency = 1;               // slots
  std::chrono::milliseconds timeout{600'000};  // of one attempt
  std::chrono::milliseconds grace{5'000};      // between SIGTERM and SIGKILL
  std::uint32_t attempts_max = 3;
  bool retry = true;
  std::chrono::milliseconds backoff_min{1'000};
  std::chrono::milliseconds backoff_max{60'000};
  std::uint32_t queued_max = 100'000;
  std::vector<std::string> aliases;  // "owner/app[/path…]", on the fal mount only
};

}  // namespace quern
