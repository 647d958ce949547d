#include "api/task_json.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "testing/manual_clock.h"

namespace quern::api {
namespace {

const TaskPlace kQueue{Dialect::queue, "http://h/v1/queue/echo", 8};
const TaskPlace kFal{Dialect::fal, "http://h/fal/a/b", 8};
constexpr std::string_view kId = "mmsu_01arz3ndektsv4rrffq69g5fav";

TaskView make_view(TaskState state) {
  TaskView view;
  view.id = *TaskId::parse(kId);
  view.state = state;
  return view;
}

Output make_file(OutputType type, std::string name) {
  Output output;
  output.type = type;
  output.file_key = "0123456789abcdef0123456789abcdef";
  output.file_name = std::move(name);
  output.file_bytes = 1024;
  return output;
}

TEST(TaskJson, AnswersACreateByteForByte) {
  const Submitted submitted{.id = *TaskId::parse(kId), .position = 12};

  EXPECT_EQ(created_json(kQueue, submitted),
            R"({"request_id":"mmsu_01arz3ndektsv4rrffq69g5fav","response_url":)"
            R"("http://h/v1/queue/echo/requests/mmsu_01arz3ndektsv4rrffq69g5fav/response",)"
            R"("status_url":)"
            R"("http://h/v1/queue/echo/requests/mmsu_01arz3ndektsv4rrffq69g5fav/status",)"
            R"("cancel_url":)"
            R"("http://h/v1/queue/echo/requests/mmsu_01arz3ndektsv4rrffq69g5fav/cancel",)"
            R"("queue_position":12})");
  EXPECT_EQ(created_json(kFal, submitted),
            R"({"request_id":"mmsu_01arz3ndektsv4rrffq69g5fav",)"
            R"("response_url":"http://h/fal/a/b/requests/mmsu_01arz3ndektsv4rrffq69g5fav",)"
            R"("status_url":"http://h/fal/a/b/requests/mmsu_01arz3ndektsv4rrffq69g5fav/status",)"
            R"("cancel_url":"http://h/fal/a/b/requests/mmsu_01arz3ndektsv4rrffq69g5fav/cancel",)"
            R"("queue_position":12,"status":"IN_QUEUE"})");
}

TEST(TaskJson, ShowsTheThreeStatusesByteForByte) {
  TaskView queued = make_view(TaskState::queued);
  queued.position = 3;
  EXPECT_EQ(status_json(kQueue, queued, false),
            R"({"status":"IN_QUEUE","request_id":"mmsu_01arz3ndektsv4rrffq69g5fav",)"
            R"("queue_position":3,"response_url":"http://h/v1/queue/echo/requests/)"
            R"(mmsu_01arz3ndektsv4rrffq69g5fav/response","logs":null})");

  EXPECT_EQ(status_json(kFal, make_view(TaskState::running), false),
            R"({"status":"IN_PROGRESS","request_id":"mmsu_01arz3ndektsv4rrffq69g5fav",)"
            R"("response_url":"http://h/fal/a/b/requests/mmsu_01arz3ndektsv4rrffq69g5fav",)"
            R"("logs":null})");

  TaskView done = make_view(TaskState::succeeded);
  done.run_time = std::chrono::microseconds(12'340'000);
  EXPECT_EQ(status_json(kQueue, done, false),
            R"({"status":"COMPLETED","request_id":"mmsu_01arz3ndektsv4rrffq69g5fav",)"
            R"("response_url":"http://h/v1/queue/echo/requests/)"
            R"(mmsu_01arz3ndektsv4rrffq69g5fav/response","logs":null,)"
            R"("metrics":{"inference_time":12.34}})");
}

TEST(TaskJson, NamesEveryErrorTypeInBothDialects) {
  struct Row {
    ErrorType type;
    std::string_view queue;
    std::string_view fal;
    unsigned status;
    std::string_view text;
  };
  const Row rows[] = {
      {ErrorType::request_invalid, "REQUEST_INVALID", "bad_request", 422, "Task execution failed"},
      {ErrorType::content_blocked, "CONTENT_BLOCKED", "content_policy_violation", 422,
       "Task execution failed"},
      {ErrorType::inference_failure, "INFERENCE_FAILURE", "runner_server_error", 500,
       "Task execution failed"},
      {ErrorType::internal_server_error, "INTERNAL_SERVER_ERROR", "internal_error", 500,
       "Task execution failed"},
      {ErrorType::inference_timeout, "INFERENCE_TIMEOUT", "request_timeout", 504,
       "Task execution timed out"},
      {ErrorType::canceled, "CANCELED", "client_cancelled", 499, "Task canceled"},
  };
  for (const Row& row : rows) {
    TaskView view = make_view(TaskState::failed);
    view.error_type = row.type;
    EXPECT_EQ(wire_error_type(Dialect::queue, row.type), row.queue);
    EXPECT_EQ(wire_error_type(Dialect::fal, row.type), row.fal);
    EXPECT_EQ(failure_status(row.type), row.status);
    EXPECT_EQ(error_text(view), row.text);
    view.error = "the runner's own";
    EXPECT_EQ(error_text(view), "the runner's own");
  }
}

TEST(TaskJson, SaysWhenATaskWasNotStartedInTime) {
  TaskView view = make_view(TaskState::failed);
  view.error_type = ErrorType::inference_timeout;
  view.start_timed_out = true;
  const auto body = parse_json(status_json(kQueue, view, false, true))->get_object();
  EXPECT_EQ(body.at("error"), "Task was not started in time");
  EXPECT_EQ(body.at("detail"), "Task was not started in time");
  EXPECT_EQ(body.at("error_type"), "INFERENCE_TIMEOUT");
  EXPECT_FALSE(body.contains("metrics"));
}

TEST(TaskJson, WritesLogsWithLevelsAndTimes) {
  TaskView view = make_view(TaskState::running);
  view.progress = 0.25;
  view.logs = {{ManualClock().now().wall, LogSeverity::stderr_, false, "a \"b\"\n"},
               {ManualClock().now().wall, LogSeverity::warn, true, "late"}};
  const auto body = parse_json(status_json(kQueue, view, true))->get_object();
  EXPECT_EQ(body.at("progress"), 0.25);
  EXPECT_EQ(to_json(body.at("logs").at(0)),
            R"({"message":"a \"b\"\n","timestamp":"2026-02-02T02:40:00.000000Z",)"
            R"("level":"STDERR","source":"runner","labels":{"level":"STDERR"}})");
  EXPECT_EQ(body.at("logs").at(1).at("source"), "quern");
}

TEST(TaskJson, LeavesOutWhatIsUnknown) {
  TaskView view = make_view(TaskState::succeeded);
  Output text;
  text.type = OutputType::text;
  text.text = "hi";
  view.outputs = {text, make_file(OutputType::file, "a b.bin")};
  EXPECT_EQ(result_json(kQueue, view),
            R"({"request_id":"mmsu_01arz3ndektsv4rrffq69g5fav","outputs":[)"
            R"({"type":"text","text":"hi"},)"
            R"({"type":"file","url":"http://h/files/0123456789abcdef0123456789abcdef/a%20b.bin",)"
            R"("file_name":"a b.bin","file_size":1024}],"metadata":{}})");
}

TEST(TaskJson, AddsWhatFalsClientsRead) {
  TaskView view = make_view(TaskState::succeeded);
  Output video = make_file(OutputType::video, "a.mp4");
  video.duration = 1.5;
  view.outputs = {make_file(OutputType::image, "1.png"), video,
                  make_file(OutputType::video, "b.mp4"), make_file(OutputType::image, "2.png"),
                  make_file(OutputType::audio, "a.mp3")};
  view.metadata_json = R"({"seed":7})";
  const auto body = parse_json(result_json(kFal, view))->get_object();
  EXPECT_EQ(body.at("outputs").get_array().size(), 5U);
  EXPECT_EQ(body.at("images").get_array().size(), 2U);
  EXPECT_EQ(body.at("video").at("file_name"), "a.mp4");
  EXPECT_EQ(body.at("video").at("duration"), 1.5);
  EXPECT_EQ(body.at("audio").at("file_name"), "a.mp3");
  EXPECT_FALSE(body.contains("text"));
  EXPECT_EQ(body.at("metadata").at("seed"), 7);
  EXPECT_TRUE(body.at("images").at(0).at("file_size").is_int64());
}

TEST(TaskJson, WritesSecondsExactly) {
  const auto seconds = [](std::int64_t micros) {
    std::string out;
    append_seconds(out, std::chrono::microseconds(micros));
    return out;
  };
  EXPECT_EQ(seconds(0), "0.0");
  EXPECT_EQ(seconds(1), "0.000001");
  EXPECT_EQ(seconds(1'000'000), "1.0");
  EXPECT_EQ(seconds(61'050'000), "61.05");
  EXPECT_EQ(seconds(-5), "0.0");
}

TEST(TaskJson, TellsThatAFileIsEmpty) {
  TaskView view;
  view.state = TaskState::succeeded;
  view.outputs = {{.type = OutputType::file, .file_key = "key", .file_name = "e.txt"}};

  EXPECT_NE(result_json(TaskPlace{}, view).find(R"("file_name":"e.txt","file_size":0)"),
            std::string::npos);
}

}  // namespace
}  // namespace quern::api
