#include "server/config.h"

#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "catalog/catalog.h"
#include "http/server.h"
#include "server/config_keys.h"
#include "server/config_parts.h"

namespace quern {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr std::size_t kIncludeDepthMax = 4;
constexpr std::size_t kKeyIdBytesMax = 128;
constexpr std::size_t kSchemaBytesMax = 1 << 20;
constexpr std::size_t kConfigBytesMax = 4 << 20;

std::string place(const fs::path& file, const toml::node& node) {
  return fmt::format("{}:{}", file.filename().string(), node.source().begin.line);
}

std::unexpected<Error> complain(const fs::path& file, const toml::node& node,
                                std::string_view where, std::string_view what) {
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: {}: {}", place(file, node), where, what));
}

// Only a regular file is opened: a fifo would hold the start, or a reload, until somebody writes to it.
Result<std::string> read_text(const fs::path& file, std::size_t bytes_max) {
  const auto bad = [&](std::string_view what) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: {}", file.string(), what));
  };
  std::error_code failed;
  const fs::file_status status = fs::status(file, failed);
  if (fs::exists(status) && !fs::is_regular_file(status)) return bad("is no regular file");
  std::ifstream stream(file, std::ios::binary);
  std::string text(bytes_max + 1, '\0');
  if (stream) stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!stream.is_open() || stream.bad()) return bad("cannot be read");
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.size() > bytes_max) return bad(fmt::format("is over {} MiB", bytes_max >> 20U));
  return text;
}

// Reads one TOML table by its rows. `section` is how a person finds it: "[server]".
template <typename Target>
Result<void> read_table(const fs::path& file, std::string_view section, const toml::table& table,
                        const std::vector<ConfigKey<Target>>& keys, Target& target,
                        const std::set<std::string_view>& also = {}) {
  for (const auto& [name, node] : table) {
    const auto row = std::find_if(keys.begin(), keys.end(),
                                  [&](const auto& key) { return key.name == name.str(); });
    const std::string where = fmt::format("{} {}", section, name.str());
    if (row == keys.end()) {
      if (also.contains(name.str())) continue;
      return complain(file, node, where, "unknown key");
    }
    if (!row->set) continue;
    if (const Complaint complaint = row->set(target, node))
      return complain(file, node, where, *complaint);
  }
  return {};
}

class Reader {
 public:
  explicit Reader(Settings& settings) : settings_(settings) {}

  /// `file` is absolute; `depth` is how many files include it.
  Result<void> read(std::string_view text, const fs::path& file, std::size_t depth) {
    if (const auto line = find_key_of_many_parts(text)) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{}:{}: a key has more than {} parts: no setting lies so deep",
                              file.filename().string(), *line, kKeyPartsMax));
    }
    toml::table document;
    try {
      document = toml::parse(text, file.string());
    } catch (const toml::parse_error& error) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{}:{}: {}", file.filename().string(), error.source().begin.line,
                              error.description()));
    }
    return read_document(file, document, depth);
  }

  /// What concerns the whole: names that stand twice, in files that may include each other.
  [[nodiscard]] Result<void> check_whole() const {
    Result<void> done = check_entries(settings_.keys, key_places_, KeyRing::make);
    if (done) done = check_entries(settings_.models, model_places_, Catalog::make);
    return done;
  }

 private:
  // A fault between entries stays when more are added, so the shortest beginning that has it ends
  // with the entry to blame.
  template <typename Entry, typename Make>
  static Result<void> check_entries(const std::vector<Entry>& entries,
                                    const std::vector<std::string>& places, Make make) {
    const auto make_first = [&](std::size_t count) {
      return make({entries.begin(), entries.begin() + static_cast<std::ptrdiff_t>(count)});
    };
    if (make_first(entries.size())) return {};
    std::size_t sound = 0;
    std::size_t faulty = entries.size();
    while (faulty - sound > 1) {
      const std::size_t middle = sound + (faulty - sound) / 2;
      (make_first(middle) ? sound : faulty) = middle;
    }
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: {}", places[sound], make_first(faulty).error().message));
  }

  Result<void> read_document(const fs::path& file, const toml::table& document, std::size_t depth) {
    for (const auto& [name, node] : document) {
      Result<void> done = read_section(file, name.str(), node, depth);
      if (!done) return done;
    }
    return {};
  }

  Result<void> read_section(const fs::path& file, std::string_view name, const toml::node& node,
                            std::size_t depth) {
    if (name == "include") return read_includes(file, node, depth);
    if (name == "key" || name == "model") {
      const toml::array* entries = node.as_array();
      if (entries == nullptr || !entries->is_array_of_tables()) {
        return complain(file, node, name, fmt::format("expected entries headed [[{}]]", name));
      }
      for (const toml::node& entry : *entries) {
        Result<void> done =
            name == "key" ? read_key(file, *entry.as_table()) : read_model(file, *entry.as_table());
        if (!done) return done;
      }
      return {};
    }
    if (name != "server" && name != "store" && name != "retention" && name != "input") {
      return complain(
          file, node, name,
          "unknown section; there are [server], [store], [retention], [input], [[key]], "
          "[[model]] and include");
    }
    const toml::table* table = node.as_table();
    if (table == nullptr)
      return complain(file, node, name, fmt::format("expected a table headed [{}]", name));
    if (name == "server") return read_server(file, *table);
    if (name == "store") return read_store(file, *table);
    if (name == "retention")
      return read_table(file, "[retention]", *table, retention_keys(), settings_);
    return read_table(file, "[input]", *table, input_keys(), settings_);
  }

  Result<void> read_includes(const fs::path& file, const toml::node& node, std::size_t depth) {
    struct Names {
      std::vector<std::string> list;
    } names;
    const auto take = config::texts<Names>([](Names& n) -> auto& { return n.list; });
    if (const Complaint complaint = take(names, node))
      return complain(file, node, "include", *complaint);
    if (depth == kIncludeDepthMax)
      return complain(file, node, "include", "files include each other too deeply");
    for (const std::string& name : names.list) {
      const fs::path path = (file.parent_path() / name).lexically_normal();
      const auto text = read_text(path, kConfigBytesMax);
      if (!text) return complain(file, node, "include", text.error().message);
      Result<void> done = read(*text, path, depth + 1);
      if (!done) return done;
    }
    return {};
  }

  Result<void> read_server(const fs::path& file, const toml::table& table) {
    Result<void> done = read_table(file, "[server]", table, server_keys(), settings_, {"tls"});
    if (!done || !table.contains("tls")) return done;
    const toml::node& node = *table.get("tls");
    const toml::table* tls = node.as_table();
    const auto cert = tls != nullptr ? (*tls)["cert"].value_exact<std::string>() : std::nullopt;
    const auto key = tls != nullptr ? (*tls)["key"].value_exact<std::string>() : std::nullopt;
    if (!cert || !key || tls->size() != 2) {
      return complain(file, node, "[server] tls",
                      "expected { cert = \"cert.pem\", key = \"key.pem\" }");
    }
    settings_.http.tls = http::TlsFiles{file.parent_path() / *cert, file.parent_path() / *key};
    done = http::check_tls_files(*settings_.http.tls);
    if (!done) return complain(file, node, "[server] tls", done.error().message);
    return {};
  }

  Result<void> read_store(const fs::path& file, const toml::table& table) {
    Result<void> done = read_table(file, "[store]", table, store_keys(), settings_, {"url"});
    if (!done || !table.contains("url")) return done;
    const toml::node& node = *table.get("url");
    const auto url = node.value_exact<std::string>();
    if (!url || !url->starts_with("sqlite:") || url->size() == 7) {
      return complain(file, node, "[store] url", "expected \"sqlite:<folder>\"");
    }
    settings_.data = (file.parent_path() / url->substr(7)).lexically_normal();
    return {};
  }

  Result<void> read_key(const fs::path& file, const toml::table& table) {
    ApiKey key;
    Result<void> done = read_table(file, "[[key]]", table, key_keys(), key);
    if (!done) return done;
    if (key.id.empty()) return complain(file, table, "[[key]]", "id is missing");
    if (key.id.size() > kKeyIdBytesMax) {
      return complain(
          file, table, "[[key]]",
          fmt::format("id: expected at most {} bytes, got {}", kKeyIdBytesMax, key.id.size()));
    }
    if (key.secrets.empty())
      return complain(file, table, fmt::format("[[key]] {}", key.id), "secret is missing");
    if (!table.contains("burst")) key.burst = std::max(1.0, 2 * key.rate);
    warn_of_plain_secrets(file, table, key);
    settings_.keys.push_back(std::move(key));
    key_places_.push_back(place(file, table));
    return {};
  }

  void warn_of_plain_secrets(const fs::path& file, const toml::table& table, const ApiKey& key) {
    const toml::node& node = *table.get("secret");
    bool plain = false;
    if (const auto* one = node.as_string()) plain = is_plain_secret(one->get());
    if (const auto* list = node.as_array()) {
      for (const toml::node& item : *list)
        plain = plain || is_plain_secret(item.as_string()->get());
    }
    if (!plain) return;
    settings_.warnings.push_back(
        fmt::format("{}: key {}: the secret stands in the file as it is; `quern keys new` prints a "
                    "digest to put there instead",
                    place(file, node), key.id));
  }

  Result<void> read_model(const fs::path& file, const toml::table& table) {
    Model model;
    Result<void> done = read_table(file, "[[model]]", table, model_keys(), model);
    if (!done) return done;
    if (model.id.empty()) return complain(file, table, "[[model]]", "id is missing");
    const std::string where = fmt::format("[[model]] {}", model.id);
    if (!is_model_id(model.id)) {
      return complain(file, table, where,
                      "id: expected letters, digits, `_`, `.`, `-` (at most 128)");
    }
    if (model.backoff_min > model.backoff_max) {
      const char* said = table.contains("backoff_min") ? "backoff_min" : "backoff_max";
      return complain(
          file, *table.get(said), where,
          fmt::format("backoff_min, {}, is over backoff_max, {}: change one of them",
                      format_duration(model.backoff_min), format_duration(model.backoff_max)));
    }
    done = read_executor(file, table, where, model);
    if (!done) return done;
    done = read_schema(file, table, where, model);
    if (!done) return done;
    settings_.models.push_back(std::move(model));
    model_places_.push_back(place(file, table));
    return {};
  }

  Result<void> read_executor(const fs::path& file, const toml::table& table, std::string_view where,
                             Model& model) {
    const toml::node* node = table.get("executor");
    if (node == nullptr) return complain(file, table, where, "executor is missing");
    const std::string section = fmt::format("{} executor", where);
    if (node->as_table() == nullptr)
      return complain(file, *node, section,
                      "expected { kind = \"process\", command = [\"./run\"], … }");
    ExecutorSpec& spec = model.executor;
    spec.kind.clear();
    Result<void> done = read_table(file, section, *node->as_table(), executor_keys(), spec);
    if (!done) return done;
    if (spec.kind != "process" && spec.kind != "echo") {
      return complain(file, *node, section, "kind: expected \"process\" or \"echo\"");
    }
    if (spec.kind == "echo") {
      for (const char* idle : {"command", "dir", "env"}) {
        const toml::node* said = node->as_table()->get(idle);
        if (said != nullptr) {
          return complain(
              file, *said, fmt::format("{} {}", section, idle),
              "has no effect with kind \"echo\": take it out, or say kind = \"process\"");
        }
      }
      return {};
    }
    if (spec.command.empty() || spec.command[0].empty())
      return complain(file, *node, section, "command is missing");
    spec.dir = (file.parent_path() / spec.dir).lexically_normal();
    std::error_code ignored;
    if (!fs::is_directory(spec.dir, ignored)) {
      return complain(file, *node, section,
                      fmt::format("dir: there is no folder {}", spec.dir.string()));
    }
    return {};
  }

  Result<void> read_schema(const fs::path& file, const toml::table& table, std::string_view where,
                           Model& model) {
    const toml::node* node = table.get("schema");
    if (node == nullptr) return {};
    const std::string section = fmt::format("{} schema", where);
    const auto name = node->value_exact<std::string>();
    if (!name) return complain(file, *node, section, "expected a file name");
    const fs::path path = file.parent_path() / *name;
    std::error_code failed;
    const fs::path real = fs::canonical(path, failed);
    if (const auto known = schemas_.find(real); !failed && known != schemas_.end()) {
      known->second.give(model);
      return {};
    }
    const auto text = read_text(path, kSchemaBytesMax);
    if (!text) return complain(file, *node, section, text.error().message);
    Result<json::value> document = parse_json(*text);
    if (!document)
      return complain(file, *node, section, fmt::format("{}: {}", *name, document.error().message));
    if (!document->is_object())
      return complain(file, *node, section, fmt::format("{}: expected a JSON object", *name));
    const auto text_of = [&](std::string_view member) -> std::string {
      const json::value* value = document->get_object().if_contains(member);
      return value != nullptr && value->is_string() ? std::string(value->get_string())
                                                    : std::string();
    };
    SchemaFile read{.title = text_of("title"), .description = text_of("description")};
    auto schema = Schema::compile(std::move(document->get_object()));
    if (!schema)
      return complain(file, *node, section, fmt::format("{}: {}", *name, schema.error().message));
    read.schema = *schema;
    schemas_.emplace(real, std::move(read)).first->second.give(model);
    return {};
  }

  // One that several models name is read and compiled once.
  struct SchemaFile {
    std::shared_ptr<const Schema> schema;
    std::string title;
    std::string description;

    /// Its title and description serve where the configuration gives none.
    void give(Model& model) const {
      model.schema = schema;
      if (model.title.empty()) model.title = title;
      if (model.description.empty()) model.description = description;
    }
  };

  Settings& settings_;
  std::map<fs::path, SchemaFile> schemas_;
  std::vector<std::string> key_places_;    // "quern.toml:12", one for each of the settings' keys
  std::vector<std::string> model_places_;  // the same for the models
};

template <typename Target>
void append_reference(std::string& out, std::string_view section,
                      const std::vector<ConfigKey<Target>>& keys) {
  out += fmt::format("\n### {}\n\n| key | kind | default | meaning |\n| --- | --- | --- | --- |\n",
                     section);
  for (const auto& key : keys) {
    out +=
        fmt::format("| `{}` | {} | `{}` | {} |\n", key.name, key.kind, key.fallback, key.meaning);
  }
}

Result<void> read_whole(std::string_view text, const fs::path& file, Settings& settings) {
  Reader reader(settings);
  Result<void> done = reader.read(text, fs::absolute(file).lexically_normal(), 0);
  if (done) done = reader.check_whole();
  return done;
}

}  // namespace

Result<Settings> parse_settings(std::string_view text, const fs::path& file) {
  Settings settings;
  settings.file = file;
  settings.data = fs::absolute(file).parent_path() / "data";
  Result<void> done = read_whole(text, file, settings);
  if (!done) return fail(std::move(done));
  return settings;
}

Result<Settings> load_settings(const fs::path& file) {
  const Result<std::string> text = read_text(file, kConfigBytesMax);
  if (!text) return std::unexpected(text.error());
  return parse_settings(*text, file);
}

Result<Settings> default_settings(const fs::path& models_file, const fs::path& data) {
  const Result<std::string> text = read_text(models_file, kConfigBytesMax);
  if (!text) return std::unexpected(text.error());
  Settings settings;
  settings.data = fs::absolute(data).lexically_normal();
  Result<void> done = read_whole(*text, models_file, settings);
  if (!done) return fail(std::move(done));
  return settings;
}

std::string settings_reference() {
  std::string out =
      "Sizes are written \"10MiB\", durations \"60s\" (ms, s, m, h, d), rates \"200/s\" (s, m, "
      "h).\n";
  append_reference(out, "[server]", server_keys());
  out += "| `tls` | table | none | `{ cert = \"cert.pem\", key = \"key.pem\" }`: serve HTTPS |\n";
  append_reference(out, "[store]", store_keys());
  out += "| `url` | string | `\"sqlite:data\"` | the data folder, relative to the file |\n";
  append_reference(out, "[retention]", retention_keys());
  append_reference(out, "[input]", input_keys());
  append_reference(out, "[[key]]", key_keys());
  append_reference(out, "[[model]]", model_keys());
  append_reference(out, "[[model]] executor", executor_keys());
  out +=
      "\n`include = [\"models/models.toml\"]` at the top reads further files; their paths are "
      "relative to themselves.\n";
  return out;
}

}  // namespace quern
