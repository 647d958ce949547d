#include "runner/echo_executor.h"

namespace quern {

Executor::Ending EchoExecutor::run(const Run& run, ProgressSink& /*sink*/,
                                   std::stop_token /*stop*/) {
  Ending ending;
  ending.outcome.end = AttemptEnd::succeeded;
  ending.outcome.outputs.push_back({.type = OutputType::text, .text = run.input_json});
  return ending;
}

}  // namespace quern
