// Held answers and event streams, over real sockets.

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "api/api_fixture.h"
#include "testing/eventually.h"

namespace quern::api {
namespace {

class HeldAnswersTest : public ApiTest {
 protected:
  /// An event stream of `task`, which is watched.
  int stream_with_logs(const TaskView& task) {
    queue_.set_task(task);
    const int stream = connect();
    ask(stream, "GET /fal/quern/echo/requests/" + std::string(kId) + "/status/stream?logs=1");
    EXPECT_TRUE(queue_.wait_for_watches(1));
    return stream;
  }

  /// The task's logs are `logs` at its end, `dropped` fewer than were written. Answers all that was
  /// streamed, with each of `messages` once.
  std::string end_with_logs(int stream, TaskView task, std::vector<LogEntry> logs,
                            std::uint64_t dropped, std::initializer_list<const char*> messages) {
    task.state = TaskState::succeeded;
    task.logs = std::move(logs);
    task.logs_dropped = dropped;
    queue_.set_task(task);
    std::string text = read_all(stream);
    for (const char* message : messages)
      EXPECT_EQ(count_of(fmt::format("\"{}\"", message), text), 1U) << message;
    return text;
  }

  /// A held answer and an event stream.
  std::pair<int, int> hold_open() {
    const int held = connect();
    ask(held, status_path("/status?wait=60"));
    EXPECT_TRUE(queue_.wait_for_watches(1));
    const int stream = connect();
    ask(stream, "GET /fal/quern/echo/requests/" + std::string(kId) + "/status/stream");
    EXPECT_TRUE(queue_.wait_for_watches(2));
    return {held, stream};
  }
};

TEST_F(HeldAnswersTest, EndsHeldAnswersAtADrainAndStreamsWhenTheServerStops) {
  const auto [held, stream] = hold_open();

  api_->start_drain();
  EXPECT_TRUE(holds(read_all(held), {" 200 OK", "IN_PROGRESS"}));
  EXPECT_TRUE(queue_.wait_for_watches(1));
  const int later = connect();
  ask(later, "GET /fal/quern/echo/requests/" + std::string(kId) + "/status/stream");
  EXPECT_TRUE(queue_.wait_for_watches(2));
  api_->end_live();

  for (const int each : {stream, later}) {
    const std::string text = read_all(each);
    EXPECT_TRUE(holds(text, {" 200 OK", "data: {"}));
    EXPECT_FALSE(text.ends_with("\r\n0\r\n\r\n"))
        << text;  // to fal's client that is the task's end
  }
  EXPECT_TRUE(queue_.wait_for_watches(0));
}

TEST_F(HeldAnswersTest, StreamsWhatADrainStillBrought) {
  const auto [held, stream] = hold_open();
  api_->start_drain();

  queue_.set_task(make_task(TaskState::succeeded));
  api_->end_live();

  EXPECT_TRUE(holds(read_all(stream), {"IN_PROGRESS", "COMPLETED", "0\r\n\r\n"}));
  EXPECT_TRUE(holds(read_all(held), {" 200 OK"}));
}

TEST_F(HeldAnswersTest, EndsWhatIsHeldOpenForAKeyThatIsTakenAway) {
  const auto [held, stream] = hold_open();

  api_->reload({ring_of("another secret of this key"), catalog_of("other")});
  EXPECT_TRUE(queue_.wait_for_watches(2));
  api_->reload({ring_of("secret", "another"), catalog_of("echo")});

  ASSERT_TRUE(queue_.wait_for_watches(0));
  EXPECT_TRUE(holds(read_all(held), {" 200 OK", "IN_PROGRESS"}));
  const std::string text = read_all(stream);
  EXPECT_TRUE(holds(text, {" 200 OK", "data: {"}));
  EXPECT_FALSE(text.ends_with("\r\n0\r\n\r\n")) << text;
}

TEST_F(HeldAnswersTest, FreesWhatACallerWaitedForWhenItLeaves) {
  const int held = connect();
  ask(held, status_path("/status?wait=60"));
  ASSERT_TRUE(queue_.wait_for_watches(1));

  ::close(held);

  EXPECT_TRUE(queue_.wait_for_watches(0));
}

TEST_F(HeldAnswersTest, AnswersAtOnceWhenTooManyAnswersAreHeld) {
  serve({.waits_max = 1});
  const int held = connect();
  ask(held, status_path("/status?wait=60"));
  ASSERT_TRUE(queue_.wait_for_watches(1));

  EXPECT_TRUE(holds(talk(status_path("/status?wait=60")), {" 200 OK", "IN_PROGRESS"}));

  queue_.set_task(make_task(TaskState::succeeded));
  EXPECT_TRUE(holds(read_all(held), {" 200 OK", "COMPLETED"}));
}

TEST_F(HeldAnswersTest, KeepsAQuietStreamAliveWithComments) {
  serve({.stream_comment_every = std::chrono::milliseconds(5)});
  const int stream = connect();
  ask(stream, "GET /fal/quern/echo/requests/" + std::string(kId) + "/status/stream");
  std::string text;
  char byte = 0;
  while (text.find(": waiting") == std::string::npos && ::recv(stream, &byte, 1, 0) == 1)
    text += byte;

  queue_.set_task(make_task(TaskState::succeeded));

  EXPECT_TRUE(holds(text + read_all(stream), {"IN_PROGRESS", ": waiting", "COMPLETED"}));
}

TEST_F(HeldAnswersTest, FreesAStreamWhoseCallerHasLeft) {
  serve({.stream_comment_every = std::chrono::milliseconds(5)});
  const int stream = connect();
  ask(stream, "GET /fal/quern/echo/requests/" + std::string(kId) + "/status/stream");
  ASSERT_TRUE(queue_.wait_for_watches(1));

  ::close(stream);

  EXPECT_TRUE(queue_.wait_for_watches(0));
}

TEST_F(HeldAnswersTest, StreamsOnlyTheLogEntriesThatAreNew) {
  TaskView task = make_task(TaskState::running);
  task.logs = {{clock_.now().wall, LogSeverity::info, false, "first"}};
  const int stream = stream_with_logs(task);

  task.state = TaskState::succeeded;
  task.logs.push_back({clock_.now().wall, LogSeverity::info, false, "second"});
  queue_.set_task(task);

  const std::string text = read_all(stream);
  EXPECT_TRUE(holds(text, {"first", "second"}));
  EXPECT_EQ(text.find("first"), text.rfind("first"));
}

TEST_F(HeldAnswersTest, StreamsInAsciiAlone) {
  TaskView task = make_task(TaskState::running);
  task.logs = {{clock_.now().wall, LogSeverity::info, false, "gr\xC3\xBC\xC3\x9F"}};
  const int stream = stream_with_logs(task);

  task.state = TaskState::succeeded;
  queue_.set_task(task);

  EXPECT_TRUE(holds(read_all(stream), {R"("message":"gr\u00fc\u00df")"}));
}

TEST_F(HeldAnswersTest, LeavesAConnectionFreeAfterTheHeadOfAStream) {
  const int caller = connect();
  const std::string heads = "Host: h\r\nAuthorization: Key secret\r\n";
  const std::string both = "HEAD /fal/quern/echo/requests/" + std::string(kId) +
                           "/status/stream HTTP/1.1\r\n" + heads + "\r\nGET /healthz HTTP/1.1\r\n" +
                           heads + "Connection: close\r\n\r\n";

  ASSERT_EQ(::send(caller, both.data(), both.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(both.size()));

  EXPECT_EQ(count_of("HTTP/1.1 200 OK", read_all(caller)), 2U);
}

TEST_F(HeldAnswersTest, AnswersAHeldCallerThatEndsItsSideOfTheConnection) {
  const int held = connect();
  ask(held, "GET /v1/queue/echo/requests/" + std::string(kId) + "/status?wait=60");
  ASSERT_TRUE(queue_.wait_for_watches(1));

  ::shutdown(held, SHUT_WR);

  EXPECT_TRUE(holds(read_all(held), {"HTTP/1.1 200 OK", R"("status":"IN_PROGRESS")"}));
  EXPECT_TRUE(queue_.wait_for_watches(0));
}

// A program that prints a line again and again, which is read in pieces.
TEST_F(HeldAnswersTest, StreamsEachOfManyLogEntriesThatAreEqual) {
  const LogEntry same{clock_.now().wall, LogSeverity::info, false, "same"};
  const auto repeat = [&](std::size_t count) {
    std::vector<LogEntry> logs(count, same);
    for (std::size_t i = 0; i < count; ++i) logs[i].number = i;
    return logs;
  };
  TaskView task = make_task(TaskState::running);
  task.logs = repeat(1);
  const int stream = stream_with_logs(task);

  task.state = TaskState::succeeded;
  task.logs = repeat(60);
  queue_.set_task(task);

  EXPECT_EQ(count_of("\"same\"", read_all(stream)), 60U);
}

/// Of the runner, or without a number of the queue itself.
LogEntry log_entry(const std::string& text, std::optional<std::uint64_t> number = std::nullopt) {
  return {WallTime{}, LogSeverity::info, !number, text, number};
}

TEST_F(HeldAnswersTest, StreamsWhatIsNewThoughOldLogEntriesWereDropped) {
  TaskView task = make_task(TaskState::running);
  task.logs = {log_entry("a", 0), log_entry("b", 1), log_entry("c", 2)};
  const int stream = stream_with_logs(task);

  const std::string text = end_with_logs(stream, task,
                                         {log_entry("2 earlier lines were dropped"),
                                          log_entry("c", 2), log_entry("d", 3), log_entry("e", 4)},
                                         2, {"a", "b", "c", "d", "e"});

  EXPECT_EQ(count_of("dropped", text), 0U) << "none that was not sent";
}

TEST_F(HeldAnswersTest, StreamsAnEntryOnceThoughLinesAfterItWereDropped) {
  TaskView task = make_task(TaskState::running);
  task.logs = {log_entry("started"), log_entry("a", 0)};
  const int stream = stream_with_logs(task);

  const std::string text =
      end_with_logs(stream, task,
                    {log_entry("500 earlier lines were dropped"), log_entry("started"),
                     log_entry("b", 500), log_entry("c", 501), log_entry("ended")},
                    500, {"started", "a", "b", "c", "ended"});

  EXPECT_EQ(count_of("\"499 earlier lines were dropped", text), 1U) << "but for one that was sent";
}

}  // namespace
}  // namespace quern::api
