#include "cli/admin_verbs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/percent_encode.h"
#include "base/units.h"
#include "cli/table.h"
#include "client/answer_depth.h"

namespace quern {
namespace {

constexpr std::uint32_t kPageMax = 1'000;  // the server's own limit

// ---- reading answers: what is not there reads as empty

const json::value& at(const json::value& object, std::string_view name) {
  static const json::value kNothing;
  if (!object.is_object()) return kNothing;
  const json::value* found = object.get_object().if_contains(name);
  return found != nullptr ? *found : kNothing;
}

std::string text_at(const json::value& object, std::string_view name) {
  const json::value& value = at(object, name);
  if (value.is_null()) return {};
  return value.is_string() ? std::string(value.get_string()) : to_json(value);
}

bool flag_at(const json::value& object, std::string_view name) {
  const json::value& value = at(object, name);
  return value.is_bool() && value.get_bool();
}

std::uint64_t count_at(const json::value& object, std::string_view name) {
  const json::value& value = at(object, name);
  return value.is_int64() ? static_cast<std::uint64_t>(value.get_int64()) : 0;
}

const json::array& list_at(const json::value& object, std::string_view name) {
  static const json::array kNone;
  const json::value& value = at(object, name);
  return value.is_array() ? value.get_array() : kNone;
}

// "2026-01-31T12:00:00.123456Z" to the second, which is what people look at.
std::string short_time(std::string time) {
  const std::size_t fraction = time.find('.');
  if (fraction != std::string::npos) time.replace(fraction, std::string::npos, "Z");
  return time;
}

// ---- calling

// `member`: what the answer to this call has at the least. Without it, it is of another server, or a proxy's.
ClientResult<json::value> call(const SessionFlags& session, std::string_view method,
                               std::string_view path, std::string_view member,
                               std::string_view body = {}) {
  Client client(client_options(session));
  auto answer = client.call(method, path, body);
  if (!answer) return std::unexpected(answer.error());
  Result<json::value> parsed = parse_json(*answer, kAnswerDepthMax);
  if (parsed && !at(*parsed, member).is_null()) return *std::move(parsed);
  return std::unexpected(ClientError{
      .fault = ClientFault::refused,
      .message =
          fmt::format("the server's answer has no \"{}\": is this the address of a Quern?", member),
      .detail = *std::move(answer)});
}

// To everyone but administrators these routes do not exist; the answer alone does not tell why.
ExitCode report_admin(const SessionFlags& session, const ClientError& error) {
  const ExitCode code = report(session, error);
  if (error.http_status == 404 && error.detail.find("\"Not Found\"") != std::string::npos)
    std::fputs("quern: this needs a key with `admin = true` in the configuration\n", stderr);
  return code;
}

ExitCode usage(std::string_view message) {
  std::fprintf(stderr, "quern: %.*s\n", static_cast<int>(message.size()), message.data());
  return ExitCode::usage;
}

void print_table(const std::vector<TableRow>& rows) { print_text(format_table(rows)); }

// ---- filters

using FilterField = std::pair<std::string_view, std::string>;

// In the server's names, without what was left out. Errors: an age that is no duration.
Result<std::vector<FilterField>> read_filter(const AdminFilter& filter) {
  std::vector<FilterField> fields;
  const auto add = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) fields.emplace_back(name, value);
  };
  add("key", filter.owner);
  add("model", filter.model);
  add("state", filter.state);
  add("before", filter.before);
  if (filter.age.empty()) return fields;
  const auto age = parse_duration(filter.age);
  if (!age) return fail(ErrorCode::invalid_argument, "--age: " + age.error().message);
  add("age_min", fmt::format("{}", std::chrono::duration<double>(*age).count()));
  return fields;
}

std::string query_of(const std::vector<FilterField>& fields, std::uint32_t limit) {
  std::string query = fmt::format("?limit={}", limit);
  for (const auto& [name, value] : fields)
    query += fmt::format("&{}={}", name, percent_encode_segment(value));
  return query;
}

json::object body_of(const std::vector<FilterField>& fields) {
  json::object body;
  for (const auto& [name, value] : fields) body[name] = value;
  return body;
}

void set_field(std::vector<FilterField>& fields, std::string_view name, std::string value) {
  std::erase_if(fields, [&](const FilterField& field) { return field.first == name; });
  fields.emplace_back(name, std::move(value));
}

// ---- showing

// Where a task stands, in the words that fit its state.
std::string note_on(const json::value& task) {
  if (at(task, "queue_position").is_number()) return "position " + text_at(task, "queue_position");
  if (at(task, "progress").is_number())
    return fmt::format("{:.0f} %", 100 * at(task, "progress").to_number<double>());
  const std::string type = text_at(task, "error_type");
  return type.empty() ? std::string() : type + ": " + text_at(task, "error");
}

std::string state_of(const json::value& task) {
  const bool stopping = text_at(task, "state") == "running" && flag_at(task, "cancel_requested");
  return stopping ? "canceling" : text_at(task, "state");
}

TableRow row_of(const json::value& task) {
  return {text_at(task, "request_id"),
          state_of(task),
          text_at(task, "key"),
          text_at(task, "model"),
          short_time(text_at(task, "submitted")),
          text_at(task, "attempts_started"),
          note_on(task)};
}

void print_tasks(const json::array& tasks, const std::string& next_before) {
  if (tasks.empty()) return print_line("no tasks");
  std::vector<TableRow> rows{{"REQUEST", "STATE", "KEY", "MODEL", "SUBMITTED", "ATTEMPTS", "NOTE"}};
  for (const json::value& task : tasks) rows.push_back(row_of(task));
  print_table(rows);
  if (!next_before.empty())
    print_line(fmt::format("there are more: --before {}, or a higher --limit", next_before));
}

void print_facts(const json::value& task) {
  std::vector<TableRow> rows;
  const auto add = [&](std::string_view label, std::string value) {
    if (!value.empty()) rows.push_back({std::string(label), std::move(value)});
  };
  add("request", text_at(task, "request_id"));
  add("state", state_of(task));
  add("key", text_at(task, "key"));
  add("model", text_at(task, "model"));
  add("priority", text_at(task, "priority"));
  add("submitted", text_at(task, "submitted"));
  add("ended", text_at(task, "ended"));
  add("note", note_on(task));
  print_table(rows);
}

void print_attempts(const json::array& attempts) {
  if (attempts.empty()) return;
  print_line("");
  std::vector<TableRow> rows{{"ATTEMPT", "STARTED", "ENDED", "RESULT", "REASON"}};
  for (const json::value& attempt : attempts) {
    const std::string result = text_at(attempt, "result");
    rows.push_back({text_at(attempt, "number"), text_at(attempt, "started"),
                    text_at(attempt, "ended"), result.empty() ? "running" : result,
                    text_at(attempt, "reason")});
  }
  print_table(rows);
}

void print_outputs(const json::array& outputs) {
  if (outputs.empty()) return;
  print_line("");
  std::vector<TableRow> rows{{"OUTPUT", "CONTENT"}};
  for (const json::value& output : outputs) {
    const std::string url = text_at(output, "url");
    rows.push_back({text_at(output, "type"), url.empty() ? text_at(output, "text") : url});
  }
  print_table(rows);
}

void print_logs(const json::array& logs) {
  if (!logs.empty()) print_line("");
  for (const json::value& log : logs) {
    print_line(fmt::format("{} {:6} {:6} {}", text_at(log, "timestamp"), text_at(log, "source"),
                           text_at(log, "level"), one_line(text_at(log, "message"))));
  }
}

void print_whole_task(const json::value& task) {
  print_facts(task);
  print_attempts(list_at(task, "attempts"));
  print_outputs(list_at(task, "outputs"));
  print_logs(list_at(task, "logs"));
}

// ---- the plain changes: one call, one line

ExitCode change(const SessionFlags& session, std::string_view method, const std::string& path,
                std::string_view member, const std::string& line) {
  const auto done = call(session, method, path, member);
  if (!done) return report_admin(session, done.error());
  if (session.json) {
    print_json(to_json(*done));
  } else {
    print_line(line);
  }
  return ExitCode::done;
}

std::string task_path(const AdminFlags& flags) {
  return "/admin/tasks/" + percent_encode_segment(flags.target);
}

std::string model_path(const AdminFlags& flags, std::string_view act) {
  return fmt::format("/admin/models/{}/{}", percent_encode_segment(flags.target), act);
}

}  // namespace

ExitCode admin_list_verb(const SessionFlags& session, const AdminFlags& flags) {
  auto fields = read_filter(flags.filter);
  if (!fields) return usage(fields.error().message);
  json::array tasks;
  std::string next_before;
  do {
    const auto wanted = flags.limit - static_cast<std::uint32_t>(tasks.size());
    if (!next_before.empty()) set_field(*fields, "before", next_before);
    const auto page = call(session, "GET",
                           "/admin/tasks" + query_of(*fields, std::min(wanted, kPageMax)), "tasks");
    if (!page) return report_admin(session, page.error());
    for (const json::value& task : list_at(*page, "tasks")) tasks.push_back(task);
    next_before = text_at(*page, "next_before");
  } while (!next_before.empty() && tasks.size() < flags.limit);

  if (!session.json) {
    print_tasks(tasks, next_before);
    return ExitCode::done;
  }
  json::object out{{"tasks", std::move(tasks)}, {"has_more", !next_before.empty()}};
  if (!next_before.empty()) out["next_before"] = next_before;
  print_json(to_json(out));
  return ExitCode::done;
}

ExitCode admin_show_verb(const SessionFlags& session, const AdminFlags& flags) {
  const auto task = call(session, "GET", task_path(flags), "request_id");
  if (!task) return report_admin(session, task.error());
  if (session.json) {
    print_json(to_json(*task));
  } else {
    print_whole_task(*task);
  }
  return ExitCode::done;
}

ExitCode admin_retry_verb(const SessionFlags& session, const AdminFlags& flags) {
  return change(session, "POST", task_path(flags) + "/retry", "state",
                flags.target + " is queued again");
}

ExitCode admin_purge_verb(const SessionFlags& session, const AdminFlags& flags) {
  return change(session, "DELETE", task_path(flags), "purged",
                flags.target + " is gone, with its files");
}

ExitCode admin_pause_verb(const SessionFlags& session, const AdminFlags& flags) {
  return change(session, "POST", model_path(flags, "pause"), "paused",
                flags.target + " hands out no tasks until `quern admin resume`");
}

ExitCode admin_resume_verb(const SessionFlags& session, const AdminFlags& flags) {
  return change(session, "POST", model_path(flags, "resume"), "paused",
                flags.target + " hands out tasks");
}

ExitCode admin_cancel_verb(const SessionFlags& session, const AdminFlags& flags) {
  auto fields = read_filter(flags.filter);
  if (!fields) return usage(fields.error().message);
  if (fields->empty() && !flags.all)
    return usage("say which tasks: --owner, --model, --state, --age; or --all");
  if (flags.filter.state.empty()) set_field(*fields, "state", "queued,running");
  std::uint64_t requested = 0;
  std::uint64_t not_canceled = 0;
  for (bool more = true; more;) {
    const auto done = call(session, "POST", "/admin/tasks/cancel", "cancellation_requested",
                           to_json(body_of(*fields)));
    if (!done) return report_admin(session, done.error());
    requested += count_at(*done, "cancellation_requested");
    not_canceled += count_at(*done, "not_canceled");
    more = flag_at(*done, "has_more");
    if (more) set_field(*fields, "before", text_at(*done, "next_before"));
  }
  if (session.json) {
    print_json(to_json(
        json::object{{"cancellation_requested", requested}, {"not_canceled", not_canceled}}));
  } else {
    print_line(fmt::format("{} to be canceled, {} had ended before", requested, not_canceled));
  }
  return ExitCode::done;
}

}  // namespace quern
