#pragma once
// Gives a runner files in place of URLs: what the caller named is brought into the attempt's input
// folder.

#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>
#include <string>

#include "artifact/artifact_store.h"
#include "base/json.h"
#include "base/result.h"
#include "runner/url_fetch.h"

namespace quern {

struct InputFileOptions {
  std::uint64_t file_bytes_max =
      64ULL << 20U;  // of each data URI and each fetched file; stored files have no limit here
  std::size_t files_max = 64;                   // in one input
  std::uint64_t input_bytes_max = 4ULL << 30U;  // of all files in one input, stored ones included
  std::string own_url;    // what URLs of files in the store begin with; "": not known
  UrlFetchOptions fetch;  // its bytes_max is not used: file_bytes_max is
};

/// Returns `input` (defaults filled in) with these strings replaced by the absolute path of a file
/// in folders.input:
///  * at any depth, a `data:` URI;
///  * at any depth, the URL of a file in `store`, whatever its host and whatever stands before
///  `/files/<key>/<name>`:
///    it is copied on this machine, and its unguessable key is authority enough;
///    one that begins with `own_url` and names no file there is refused;
///  * in the top-level properties named in `file_properties` (Schema::file_properties()), whose
///  values are a string or
///    an array of strings, every http or https URL. Anything else there but null is refused, so
///    that no caller ever names a path of this machine.
/// Files are named input-1, input-2, … with the extension of their content. Runners may change them
/// freely.
///
/// Blocks (disk and network); returns promptly once `stop` is asked for (as `unavailable`), at the
/// latest when it has told what the file is that it is at. Threads: any.
/// Errors, with messages for the caller that begin with the property's name ("image: could not fetch:
/// HTTP 404 Not Found"): invalid_argument (the input is at fault: REQUEST_INVALID, never repeated),
/// unavailable (may be repeated; with kShortageRetryAfter if nothing is wrong but that this machine
/// is short of descriptors or memory).
Result<json::object> prepare_input(json::object input, std::span<const std::string> file_properties,
                                   const AttemptFolders& folders, const ArtifactStore& store,
                                   const InputFileOptions& options, std::stop_token stop);

}  // namespace quern
