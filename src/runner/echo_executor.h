#pragma once
// The executor "echo": one text output, the input as compact JSON. For tests and benchmarks.

#include "runner/executor.h"

namespace quern {

class EchoExecutor final : public Executor {
 public:
  Ending run(const Run& run, ProgressSink& sink, std::stop_token stop) override;
  [[nodiscard]] bool uses_files() const override { return false; }
  [[nodiscard]] bool is_instant() const override { return true; }
};

}  // namespace quern
