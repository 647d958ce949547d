#include "server/serve.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "base/log.h"
#include "server/app.h"
#include "server/config.h"
#include "server/first_key.h"
#include "server/serve_signals.h"

namespace quern {
namespace fs = std::filesystem;

namespace {

constexpr int kBrokenConfiguration = 2;
constexpr int kCannotRun = 1;

// The example models: beside the sources, installed, or in the current folder.
fs::path find_models_file() {
  std::error_code failed;
  const fs::path binary = fs::read_symlink("/proc/self/exe", failed).parent_path();
  for (const fs::path& folder :
       {binary / "../../models", binary / "../share/quern/models", fs::path("models")}) {
    const fs::path file = folder / "models.toml";
    if (fs::exists(file, failed)) return file.lexically_normal();
  }
  return {};
}

Result<Settings> read_settings(const ServeOptions& options) {
  Result<Settings> settings = [&]() -> Result<Settings> {
    if (!options.config.empty()) return load_settings(options.config);
    const fs::path models = find_models_file();
    if (models.empty()) {
      return fail(ErrorCode::invalid_argument,
                  "the example models were not found: name a configuration by --config");
    }
    return default_settings(models, "quern-data");
  }();
  if (!settings) return settings;
  if (!options.listen.empty()) settings->http.listen = options.listen;
  if (!options.data.empty()) settings->data = fs::absolute(options.data).lexically_normal();
  return settings;
}

void reload(App& app, const ServeOptions& options) {
  Result<Settings> settings = read_settings(options);
  Result<void> done =
      settings ? app.reload(std::move(*settings)) : Result<void>(fail(std::move(settings)));
  if (done) {
    log_info("configuration reloaded");
  } else {
    log_error("configuration not reloaded, the old one stays", {{"reason", done.error().message}});
  }
}

// fmt::print throws where nothing can be written, and a server goes on without an output.
void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void print_first_steps(const App& app, const fs::path& data) {
  const fs::path relative = fs::relative(data);
  print(fmt::format(
      "\nTry it (three lines: create, poll, fetch):\n"
      "  export QUERN_URL={0} QUERN_KEY=$(cat {1}); "
      "ID=$(curl -s $QUERN_URL/v1/queue/speech -H \"Authorization: Key $QUERN_KEY\" -d "
      "'{{\"prompt\":\"Hello from Quern\"}}' | "
      "grep -o 'mmsu_[0-9a-z]*' | head -n 1); echo $ID\n"
      "  curl -s \"$QUERN_URL/v1/queue/speech/requests/$ID/status\" -H \"Authorization: Key "
      "$QUERN_KEY\"\n"
      "  curl -s \"$QUERN_URL/v1/queue/speech/requests/$ID/response\" -H \"Authorization: Key "
      "$QUERN_KEY\"\n\n"
      "or: quern run speech --input prompt=\"Hello from Quern\"\n\n",
      app.url(), (relative / "first-key").string()));
}

int refuse(const Error& error) {
  std::fprintf(stderr, "quern: %s\n", error.message.c_str());
  return error.code == ErrorCode::invalid_argument ? kBrokenConfiguration : kCannotRun;
}

}  // namespace

int serve(const ServeOptions& options) {
  if (options.settings) {
    print(settings_reference());
    return 0;
  }
  Result<Settings> settings = read_settings(options);
  if (!settings) return refuse(settings.error());
  const bool without_config = options.config.empty();
  const fs::path data = settings->data;
  init_logging(settings->log_level);
  // Inputs, results and keys are nobody else's on this machine. What a model makes elsewhere is its own affair.
  settings->runner_umask = ::umask(077);
  if (without_config) {
    SystemRandom random;
    Result<ApiKey> key = open_first_key(data, random);
    if (!key) return refuse(key.error());
    settings->keys.push_back(std::move(*key));
  }
  Result<ServeSignals> signals = ServeSignals::start();
  if (!signals) return refuse(signals.error());
  Result<std::unique_ptr<App>> app = App::start(std::move(*settings));
  if (!app) return refuse(app.error());
  print(fmt::format("listening on {}\n", (*app)->url()));
  if (without_config) print_first_steps(**app, data);

  while (signals->next() == ServeWish::reload) {
    if (!without_config) reload(**app, options);
  }
  log_info("stopping: running tasks are finished or handed back; a second signal stops at once");
  (*app)->drain();
  log_info("stopped");
  return 0;
}

}  // namespace quern
