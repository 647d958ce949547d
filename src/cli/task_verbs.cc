#include "cli/task_verbs.h"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "base/percent_encode.h"
#include "base/units.h"
#include "cli/progress_view.h"
#include "cli/request_log.h"
#include "cli/table.h"

namespace quern {
namespace fs = std::filesystem;

namespace {

ExitCode usage(const std::string& message) {
  std::fprintf(stderr, "quern: %s\n", message.c_str());
  return ExitCode::usage;
}

// An ID of this machine's log needs no --model.
std::optional<TaskHandle> find_task(const TaskFlags& flags) {
  if (!flags.model.empty() && flags.id != kLastRequest) return TaskHandle{flags.model, flags.id, 0};
  return RequestLog().find(flags.id, flags.model);
}

ExitCode unknown_task(const TaskFlags& flags) {
  if (flags.id != kLastRequest)
    return usage(fmt::format("{}: not among the requests made from here; name its model by --model",
                             flags.id));
  return usage(fmt::format("last: no request{} was made from here; give the id of one",
                           flags.model.empty() ? "" : " of the model " + flags.model));
}

ClientResult<TaskHandle> create(Client& client, const SessionFlags& session,
                                const RunFlags& flags) {
  auto input = build_input(client, flags.model, flags.input, interrupt_token());
  if (!input) return std::unexpected(input.error());
  RequestLog log;
  auto task = client.submit(flags.model, *input, {.idempotency_key = flags.idempotency_key},
                            interrupt_token());
  if (!task) return task;
  if (Result<void> kept = log.remember(*task, client_options(session).url); !kept) {
    std::fprintf(stderr, "quern: warning: %s; note the id: %s\n", kept.error().message.c_str(),
                 task->request_id.c_str());
  }
  return task;
}

std::string describe(const ResultOutput& output) {
  std::string text = output.content_type;
  if (output.file_size != 0) text += ", " + format_bytes(output.file_size);
  if (output.width != 0) text += fmt::format(", {}x{}", output.width, output.height);
  if (output.duration > 0) text += fmt::format(", {:.1f} s", output.duration);
  return one_line(text);
}

// Told before the task is made, not when it has run.
Result<void> check_folder(const fs::path& folder) {
  for (fs::path place = folder; !place.empty(); place = place.parent_path()) {
    std::error_code ignored;
    if (fs::is_directory(place, ignored)) return {};
    if (fs::exists(fs::symlink_status(place, ignored))) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("cannot make the folder {}: {} is no folder", folder.string(),
                              place.string()));
    }
  }
  return {};
}

ExitCode save_outputs(Client& client, const SessionFlags& session, const TaskResult& result,
                      const fs::path& folder) {
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed)
    return usage(fmt::format("cannot make the folder {}: {}", folder.string(), failed.message()));
  for (const ResultOutput& output : result.outputs) {
    if (output.url.empty()) {
      if (output.text && !session.json) print_line(*output.text);
      continue;
    }
    const auto saved = client.save(output, folder, {}, interrupt_token());
    if (!saved) return report(session, saved.error());
    if (!session.json)
      print_line(fmt::format("saved {}  ({})", saved->path.string(), describe(output)));
  }
  if (session.json) print_json(result.body);
  return ExitCode::done;
}

// Waits with progress. An interrupt leaves the task to the server and says how to come back to it.
ClientResult<TaskResult> follow(Client& client, const SessionFlags& session,
                                const TaskHandle& task) {
  auto result = [&] {
    ProgressView view(task.model, session.quiet ? ProgressStyle::none : default_progress_style());
    return client.wait(
        task, [&](const StatusReport& status) { view.show(status); }, interrupt_token());
  }();
  if (result) return result;
  const ClientFault fault = result.error().fault;
  if (fault != ClientFault::stopped && fault != ClientFault::unreachable) return result;
  const std::string why = fault == ClientFault::stopped ? "" : " (" + result.error().message + ")";
  const std::string url = session.url.empty() ? "" : " --url " + session.url;
  result.error().message = fmt::format(
      "stopped waiting{0}; the task goes on. `quern result {1} --wait{2}` resumes, `quern cancel "
      "{1}{2}` ends it",
      why, task.request_id, url);
  return result;
}

// What the server says of each attempt stands among the logs: when it began, when and how it ended.
void print_status(const StatusReport& status, const TaskHandle& task, const TaskFlags& flags) {
  print_line(task.request_id + "  " + describe_state(status));
  for (const TaskLog& log : status.logs) {
    const bool is_wanted = log.source == "quern" ? flags.attempts || flags.logs : flags.logs;
    if (is_wanted)
      print_line(one_line(fmt::format("{} {:6} {}", log.timestamp, log.level, log.message)));
  }
}

}  // namespace

ExitCode run_verb(const SessionFlags& session, const RunFlags& flags) {
  if (const Result<void> fit = check_folder(flags.out); !fit) return usage(fit.error().message);
  (void)interrupt_token();
  Client client(client_options(session));
  auto task = create(client, session, flags);
  if (!task) return report(session, task.error());
  if (!session.quiet)
    std::fprintf(stderr, "%s  %s\n", task->model.c_str(), one_line(task->request_id).c_str());
  auto result = follow(client, session, *task);
  if (!result) return report(session, result.error());
  return save_outputs(client, session, *result, flags.out);
}

ExitCode submit_verb(const SessionFlags& session, const RunFlags& flags) {
  (void)interrupt_token();
  Client client(client_options(session));
  auto task = create(client, session, flags);
  if (!task) return report(session, task.error());
  if (session.json) {
    print_json(to_json(json::object{{"request_id", task->request_id},
                                    {"model", task->model},
                                    {"queue_position", task->queue_position}}));
  } else {
    print_line(task->request_id);
  }
  return ExitCode::done;
}

ExitCode status_verb(const SessionFlags& session, const TaskFlags& flags) {
  const auto task = find_task(flags);
  if (!task) return unknown_task(flags);
  Client client(client_options(session));
  auto status = client.status(*task, flags.logs || flags.attempts);
  if (!status) return report(session, status.error());
  if (session.json) {
    print_json(status->body);
  } else {
    print_status(*status, *task, flags);
  }
  return status->error.empty() ? ExitCode::done : ExitCode::task_failed;
}

ExitCode result_verb(const SessionFlags& session, const TaskFlags& flags) {
  const auto task = find_task(flags);
  if (!task) return unknown_task(flags);
  if (const Result<void> fit = check_folder(flags.out); !fit) return usage(fit.error().message);
  (void)interrupt_token();
  Client client(client_options(session));
  auto result =
      flags.wait ? follow(client, session, *task) : client.result(*task, interrupt_token());
  if (!result) return report(session, result.error());
  if (!flags.out.empty()) return save_outputs(client, session, *result, flags.out);
  print_json(result->body);
  return ExitCode::done;
}

ExitCode cancel_verb(const SessionFlags& session, const TaskFlags& flags) {
  const auto task = find_task(flags);
  if (!task) return unknown_task(flags);
  Client client(client_options(session));
  auto reply = client.cancel(*task);
  if (!reply) return report(session, reply.error());
  const char* word =
      *reply == CancelReply::requested ? "CANCELLATION_REQUESTED" : "ALREADY_COMPLETED";
  if (session.json) {
    print_json(fmt::format(R"({{"status":"{}"}})", word));
  } else {
    print_line(word);
  }
  return *reply == CancelReply::requested ? ExitCode::done : ExitCode::refused;
}

ExitCode models_verb(const SessionFlags& session, const std::string& model) {
  Client client(client_options(session));
  if (!model.empty()) {
    auto entry = client.call("GET", "/v1/models/" + percent_encode_segment(model));
    if (!entry) return report(session, entry.error());
    print_json(*entry);
    return ExitCode::done;
  }
  auto models = client.models();
  if (!models) return report(session, models.error());
  std::string list;
  for (const ModelInfo& info : *models) {
    if (!session.json)
      print_line(fmt::format("{:16} {:18} {}", info.id, info.modality,
                             info.description.empty() ? info.title : info.description));
    list += (list.empty() ? "" : ",") + info.body;
  }
  if (session.json) print_json("[" + list + "]");
  return ExitCode::done;
}

}  // namespace quern
