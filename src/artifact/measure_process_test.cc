#include "artifact/measure_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "artifact/file_descriptor.h"
#include "testing/process_limit.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class MeasureProcess : public testing::Test {
 protected:
  MeasureProcess() {
    std::ofstream(temp_.path() / "file") << "what the program is to measure";
    file_ = FileDescriptor(::open((temp_.path() / "file").c_str(), O_RDONLY | O_CLOEXEC));
  }

  Result<MediaMeasures> measure(const std::string& script, const std::stop_token& stop = {},
                                milliseconds patience = seconds(60)) const {
    return measure_by_process({"/bin/sh", "-c", script}, patience)(file_.get(), stop);
  }
  static bool is_without(const Result<MediaMeasures>& found) {
    return found && found->width == 0 && found->height == 0 && found->duration == 0 &&
           !found->has_video && !found->has_audio;
  }

  TempFolder temp_;
  FileDescriptor file_;
};

TEST_F(MeasureProcess, TellsWhatTheProgramFindsInItsStandardInput) {
  const auto found =
      measure("[ \"$(cat)\" = 'what the program is to measure' ] && echo '640 480 1.25 1 0'");

  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->width, 640U);
  EXPECT_EQ(found->height, 480U);
  EXPECT_EQ(found->duration, 1.25);
  EXPECT_TRUE(found->has_video);
  EXPECT_FALSE(found->has_audio);
}

TEST_F(MeasureProcess, TakesNothingElseForMeasures) {
  for (const char* answer :
       {"", "640", "640 480 1.25 1", "640 480 1.25 1 0 7", "-1 480 1.25 1 0", "a b c d e",
        "640 480 nan 1 0", "640 480 inf 1 0", "640 480 -1 1 0", "99999999999 1 0 0 0"}) {
    EXPECT_TRUE(is_without(measure("echo '" + std::string(answer) + "'"))) << answer;
  }
  EXPECT_TRUE(is_without(measure("exit 1")));
  EXPECT_TRUE(is_without(measure("yes '1 1 1 1 1'")));
  EXPECT_TRUE(is_without(measure_by_process({"/no/such/program"})(file_.get(), {})));
}

TEST_F(MeasureProcess, EndsAProgramThatTakesTooLong) {
  const std::filesystem::path pid = temp_.path() / "pid";

  EXPECT_TRUE(
      is_without(measure("echo $$ >" + pid.string() + "; exec sleep 1000", {}, milliseconds(300))));

  std::string number;
  const bool had_begun = static_cast<bool>(std::ifstream(pid) >> number);
  EXPECT_FALSE(had_begun && std::filesystem::exists("/proc/" + number));
}

TEST_F(MeasureProcess, EndsTheProgramWhenAskedToStop) {
  std::stop_source stop;
  std::jthread stopping([&] {
    std::this_thread::sleep_for(milliseconds(100));
    stop.request_stop();
  });

  const auto begun = std::chrono::steady_clock::now();
  const auto found = measure("exec sleep 1000", stop.get_token(), seconds(300));
  ASSERT_FALSE(found) << "a file that was not measured is not one without measures";
  EXPECT_EQ(found.error().code, ErrorCode::unavailable);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, seconds(200));
}

TEST_F(MeasureProcess, RunsTheProgramOutOfReachOfSignalsToTheServersGroup) {
  const auto found = measure("set -- $(cat /proc/$$/stat); [ $5 = $$ ] && echo '1 1 1 1 1'");

  ASSERT_TRUE(found);
  EXPECT_EQ(found->width, 1U) << "its group is not its own";
}

TEST_F(MeasureProcess, TellsAShortageOfDescriptors) {
  const DescriptorsLeft none(0);

  const auto found = measure("echo '1 1 1 1 1'");

  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::unavailable);
}

}  // namespace
}  // namespace quern
