#include "cli/cli.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "cli/admin_verbs.h"
#include "cli/keys_verb.h"
#include "cli/task_verbs.h"

namespace quern {
namespace {

// As of a variable that is not set: that must not stand for everything, nor for nothing.
std::string refuse_empty(const std::string& given) {
  return given.empty() ? "is empty; give a value or leave the flag out" : "";
}

void add_session_flags(CLI::App& verb, SessionFlags& flags) {
  verb.add_option("--url", flags.url, "The server (QUERN_URL, else http://127.0.0.1:8080)");
  verb.add_option("--key", flags.key, "The key's secret (QUERN_KEY, else ./quern-data/first-key)");
  verb.add_flag("--json", flags.json, "Print JSON, for scripts");
  verb.add_flag("-q,--quiet", flags.quiet, "Show no progress");
}

void add_run_flags(CLI::App& verb, RunFlags& flags) {
  verb.add_option("model", flags.model, "What to run; `quern models` lists them")->required();
  verb.add_option("-i,--input", flags.input.pairs,
                  "A parameter, name=value\n"
                  "name=@file uploads that file; @@ begins a text that begins with @\n"
                  "Where the model's schema has x-quern-file, name=file uploads one that is there")
      ->take_all();
  verb.add_option("--json-input", flags.input.json_file,
                  "The parameters as a JSON file; - reads standard input")
      ->check(refuse_empty);
  verb.add_option("--idempotency-key", flags.idempotency_key,
                  "Names this request: repeating it makes no second task")
      ->check(refuse_empty);
}

void add_task_flags(CLI::App& verb, TaskFlags& flags) {
  verb.add_option("id", flags.id, "The request's id, or `last`: the latest from here, of --model")
      ->required();
  verb.add_option("-m,--model", flags.model, "Its model; not needed for requests made from here")
      ->check(refuse_empty);
}

// A verb's flags live as long as the parse; its action runs after it.
struct Verbs {
  SessionFlags session;
  ServeFlags serve;
  RunFlags run;
  TaskFlags task;
  AdminFlags admin;
  std::string model;
  std::function<ExitCode()> action;

  CLI::App& add(CLI::App& parent, const char* name, const char* about,
                std::function<ExitCode()> act) {
    CLI::App& verb = *parent.add_subcommand(name, about);
    verb.callback([this, act] { action = act; });
    return verb;
  }

  CLI::App& add_client(CLI::App& parent, const char* name, const char* about,
                       std::function<ExitCode()> act) {
    CLI::App& verb = add(parent, name, about, std::move(act));
    add_session_flags(verb, session);
    return verb;
  }
};

void add_task_verbs(CLI::App& app, Verbs& verbs) {
  CLI::App& run = verbs.add_client(app, "run", "Create a task, wait for it, download what it made",
                                   [&verbs] { return run_verb(verbs.session, verbs.run); });
  add_run_flags(run, verbs.run);
  run.add_option("-o,--out", verbs.run.out, "The folder for the files")
      ->check(refuse_empty)
      ->capture_default_str();
  add_run_flags(verbs.add_client(app, "submit", "Create a task and print its id",
                                 [&verbs] { return submit_verb(verbs.session, verbs.run); }),
                verbs.run);
  CLI::App& status = verbs.add_client(app, "status", "Show how a task gets on",
                                      [&verbs] { return status_verb(verbs.session, verbs.task); });
  add_task_flags(status, verbs.task);
  status.add_flag("--logs", verbs.task.logs, "With its log lines");
  status.add_flag("--attempts", verbs.task.attempts,
                  "With each attempt: when it began, when and how it ended");
  CLI::App& result = verbs.add_client(app, "result", "Show or download a task's result",
                                      [&verbs] { return result_verb(verbs.session, verbs.task); });
  add_task_flags(result, verbs.task);
  result.add_flag("-w,--wait", verbs.task.wait, "Wait until it has completed");
  result.add_option("-o,--out", verbs.task.out, "Download the files into this folder")
      ->check(refuse_empty);
  add_task_flags(verbs.add_client(app, "cancel", "Cancel a task",
                                  [&verbs] { return cancel_verb(verbs.session, verbs.task); }),
                 verbs.task);
  verbs
      .add_client(app, "models", "List the models, or show one with its schema",
                  [&verbs] { return models_verb(verbs.session, verbs.model); })
      .add_option("model", verbs.model, "Show this one")
      ->check(refuse_empty);
}

void add_filter_flags(CLI::App& verb, AdminFilter& filter) {
  const auto add = [&](const char* flag, std::string& value, const char* about) {
    verb.add_option(flag, value, about)->check(refuse_empty);
  };
  add("--owner", filter.owner, "Tasks of the key with this id");
  add("-m,--model", filter.model, "Tasks of this model");
  add("--state", filter.state, "queued, running, succeeded, failed, canceled; several with commas");
  add("--age", filter.age, "Submitted at least that long ago, such as 10m");
}

using AdminVerb = ExitCode (*)(const SessionFlags&, const AdminFlags&);

void add_admin_verbs(CLI::App& app, Verbs& verbs) {
  CLI::App& admin = *app.add_subcommand("admin", "Look after the tasks of every key");
  admin.require_subcommand(1);
  const auto add = [&](const char* name, const char* about, AdminVerb act) -> CLI::App& {
    return verbs.add_client(admin, name, about,
                            [&verbs, act] { return act(verbs.session, verbs.admin); });
  };
  CLI::App& list = add("list", "List tasks, the newest first", admin_list_verb);
  add_filter_flags(list, verbs.admin.filter);
  list.add_option("--before", verbs.admin.filter.before, "Go on after this request")
      ->check(refuse_empty);
  list.add_option("--limit", verbs.admin.limit, "Show at most so many")
      ->check(CLI::Range(1U, kListedMax))
      ->capture_default_str();
  CLI::App& cancel = add("cancel", "Cancel the tasks that match", admin_cancel_verb);
  add_filter_flags(cancel, verbs.admin.filter);
  cancel.add_flag("--all", verbs.admin.all, "Every task that has not ended");
  const auto add_one = [&](const char* name, const char* what, const char* about, AdminVerb act) {
    add(name, about, act).add_option(what, verbs.admin.target)->required();
  };
  add_one("show", "id", "Show a task with its attempts, outputs and logs", admin_show_verb);
  add_one("retry", "id", "Queue a failed or canceled task again", admin_retry_verb);
  add_one("purge", "id", "Remove an ended task with its files", admin_purge_verb);
  add_one("pause", "model", "Let a model hand out no tasks", admin_pause_verb);
  add_one("resume", "model", "Let a paused model go on", admin_resume_verb);
}

void add_server_verbs(CLI::App& app, Verbs& verbs,
                      const std::function<int(const ServeFlags&)>& serve) {
  CLI::App& verb = verbs.add(app, "serve", "Run the server", [&verbs, &serve] {
    return static_cast<ExitCode>(serve(verbs.serve));
  });
  verb.add_option("-c,--config", verbs.serve.config,
                  "The configuration; without one, the example models are served")
      ->check(refuse_empty);
  verb.add_option("--listen", verbs.serve.listen, "host:port, instead of the configured one")
      ->check(refuse_empty);
  verb.add_option("--data", verbs.serve.data, "The data folder, instead of the configured one")
      ->check(refuse_empty);
  verb.add_flag("--settings", verbs.serve.settings, "Print what a configuration may say, and end");
  CLI::App& keys = *app.add_subcommand("keys", "Make keys");
  keys.require_subcommand(1);
  verbs
      .add(keys, "new", "Print a fresh secret and its digest",
           [&verbs] { return keys_new_verb(verbs.session.json); })
      .add_flag("--json", verbs.session.json, "Print JSON, for scripts");
}

/// The deepest command that was given, the program itself if none was.
const CLI::App& deepest_command(const CLI::App& app) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().back();
  return *at;
}

/// What stands where `at` expects a command and is none; empty if that is not what is wrong.
std::string unknown_command(const CLI::App& at) {
  const auto any = [](const CLI::App*) { return true; };
  if (!at.get_subcommands().empty() || at.get_subcommands(any).empty()) return {};
  const std::vector<std::string> words = at.remaining();
  return words.empty() || words.front().starts_with('-') ? std::string() : words.front();
}

ExitCode report_bad_line(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& at = deepest_command(app);
  const std::string word = error.get_exit_code() == 0 ? std::string() : unknown_command(at);
  if (word.empty()) return app.exit(error) == 0 ? ExitCode::done : ExitCode::usage;
  const std::string command = &at == &app ? "quern" : "quern " + at.get_name();
  std::fprintf(stderr, "%s: no command '%s'; `%s --help` lists them\n", command.c_str(),
               word.c_str(), command.c_str());
  return ExitCode::usage;
}

}  // namespace

int run_cli(int argc, char** argv, const std::function<int(const ServeFlags&)>& serve) {
  CLI::App app("Quern: a durable queue for multimodal generation", "quern");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("quern ") + QUERN_VERSION);
  app.footer(
      "Exit codes: 0 done, 1 the task failed, 2 usage or a file here that fails, 3 refused, 4 "
      "unreachable, 130 interrupted.");
  Verbs verbs;
  add_server_verbs(app, verbs, serve);
  add_task_verbs(app, verbs);
  add_admin_verbs(app, verbs);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return static_cast<int>(end_output(report_bad_line(app, error)));
  }
  const ExitCode code = verbs.action();
  // A server needs no standard output: its log goes elsewhere.
  const bool has_served = app.got_subcommand("serve") && !verbs.serve.settings;
  return static_cast<int>(has_served ? code : end_output(code));
}

}  // namespace quern
