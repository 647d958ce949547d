#include "runner/process_executor.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "testing/eventually.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class RecordingSink final : public ProgressSink {
 public:
  void progress(double fraction) override {
    const std::scoped_lock lock(mutex_);
    progress_.push_back(fraction);
  }
  void log(LogEntry entry) override {
    const std::scoped_lock lock(mutex_);
    ++count_;
    if (entries_.size() < 1'000) entries_.push_back(std::move(entry));
  }
  void work_ended() override { ended_ = true; }

  [[nodiscard]] bool has_log(const std::string& text) const {
    const std::scoped_lock lock(mutex_);
    return std::ranges::any_of(entries_, [&](const LogEntry& e) { return e.message == text; });
  }
  [[nodiscard]] std::vector<LogEntry> entries() const {
    const std::scoped_lock lock(mutex_);
    return entries_;
  }
  [[nodiscard]] std::vector<double> all_progress() const {
    const std::scoped_lock lock(mutex_);
    return progress_;
  }
  [[nodiscard]] std::uint64_t count() const {
    const std::scoped_lock lock(mutex_);
    return count_;
  }
  [[nodiscard]] bool ended() const { return ended_; }

 private:
  mutable std::mutex mutex_;  // guards all below
  std::vector<LogEntry> entries_;
  std::vector<double> progress_;
  std::uint64_t count_ = 0;
  std::atomic<bool> ended_ = false;
};

bool is_alive(pid_t pid) {
  const auto stat = find_process(pid);
  return stat && !stat->dead;
}

class ProcessExecutorTest : public ::testing::Test {
 protected:
  ProcessExecutorTest()
      : guard_(std::move(*ProcessGuard::start(folder_.path() / "running"))),
        store_(std::move(*ArtifactStore::open(folder_.path() / "data", random_))),
        executor_(*store_, *guard_, clock_) {
    model_.id = "m";
    model_.executor = {.kind = "process", .command = {"./model"}, .dir = folder_.path()};
    model_.grace = seconds(30);  // a test that must wait for it would show
    claim_.lease.task = {.high = 5, .low = 7};
  }

  void write_program(const std::string& script) {
    const auto path = folder_.path() / "model";
    std::ofstream(path) << "#!/bin/sh\n" << script;
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  }

  Executor::Ending run_model(const std::string& input = "{}") {
    folders_ = *store_->make_folders(claim_.lease.task, claim_.attempt);
    const quern::Run run{.claim = claim_,
                         .model = model_,
                         .input_json = input,
                         .folders = folders_,
                         .deadline = WallTime{seconds(1'770'000'000)}};
    auto ending = executor_.run(run, sink_, stop_.get_token());
    store_->remove_folders(folders_);
    return ending;
  }
  Executor::Ending run(const std::string& script, const std::string& input = "{}") {
    write_program(script);
    return run_model(input);
  }
  // Runs the script, and stops it when it has said "ready".
  Executor::Ending run_and_stop(const std::string& script) {
    std::thread stopper([this] {
      EXPECT_TRUE(eventually([this] { return sink_.has_log("ready"); }));
      stop_.request_stop();
    });
    auto ending = run(script);
    stopper.join();
    return ending;
  }
  std::size_t files_in_store() const {
    std::size_t count = 0;
    for (const auto& item :
         std::filesystem::recursive_directory_iterator(folder_.path() / "data" / "files")) {
      if (item.is_regular_file()) ++count;
    }
    return count;
  }
  pid_t pid_from(const std::string& name) const {
    pid_t pid = 0;
    std::ifstream(folder_.path() / name) >> pid;
    return pid;
  }

  static void expect_failure(const Executor::Ending& ending, const std::string& reason,
                             bool retryable) {
    EXPECT_FALSE(ending.stopped);
    EXPECT_EQ(ending.outcome.end, AttemptEnd::failed);
    EXPECT_EQ(ending.outcome.error_type, ErrorType::inference_failure);
    EXPECT_EQ(ending.outcome.reason, reason);
    EXPECT_EQ(ending.outcome.retryable, retryable);
    EXPECT_EQ(ending.outcome.error, "");
  }

  TempFolder folder_;
  SystemRandom random_;
  SystemClock clock_;
  std::unique_ptr<ProcessGuard> guard_;
  std::unique_ptr<ArtifactStore> store_;
  ProcessExecutor executor_;
  Model model_;
  Claim claim_;
  AttemptFolders folders_;
  RecordingSink sink_;
  std::stop_source stop_;
};

// ---- what goes in

TEST_F(ProcessExecutorTest, GivesTheProgramItsTask) {
  claim_.attempt = 2;

  const auto ending = run("cat", R"({"prompt":"hi"})");

  EXPECT_EQ(ending.outcome.end, AttemptEnd::succeeded);
  ASSERT_EQ(sink_.entries().size(), 1U);
  EXPECT_EQ(sink_.entries()[0].message,
            R"({"request_id":")" + claim_.lease.task.to_string() +
                R"(","model":"m","attempt":2,"input":{"prompt":"hi"},"output_dir":")" +
                folders_.output.string() + R"(","deadline":"2026-02-02T02:40:00.000000Z"})");
}

TEST_F(ProcessExecutorTest, GivesTheProgramAnEnvironmentOfFourAndItsOwn) {
  model_.executor.env = {{"VOICE", "deep"}, {"HOME", "/elsewhere"}, {"TMPDIR", "/tmp"}};
  ::setenv("QUERN_SECRET_OF_THE_SERVER", "x", 1);

  run("env | cut -d= -f1 | grep -v -e PWD -e SHLVL -e ^_$ | sort | tr '\\n' ' '; echo; "
      "echo \"$HOME $TMPDIR\"");

  ASSERT_EQ(sink_.entries().size(), 2U);
  EXPECT_EQ(sink_.entries()[0].message, "HOME LANG PATH TMPDIR VOICE ");
  EXPECT_EQ(sink_.entries()[1].message, "/elsewhere " + folders_.temp.string());
}

TEST_F(ProcessExecutorTest, IsNotHeldUpByAProgramThatClosesItsInput) {
  const auto ending = run("exec 0<&-; echo closed; exit 0",
                          R"({"prompt":")" + std::string(8U << 20U, 'x') + R"("})");

  EXPECT_EQ(ending.outcome.end, AttemptEnd::succeeded);
  EXPECT_TRUE(sink_.has_log("closed"));
}

TEST_F(ProcessExecutorTest, WritesALargeInputWhileTheProgramTalks) {
  const auto ending = run("head -c 500000 /dev/zero | tr '\\0' 'y'; echo; wc -c",
                          R"({"prompt":")" + std::string(4U << 20U, 'x') + R"("})");

  EXPECT_EQ(ending.outcome.end, AttemptEnd::succeeded);
  EXPECT_GT(std::stoul(sink_.entries().back().message), 4U << 20U);
}

// ---- what comes out

TEST_F(ProcessExecutorTest, HearsProgressAndLogs) {
  const auto ending = run(R"(
echo '{"progress":0.25}'
echo '{"log":"half way","level":"DEBUG"}'
echo plain
echo trouble >&2
echo '{"progress":9}'
echo '{"unknown":1}'
printf 'no newline')");

  EXPECT_EQ(ending.outcome.end, AttemptEnd::succeeded);
  EXPECT_EQ(sink_.all_progress(), (std::vector<double>{0.25, 1.0}));
  const auto severity_of = [&](const std::string& message) {
    for (const LogEntry& entry : sink_.entries()) {
      if (entry.message == message) return entry.severity;
    }
    ADD_FAILURE() << message;
    return LogSeverity::error;
  };
  EXPECT_EQ(severity_of("half way"), LogSeverity::debug);
  EXPECT_EQ(severity_of("plain"), LogSeverity::stdout_);
  EXPECT_EQ(severity_of("trouble"), LogSeverity::stderr_);
  EXPECT_EQ(severity_of(R"({"unknown":1})"), LogSeverity::stdout_);
  EXPECT_EQ(severity_of("no newline"), LogSeverity::stdout_);
}

TEST_F(ProcessExecutorTest, KeepsOutputsInOrderWithTheirMetadata) {
  const auto ending = run(R"(
cd "$(dirname "$TMPDIR")/output"
mkdir deep; printf 'one' > a.txt; printf 'two' > deep/b.txt
echo '{"output":{"type":"file","path":"a.txt","metadata":{"n":1}}}'
echo '{"output":{"type":"text","text":"in line"}}'
echo '{"output":{"type":"text","path":"deep/b.txt"}}'
echo '{"metadata":{"seed":7,"steps":1}}'
echo '{"metadata":{"steps":2}}')");

  ASSERT_EQ(ending.outcome.end, AttemptEnd::succeeded) << ending.outcome.reason;
  const auto& outputs = ending.outcome.outputs;
  ASSERT_EQ(outputs.size(), 3U);
  EXPECT_EQ(outputs[0].file_name, "a.txt");
  EXPECT_EQ(outputs[0].file_bytes, 3U);
  EXPECT_EQ(outputs[0].metadata_json, R"({"n":1})");
  EXPECT_EQ(outputs[1].text, "in line");
  EXPECT_EQ(outputs[1].file_key, "");
  EXPECT_EQ(outputs[2].text, "two");
  EXPECT_EQ(ending.outcome.metadata_json, R"({"seed":7,"steps":2})");
  EXPECT_GT(ending.outcome.run_time.count(), 0);
  EXPECT_TRUE(sink_.ended());
  EXPECT_EQ(files_in_store(), 2U);
}

TEST_F(ProcessExecutorTest, GivesAFileThatIsNamedAgainAgain) {
  const auto ending = run(R"(
cd "$(dirname "$TMPDIR")/output"
printf 'one' > a.txt; ln -s a.txt link; mkdir deep
echo '{"output":{"type":"file","path":"a.txt","metadata":{"n":1}}}'
echo '{"output":{"type":"text","path":"deep/../a.txt"}}'
echo '{"output":{"type":"file","path":"'"$PWD"'/link","metadata":{"n":3}}}')");

  ASSERT_EQ(ending.outcome.end, AttemptEnd::succeeded) << ending.outcome.reason;
  const auto& outputs = ending.outcome.outputs;
  ASSERT_EQ(outputs.size(), 3U);
  for (const Output& output : outputs) {
    EXPECT_EQ(output.file_key, outputs[0].file_key);
    EXPECT_EQ(output.file_name, "a.txt");
    EXPECT_EQ(output.file_bytes, 3U);
  }
  EXPECT_EQ(outputs[0].type, OutputType::file);
  EXPECT_EQ(outputs[0].text, std::nullopt);
  EXPECT_EQ(outputs[0].metadata_json, R"({"n":1})");
  EXPECT_EQ(outputs[1].type, OutputType::text);
  EXPECT_EQ(outputs[1].text, "one");
  EXPECT_EQ(outputs[1].metadata_json, "");
  EXPECT_EQ(outputs[2].metadata_json, R"({"n":3})");
  EXPECT_EQ(files_in_store(), 1U);
  store_->remove(outputs);  // each of them is the one file
  EXPECT_EQ(files_in_store(), 0U);
}

TEST_F(ProcessExecutorTest, LeavesNothingOfAFileThatIsNamedAgainBeforeAFault) {
  const auto ending = run(R"(
cd "$(dirname "$TMPDIR")/output"; echo x > a
for path in a a missing missing; do echo '{"output":{"type":"file","path":"'$path'"}}'; done)");

  expect_failure(
      ending, "output 3 \"missing\" is missing, no regular file, or outside of output_dir", false);
  EXPECT_EQ(files_in_store(), 0U);
}

TEST_F(ProcessExecutorTest, RefusesPathsThatLeadOutOfTheOutputFolder) {
  std::ofstream(folder_.path() / "secret") << "secret";
  const auto reason = [&](const std::string& path) {
    return "output 1 \"" + path + "\" is missing, no regular file, or outside of output_dir";
  };
  const auto say = [](const std::string& path) {
    return "cd \"$(dirname \"$TMPDIR\")/output\"\nln -s ../../../../secret link\nln -s .. "
           "up\nmkdir d\nmkfifo f\n"
           "echo '{\"output\":{\"type\":\"file\",\"path\":\"" +
           path + "\"}}'";
  };

  for (const char* path :
       {"../../../../secret", "link", "up/tmp/../../../../secret", "missing", "d", "f"}) {
    expect_failure(run(say(path)), reason(path), false);
  }
  const std::string absolute = (folder_.path() / "secret").string();
  expect_failure(run(say(absolute)), reason("secret"), false);
  EXPECT_EQ(files_in_store(), 0U);
}

TEST_F(ProcessExecutorTest, PublishesNothingThroughALinkInPlaceOfTheOutputFolder) {
  const auto victim = folder_.path() / "victim" / "output" / "v.txt";
  std::filesystem::create_directories(victim.parent_path());
  std::ofstream(victim) << "theirs";
  const auto script = [](const std::string& replaced, const std::filesystem::path& target,
                         const std::string& type) {
    return "root=$(dirname \"$TMPDIR\"); out=$root/output\nmv \"$" + replaced + "\" aside" +
           replaced + type + "; ln -s \"" + target.string() + "\" \"$" + replaced +
           "\"\necho '{\"output\":{\"type\":\"" + type + "\",\"path\":\"v.txt\"}}'";
  };
  const std::string reason =
      "output 1 \"v.txt\" is missing, no regular file, or outside of output_dir";

  for (const char* type : {"file", "text"}) {
    expect_failure(run(script("out", folder_.path() / "victim" / "output", type)), reason, false);
    expect_failure(run(script("root", folder_.path() / "victim", type)), reason, false);
  }
  EXPECT_TRUE(std::filesystem::exists(victim));
  EXPECT_EQ(files_in_store(), 0U);
}

TEST_F(ProcessExecutorTest, FailsAtOnceWhenTheProgramRemovedItsOutputFolder) {
  for (const char* gone : {"$TMPDIR/../output", "$(dirname $TMPDIR)"}) {
    const auto ending = run("rm -rf \"" + std::string(gone) + "\"\n" +
                            R"(echo '{"output":{"type":"file","path":"x"}}')");

    expect_failure(ending, "output 1 \"x\" is missing, no regular file, or outside of output_dir",
                   false);
  }
}

TEST_F(ProcessExecutorTest, LeavesNothingInTheStoreWhenALaterOutputIsBad) {
  const auto ending = run(R"(
cd "$(dirname "$TMPDIR")/output"; echo x > a
echo '{"output":{"type":"file","path":"a"}}'
echo '{"output":{"type":"file","path":"missing"}}')");

  expect_failure(
      ending, "output 2 \"missing\" is missing, no regular file, or outside of output_dir", false);
  EXPECT_EQ(files_in_store(), 0U);
}

TEST_F(ProcessExecutorTest, RefusesTextThatIsTooLongOrNoText) {
  const auto text_file = [](const std::string& make) {
    return make + " > \"$(dirname \"$TMPDIR\")/output/t\"\n" +
           R"(echo '{"output":{"type":"text","path":"t"}}')";
  };

  expect_failure(run(text_file("head -c 1048577 /dev/zero")),
                 "output 1 has a text of more than 1 MiB", false);
  expect_failure(run(text_file("printf '\\377'")), "output 1 has a text that is not UTF-8", false);
  EXPECT_EQ(run(text_file("head -c 1048576 /dev/zero")).outcome.outputs.at(0).text->size(),
            1'048'576U);
}

TEST_F(ProcessExecutorTest, RefusesTooMuchTextOfManyFiles) {
  const auto text_files = [](int count) {
    return "cd \"$(dirname \"$TMPDIR\")/output\"\nfor i in $(seq " + std::to_string(count) +
           R"(); do
  head -c 1048576 /dev/zero > $i
  echo "{\"output\":{\"type\":\"text\",\"path\":\"$i\"}}"
done)";
  };

  expect_failure(run(text_files(17)), "more than 16 MiB of output and metadata lines", false);
  EXPECT_EQ(files_in_store(), 0U);
  EXPECT_EQ(run(text_files(15)).outcome.outputs.size(), 15U);
}

TEST_F(ProcessExecutorTest, RefusesTooManyOutputsAndBadRecords) {
  expect_failure(
      run(R"(for i in $(seq 1001); do echo '{"output":{"type":"text","text":"x"}}'; done)"),
      "more than 1000 outputs", false);
  expect_failure(run(R"(echo '{"output":{"type":"poem","text":"x"}}')"),
                 "output 1 has no type out of image, video, audio, model3d, text and file", false);
}

TEST_F(ProcessExecutorTest, FailsARunWhoseErrorOrOutputIsNoJson) {
  const std::string output = R"({"output":{"type":"text","text":"x","metadata":{"score":NaN}}})";
  expect_failure(run("echo '" + output + "'"), "output 1 is no JSON: a syntax error at byte 56",
                 false);
  const std::string warning =
      "a line that looks like a message is no JSON: a syntax error at byte ";
  EXPECT_TRUE(sink_.has_log(output));
  EXPECT_TRUE(sink_.has_log(warning + "56"));

  expect_failure(run(R"(echo '{"error":"boom","score":NaN}')"), "error line, exit 0", false);
  expect_failure(run(R"(printf '{"error":"caf\351"}\n'; exit 1)"), "error line, exit 1", false);
  expect_failure(run(R"(printf '{"output":{"type":"text","te')"),
                 "output 1 is no JSON: the text ends too early at byte 28", false);
}

TEST_F(ProcessExecutorTest, FailsARunWhoseOutputIsTooLongForALine) {
  expect_failure(run(R"(printf '{"output":{"type":"text","text":"'
head -c 5000000 /dev/zero | tr '\0' 'x'; echo '"}}')"),
                 "output 1 is in a line of more than 4 MiB", false);
}

TEST_F(ProcessExecutorTest, WarnsOfAMessageThatIsNoJson) {
  const auto ending = run(R"(echo '{"progress":NaN}'; echo '{"loss":NaN}')");

  EXPECT_EQ(ending.outcome.end, AttemptEnd::succeeded);
  ASSERT_EQ(sink_.entries().size(), 3U);
  EXPECT_EQ(sink_.entries()[0].message, R"({"progress":NaN})");
  EXPECT_EQ(sink_.entries()[1].message,
            "a line that looks like a message is no JSON: a syntax error at byte 12");
  EXPECT_EQ(sink_.entries()[1].severity, LogSeverity::warn);
  EXPECT_TRUE(sink_.entries()[1].from_quern);
  EXPECT_EQ(sink_.entries()[2].message, R"({"loss":NaN})");
}

TEST_F(ProcessExecutorTest, RepeatsARunThatDiedInTheMidstOfALine) {
  expect_failure(run(R"(printf '{"output":{"type":"text","te'; kill -9 $$)"), "signal 9 (Killed)",
                 true);
  expect_failure(run(R"(printf '{"error":"out of mem'; exit 1)"), "exit 1", true);
  const auto whole = run(R"(printf '{"error":"out of memory"}'; exit 1)");
  EXPECT_EQ(whole.outcome.error, "out of memory");
  EXPECT_FALSE(whole.outcome.retryable);
}

TEST_F(ProcessExecutorTest, RepeatsNoRunWhoseOutputMakesNoSenseWhateverTheExit) {
  expect_failure(run(R"(echo '{"output":{"type":"image"}}'; exit 1)"),
                 "output 1 has no path, exit 1", false);
  expect_failure(run(R"(echo '{"output":{"score":NaN}}'; kill -9 $$)"),
                 "output 1 is no JSON: a syntax error at byte 19, signal 9 (Killed)", false);
}

TEST_F(ProcessExecutorTest, KeepsNoOutputsOfAFailedRun) {
  const auto ending = run(R"(
echo x > "$(dirname "$TMPDIR")/output/a"
echo '{"output":{"type":"file","path":"a"}}'
exit 1)");

  expect_failure(ending, "exit 1", true);
  EXPECT_TRUE(ending.outcome.outputs.empty());
  EXPECT_EQ(files_in_store(), 0U);
}

TEST_F(ProcessExecutorTest, TakesGarbageForLogs) {
  const auto ending = run("head -c 300000 /dev/urandom; head -c 300000 /dev/urandom >&2");

  EXPECT_EQ(ending.outcome.end, AttemptEnd::succeeded);
  for (const LogEntry& entry : sink_.entries()) EXPECT_LE(entry.message.size(), kLogLineBytesMax);
}

TEST_F(ProcessExecutorTest, ReadsAGigabyteOfLogsInBoundedMemory) {
  const auto flood = [this](const std::string& bytes) {
    return run(
        "yes 'a line of some length, as programs write them when they have lost their way'"
        " | head -c " +
        bytes);
  };
  const auto peak = [] {
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    return used.ru_maxrss;  // KiB
  };
  // What an allocator under a sanitizer holds back is bounded too, but only after a while.
  flood("500000000");
  const auto before = peak();

  const auto ending = flood("1000000000");

  EXPECT_EQ(ending.outcome.end, AttemptEnd::succeeded);
  EXPECT_EQ(sink_.count(),
            500'000'000U / 76 + 1'000'000'000U / 76 + 2);  // the last of each flood is cut short
  EXPECT_LT(peak() - before, 64 * 1024);
}

TEST_F(ProcessExecutorTest, CutsALineWithoutAnEnd) {
  const auto ending = run("head -c 100000000 /dev/zero | tr '\\0' 'x'; echo; echo after");

  EXPECT_EQ(ending.outcome.end, AttemptEnd::succeeded);
  ASSERT_EQ(sink_.entries().size(), 2U);
  EXPECT_EQ(sink_.entries()[0].message.size(), kLogLineBytesMax);
  EXPECT_EQ(sink_.entries()[1].message, "after");
}

// ---- how it ends

TEST_F(ProcessExecutorTest, TellsHowAProgramFailed) {
  expect_failure(run("exit 3"), "exit 3", true);
  expect_failure(run("kill -SEGV $$"), "signal 11 (Segmentation fault)", true);
}

TEST_F(ProcessExecutorTest, TellsThatAProgramCannotStart) {
  const auto ending = run_model();

  expect_failure(ending, "could not start ./model: No such file or directory", true);
}

TEST_F(ProcessExecutorTest, BelievesAnErrorLineWhateverTheExit) {
  for (const char* exit : {"exit 0", "exit 1", "kill -9 $$"}) {
    const auto ending = run(std::string(R"(
echo '{"output":{"type":"text","text":"x"}}'
echo '{"error":"no face in the image","error_type":"REQUEST_INVALID"}'
)") + exit);

    EXPECT_FALSE(ending.stopped);
    EXPECT_EQ(ending.outcome.end, AttemptEnd::failed);
    EXPECT_EQ(ending.outcome.error_type, ErrorType::request_invalid);
    EXPECT_EQ(ending.outcome.error, "no face in the image");
    EXPECT_FALSE(ending.outcome.retryable);
    EXPECT_TRUE(ending.outcome.outputs.empty());
  }
}

TEST_F(ProcessExecutorTest, RepeatsAnErrorOnlyIfItIsToldTo) {
  EXPECT_TRUE(run(R"(echo '{"error":"busy","retryable":true}')").outcome.retryable);
  EXPECT_FALSE(run(R"(echo '{"error":"broken"}'; exit 1)").outcome.retryable);
}

TEST_F(ProcessExecutorTest, EndsAProgramThatStaysAfterItsError) {
  model_.grace = milliseconds(50);

  const auto ending = run(R"(echo '{"error":"broken"}'; trap '' TERM; sleep 1000)");

  EXPECT_FALSE(ending.stopped);
  EXPECT_EQ(ending.outcome.error, "broken");
}

// ---- stopping

TEST_F(ProcessExecutorTest, StopsAProgramBySigterm) {
  const auto ending = run_and_stop("trap 'echo bye; exit 0' TERM; echo ready; sleep 1000 & wait");

  EXPECT_TRUE(ending.stopped);
  EXPECT_TRUE(sink_.has_log("bye"));
}

TEST_F(ProcessExecutorTest, KillsAProgramThatIgnoresSigterm) {
  model_.grace = milliseconds(50);

  const auto ending =
      run_and_stop("trap '' TERM; echo $$ > pid; echo ready; while :; do sleep 1000; done");

  EXPECT_TRUE(ending.stopped);
  EXPECT_FALSE(find_process(pid_from("pid")));
}

TEST_F(ProcessExecutorTest, StopsASuspendedProgram) {
  const auto ending = run_and_stop("echo ready; kill -STOP $$; sleep 1000");

  EXPECT_TRUE(ending.stopped);
}

TEST_F(ProcessExecutorTest, DoesNotCallItStoppedWhenTheProgramEndedByItself) {
  stop_.request_stop();
  const auto stopped = run("sleep 1000");
  stop_ = {};
  const auto done = run("exit 0");

  EXPECT_TRUE(stopped.stopped);
  EXPECT_FALSE(done.stopped);
}

TEST_F(ProcessExecutorTest, KillsDescendantsThatLeftTheGroup) {
  model_.grace = milliseconds(50);

  const auto ending = run_and_stop(R"(
sh -c 'trap "" TERM; echo $$ > member; exec sleep 1000' &
setsid sh -c 'echo $$ > session; exec sleep 1000' &
(setsid sh -c 'echo $$ > daemon; exec sleep 1000' > /dev/null 2>&1 < /dev/null &)
(env -i setsid sh -c 'echo $$ > stranger; exec sleep 1000' > /dev/null 2>&1 < /dev/null &)
while ! [ -s member -a -s session -a -s daemon -a -s stranger ]; do sleep 0.01; done
echo ready; wait)");

  EXPECT_TRUE(ending.stopped);
  for (const char* name : {"member", "session", "daemon", "stranger"}) {
    ASSERT_GT(pid_from(name), 1) << name;
    EXPECT_FALSE(find_process(pid_from(name))) << name;
  }
}

TEST_F(ProcessExecutorTest, KillsWhatAProgramLeavesBehindWhenItEnds) {
  const auto ending = run(R"(
sh -c 'echo $$ > member; exec sleep 1000' &
(setsid sh -c 'echo $$ > daemon; exec sleep 1000' &)
while ! [ -s member -a -s daemon ]; do sleep 0.01; done
echo '{"output":{"type":"text","text":"done"}}')");

  EXPECT_EQ(ending.outcome.end, AttemptEnd::succeeded);
  EXPECT_EQ(ending.outcome.outputs.size(), 1U);
  for (const char* name : {"member", "daemon"}) {
    EXPECT_FALSE(find_process(pid_from(name))) << name;
  }
}

TEST_F(ProcessExecutorTest, SparesTheDescendantsOfAnotherTask) {
  std::ofstream(folder_.path() / "other")
      << "#!/bin/sh\n(setsid sh -c 'echo $$ > theirs; exec sleep 1000' &)\n"
         "while ! [ -s theirs ]; do sleep 0.01; done\necho ready\nwait\nsleep 1000";
  std::filesystem::permissions(folder_.path() / "other", std::filesystem::perms::owner_all);
  Model other = model_;
  other.executor.command = {"./other"};
  Claim claim;
  claim.lease.task = {.high = 9, .low = 9};
  const AttemptFolders folders = *store_->make_folders(claim.lease.task, 1);
  RecordingSink their_sink;
  std::stop_source their_stop;
  std::thread neighbour([&] {
    const quern::Run run{
        .claim = claim, .model = other, .input_json = "{}", .folders = folders, .deadline = {}};
    executor_.run(run, their_sink, their_stop.get_token());
  });
  ASSERT_TRUE(eventually([&] { return their_sink.has_log("ready"); }));

  run("(setsid sh -c 'echo $$ > ours; exec sleep 1000' &)\nwhile ! [ -s ours ]; do sleep 0.01; "
      "done");

  EXPECT_FALSE(find_process(pid_from("ours")));
  EXPECT_TRUE(is_alive(pid_from("theirs")));
  their_stop.request_stop();
  neighbour.join();
  EXPECT_FALSE(find_process(pid_from("theirs")));
}

}  // namespace
}  // namespace quern
