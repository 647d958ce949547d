#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "artifact/measure_process.h"
#include "runner/dispatcher.h"
#include "runner/dispatcher_fixture.h"
#include "runner/process_executor.h"
#include "runner/runner_lines.h"

namespace quern {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

// ---- with real programs

constexpr const char* kRefusesAndWaits = R"sh(
echo '{"error":"bad seed","error_type":"REQUEST_INVALID"}'
echo tidying up
sleep 1000)sh";

class DispatcherProcessTest : public DispatcherTest {
 protected:
  void serve(const std::string& script, milliseconds timeout = minutes(10),
             std::shared_ptr<const Schema> schema = nullptr) {
    guard_ = std::move(*ProcessGuard::start(folder_.path() / "running"));
    queue_ = std::make_unique<FakeQueue>();
    Model model = make_model("m", "process");
    model.executor.command = {"/bin/sh", "-c", script};
    model.executor.dir = folder_.path();
    model.timeout = timeout;
    model.concurrency = 2;
    model.schema = std::move(schema);
    run({{"process", std::make_shared<ProcessExecutor>(*store_, *guard_, clock_)}}, {model});
  }
  ~DispatcherProcessTest() override { dispatcher_.reset(); }

  std::size_t count_in(const char* folder) const {
    std::size_t count = 0;
    for (const auto& item :
         std::filesystem::recursive_directory_iterator(folder_.path() / folder)) {
      if (item.is_regular_file()) ++count;
    }
    return count;
  }

  std::unique_ptr<ProcessGuard> guard_;
};

TEST_F(DispatcherProcessTest, RunsAProgramFromInputToOutput) {
  serve(R"sh(
out=$(sed 's/.*"output_dir":"\([^"]*\)".*/\1/')
printf hello > "$out/hello.txt"
echo '{"output":{"type":"text","path":"hello.txt"}}'
echo '{"metadata":{"seed":7}}')sh");

  const TaskId task = queue_->add("m", R"({"prompt":"hi"})");
  const auto outcome = queue_->wait_for_end(task);

  ASSERT_TRUE(outcome);
  ASSERT_EQ(outcome->end, AttemptEnd::succeeded) << outcome->reason;
  EXPECT_EQ(outcome->outputs.at(0).text, "hello");
  EXPECT_EQ(outcome->metadata_json, R"({"prompt":"hi","seed":7})");
  const auto work = folder_.path() / "work" / (task.to_string() + "-1");
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(work); }));
}

TEST_F(DispatcherProcessTest, EndsTheProgramOfACanceledTaskBeforeItSaysSo) {
  serve("echo $$ > pid.new; mv pid.new pid; trap 'exit 0' TERM; sleep 1000 & wait");
  const TaskId task = queue_->add("m");
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(folder_.path() / "pid"); }));
  pid_t pid = 0;
  std::ifstream(folder_.path() / "pid") >> pid;

  queue_->cancel(task);

  EXPECT_EQ(queue_->wait_for_end(task)->end, AttemptEnd::canceled);
  EXPECT_FALSE(find_process(pid));
}

TEST_F(DispatcherProcessTest, EndsAProgramWhoseTimeIsUp) {
  serve("sleep 1000", milliseconds(100));

  EXPECT_EQ(queue_->wait_for_end(queue_->add("m"))->error_type, ErrorType::inference_timeout);
}

TEST_F(DispatcherProcessTest, KeepsAnErrorThatCameBeforeAShutdown) {
  serve(kRefusesAndWaits);
  const TaskId task = queue_->add("m");
  ASSERT_TRUE(queue_->wait_for(task, [](const auto& record) { return !record.logs.empty(); }));

  dispatcher_->drain({});

  const auto outcome = queue_->record(task).outcomes.at(0);
  EXPECT_EQ(outcome.end, AttemptEnd::failed);
  EXPECT_EQ(outcome.error_type, ErrorType::request_invalid);
  EXPECT_EQ(outcome.error, "bad seed");
}

TEST_F(DispatcherProcessTest, CallsATaskCanceledThoughItHadFailed) {
  serve(kRefusesAndWaits);
  const TaskId task = queue_->add("m");
  ASSERT_TRUE(queue_->wait_for(task, [](const auto& record) { return !record.logs.empty(); }));

  queue_->cancel(task);

  EXPECT_EQ(queue_->wait_for_end(task)->end, AttemptEnd::canceled);
}

TEST_F(DispatcherProcessTest, HandsBackWhatFailsOnlyAsItIsShutDown) {
  serve(R"sh(
trap 'echo "{\"error\":\"interrupted\"}"; exit 1' TERM
echo ready
sleep 1000 & wait)sh");
  const TaskId task = queue_->add("m");
  ASSERT_TRUE(queue_->wait_for(task, [](const auto& record) { return !record.logs.empty(); }));

  dispatcher_->drain({});

  EXPECT_EQ(queue_->record(task).outcomes.at(0).end, AttemptEnd::released);
}

TEST_F(DispatcherProcessTest, LeavesNoFilesOfAnAttemptThatLostItsLease) {
  serve(R"sh(
out=$(sed 's/.*"output_dir":"\([^"]*\)".*/\1/')
printf hello > "$out/hello.txt"
echo '{"output":{"type":"file","path":"hello.txt"}}'
touch wrote
while ! [ -e go ]; do sleep 0.01; done)sh");
  const TaskId task = queue_->add("m");
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(folder_.path() / "wrote"); }));

  queue_->lose_silently(task);
  std::ofstream(folder_.path() / "go") << "";

  EXPECT_TRUE(eventually([&] { return attempts("m", "lost") == 1; }));
  EXPECT_TRUE(eventually([&] { return count_in("files") == 0; }));
}

// Of two outputs one is measured when the stop comes.
class OutputsBeingMeasured : public DispatcherProcessTest {
 protected:
  TaskId measure_for_ever(milliseconds timeout = minutes(10)) {
    const std::string script =
        "echo >" + (folder_.path() / "measuring").string() + "; exec sleep 1000";
    store_ = std::move(*ArtifactStore::open(folder_.path(), random_,
                                            measure_by_process({"/bin/sh", "-c", script})));
    serve(R"sh(
out=$(sed 's/.*"output_dir":"\([^"]*\)".*/\1/')
printf hello > "$out/a.txt"
printf 'RIFF\010\000\000\000WAVEfmt ' > "$out/b.wav"
echo '{"output":{"type":"file","path":"a.txt"}}'
echo '{"output":{"type":"audio","path":"b.wav"}}')sh",
          timeout);
    const TaskId task = queue_->add("m");
    EXPECT_TRUE(eventually([&] { return std::filesystem::exists(folder_.path() / "measuring"); }));
    return task;
  }
};

TEST_F(OutputsBeingMeasured, AreHandedBackWithTheirTaskByAShutdown) {
  const TaskId task = measure_for_ever();

  dispatcher_->drain({});

  EXPECT_EQ(queue_->record(task).outcomes.at(0).end, AttemptEnd::released);
  EXPECT_EQ(count_in("files"), 0U);
}

TEST_F(OutputsBeingMeasured, GoWithACanceledTask) {
  const TaskId task = measure_for_ever();

  queue_->cancel(task);

  EXPECT_EQ(queue_->wait_for_end(task)->end, AttemptEnd::canceled);
  EXPECT_EQ(count_in("files"), 0U);
}

TEST_F(OutputsBeingMeasured, GoWithATaskWhoseTimeIsUp) {
  const TaskId task = measure_for_ever(seconds(2));

  EXPECT_EQ(queue_->wait_for_end(task)->error_type, ErrorType::inference_timeout);
  EXPECT_EQ(count_in("files"), 0U);
}

TEST_F(DispatcherProcessTest, TellsTheCallerWhatIsWrongWithAnInputFile) {
  serve("exit 0");

  const auto outcome = queue_->wait_for_end(queue_->add("m", R"({"image":"data:;base64,***"})"));

  EXPECT_EQ(outcome->end, AttemptEnd::failed);
  EXPECT_EQ(outcome->error_type, ErrorType::request_invalid);
  EXPECT_TRUE(outcome->error.starts_with("image: ")) << outcome->error;
}

TEST_F(DispatcherProcessTest, CutsWhatItSaysOfALongNameInAnInput) {
  serve("exit 0");

  const auto outcome = queue_->wait_for_end(
      queue_->add("m", "{\"" + std::string(1U << 20U, 'k') + R"(":"data:;base64,***"})"));

  EXPECT_EQ(outcome->error_type, ErrorType::request_invalid);
  EXPECT_LE(outcome->error.size(), kErrorTextBytesMax);
  EXPECT_LE(outcome->reason.size(), kErrorTextBytesMax + 100);
}

TEST_F(DispatcherProcessTest, TellsTheCallerOfAnInputThatGrowsTooMuchByDefaults) {
  const std::string text(1U << 20U, 'x');
  const auto document = parse_json(
      R"({"properties":{"l":{"items":{"properties":{"p":{"default":")" + text + R"("}}}}}})");
  serve("exit 0", minutes(10), *Schema::compile(document->get_object()));
  json::object input;
  input["l"] = json::array(100, json::object());

  const auto outcome = queue_->wait_for_end(queue_->add("m", to_json(input)));

  EXPECT_EQ(outcome->end, AttemptEnd::failed);
  EXPECT_EQ(outcome->error_type, ErrorType::request_invalid);
  EXPECT_EQ(outcome->error, "the schema's defaults would add more than 64 MiB to this input");
}

}  // namespace
}  // namespace quern
