#include "runner/attempt_input.h"

#include <fmt/format.h>

#include <array>
#include <boost/json/monotonic_resource.hpp>
#include <span>
#include <utility>

#include "base/json.h"

namespace quern {
namespace {

// Memory of a parsed input: most need no more than this.
struct Room {
  std::array<unsigned char, 2048> bytes;
  json::monotonic_resource memory{bytes.data(), bytes.size()};
};

struct Parsed {
  json::object object;
  std::string prompt;
};

Result<Parsed> parse_input(const Model& model, std::string_view input, Room& room) {
  Result<json::value> value = parse_json(input, kJsonDepthMax, &room.memory);
  if (!value) return fail(std::move(value));
  if (!value->is_object())
    return fail(ErrorCode::internal, "an input that is no object was accepted");
  Parsed parsed{.object = std::move(value->get_object())};
  if (const json::value* prompt = parsed.object.if_contains("prompt")) {
    parsed.prompt = to_json(*prompt);
  }
  if (model.schema) {
    if (Result<void> filled = model.schema->fill_defaults(parsed.object); !filled) {
      return fail(std::move(filled));
    }
  }
  return parsed;
}

// As long as what it was read from, and then some for defaults.
AttemptInput written(const json::object& object, std::string prompt, std::string_view input) {
  AttemptInput made{.prompt = std::move(prompt)};
  made.json.reserve(input.size() + input.size() / 4);
  append_json(made.json, object);
  return made;
}

}  // namespace

Result<AttemptInput> make_input(const Model& model, std::string_view input) {
  Room room;
  Result<Parsed> parsed = parse_input(model, input, room);
  if (!parsed) return fail(std::move(parsed));
  return written(parsed->object, std::move(parsed->prompt), input);
}

Result<AttemptInput> make_input_with_files(const Model& model, std::string_view input,
                                           const AttemptFolders& folders,
                                           const ArtifactStore& store,
                                           const InputFileOptions& options, std::stop_token stop) {
  Room room;
  Result<Parsed> parsed = parse_input(model, input, room);
  if (!parsed) return fail(std::move(parsed));
  std::span<const std::string> properties;
  if (model.schema) properties = model.schema->file_properties();
  Result<json::object> prepared = prepare_input(std::move(parsed->object), properties, folders,
                                                store, options, std::move(stop));
  if (!prepared) return fail(std::move(prepared));
  return written(*prepared, std::move(parsed->prompt), input);
}

std::string add_prompt(std::string metadata, std::string_view prompt) {
  if (prompt.empty()) return metadata;
  if (metadata.empty()) return fmt::format(R"({{"prompt":{}}})", prompt);
  Result<json::value> own = parse_json(metadata);
  if (!own || !own->is_object() || own->get_object().contains("prompt")) return metadata;
  if (own->get_object().empty()) return fmt::format(R"({{"prompt":{}}})", prompt);
  return fmt::format(R"({{"prompt":{},{})", prompt, std::string_view(metadata).substr(1));
}

}  // namespace quern
