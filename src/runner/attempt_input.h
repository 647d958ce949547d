#pragma once
// From the input as sent to what an executor reads, and back from its metadata to what the caller
// reads.

#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "artifact/artifact_store.h"
#include "base/result.h"
#include "catalog/model.h"
#include "runner/input_files.h"

namespace quern {

struct AttemptInput {
  std::string json;    // compact, with defaults filled in and files in place of URLs
  std::string prompt;  // the member "prompt" as sent, as JSON; empty: there is none
};

/// `input` is a JSON object that was accepted. Fills in the schema's defaults; touches no file.
/// Errors: invalid_argument (more defaults than kDefaultsBytesMax).
Result<AttemptInput> make_input(const Model& model, std::string_view input);
/// The same, with files in place of URLs. Errors: as prepare_input too.
Result<AttemptInput> make_input_with_files(const Model& model, std::string_view input,
                                           const AttemptFolders& folders,
                                           const ArtifactStore& store,
                                           const InputFileOptions& options, std::stop_token stop);

/// `metadata` (an object, or empty) with the prompt, unless the runner reported one of its own.
std::string add_prompt(std::string metadata, std::string_view prompt);

}  // namespace quern
