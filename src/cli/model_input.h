#pragma once
// Builds a model's input from the command line: `--input prompt=Hello --input speed=120 --input
// image=@photo.jpg`, or `--json-input FILE`.

#include <stop_token>
#include <string>
#include <vector>

#include "base/json.h"
#include "quern/client.h"

namespace quern {

struct InputFlags {
  std::vector<std::string>
      pairs;  // "name=value"; a value "@file" is uploaded, "@@…" is a text that begins with "@"
  std::string json_file;  // a JSON object; "-": standard input; the pairs are laid over it
};

/// `value` as the schema's property wants it: text for a string, else the JSON that it spells, else
/// text.
json::value read_value(std::string_view value, const json::value* property);

/// Local files are uploaded through `client`, until `stop` is asked for; while the JSON file is
/// read, that ends the process. Errors: usage, unreachable, stopped, and what the upload says.
ClientResult<std::string> build_input(Client& client, const std::string& model,
                                      const InputFlags& flags, const std::stop_token& stop = {});

}  // namespace quern
