// How the files of a runner come into the store, and what it cannot make the store take.

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>

#include "artifact/artifact_store_fixture.h"
#include "artifact/measure_process.h"
#include "testing/process_limit.h"

namespace quern {
namespace {

using Adopt = ArtifactStoreTest;

TEST_F(Adopt, MovesTheFileAndTellsWhatItIs) {
  put("result", R"({"a": 1})");

  const auto adopted = store_->adopt(folders_, "result", OutputType::image);

  ASSERT_TRUE(adopted);
  EXPECT_EQ(adopted->type, OutputType::image);
  EXPECT_EQ(adopted->file_key.size(), 32U);
  EXPECT_EQ(adopted->file_name, "result.json");
  EXPECT_EQ(adopted->content_type, "application/json");
  EXPECT_EQ(adopted->file_bytes, 8U);
  EXPECT_EQ(content(*adopted), R"({"a": 1})");
  EXPECT_FALSE(fs::exists(folders_.output / "result"));
}

TEST_F(Adopt, SurvivesTheEndOfTheStoreAndOfTheWorkFolder) {
  put("a.txt", "kept");
  const Output output = adopt("a.txt");
  store_->remove_folders(folders_);

  reopen();

  EXPECT_EQ(content(output), "kept");
}

TEST_F(Adopt, GivesEachFileAKeyOfItsOwn) {
  std::set<std::string> keys;
  for (int i = 0; i < 20; ++i) {
    put("same.txt", std::to_string(i));
    const Output output = adopt("same.txt");
    keys.insert(output.file_key);
    EXPECT_EQ(content(output), std::to_string(i));
  }
  EXPECT_EQ(keys.size(), 20U);
}

TEST_F(Adopt, TakesPathsThatLeadInsideByAnyWay) {
  fs::create_directories(folders_.output / "sub");
  put("sub/a.txt", "a");
  put("b.txt", "b");
  put("c.txt", "c");
  put("d.txt", "d");
  fs::create_symlink("sub", folders_.output / "folder_link");
  fs::create_symlink(folders_.output / "c.txt", folders_.output / "absolute_link.txt");
  fs::create_symlink("../output/d.txt", folders_.output / "round_link.txt");

  EXPECT_EQ(content(adopt("folder_link/../sub/./a.txt")), "a");
  EXPECT_EQ(content(adopt((folders_.output / "b.txt").string())), "b");
  EXPECT_EQ(content(adopt("absolute_link.txt")), "c");
  EXPECT_EQ(content(adopt("round_link.txt")), "d");
}

TEST_F(Adopt, RefusesWhateverLiesOutside) {
  std::ofstream(temp_.path() / "secret") << "secret";
  std::ofstream(folders_.root / "outputs") << "beside";
  fs::create_symlink(temp_.path() / "secret", folders_.output / "link");
  fs::create_symlink(temp_.path(), folders_.output / "folder_link");
  fs::create_symlink("../outputs", folders_.output / "relative_link");
  const std::string outside = "is not inside the output folder";

  EXPECT_EQ(refusal("link"), "output \"link\" " + outside);
  EXPECT_EQ(refusal("folder_link/secret"), "output \"folder_link/secret\" " + outside);
  EXPECT_EQ(refusal("relative_link"), "output \"relative_link\" " + outside);
  EXPECT_EQ(refusal("../outputs"), "output \"../outputs\" " + outside);
  EXPECT_EQ(refusal("/etc/passwd"), "output \"/etc/passwd\" " + outside);
  EXPECT_EQ(refusal("."), "output \".\" " + outside);
  EXPECT_TRUE(fs::exists(temp_.path() / "secret"));
}

TEST_F(Adopt, RefusesWhatIsNoRegularFile) {
  fs::create_directories(folders_.output / "folder");
  ASSERT_EQ(::mkfifo((folders_.output / "pipe").c_str(), 0600), 0);
  const FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  (folders_.output / "socket").string().copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  fs::create_symlink("/dev/zero", folders_.output / "device");
  fs::create_symlink("loop", folders_.output / "loop");

  EXPECT_EQ(refusal("folder"), "output \"folder\" is not a regular file");
  EXPECT_EQ(refusal("pipe"), "output \"pipe\" is not a regular file");
  EXPECT_EQ(refusal("socket"), "output \"socket\" is not a regular file");
  EXPECT_EQ(refusal("device"), "output \"device\" is not inside the output folder");
  EXPECT_EQ(refusal("loop"), "output \"loop\" is a loop of links");
  EXPECT_EQ(refusal("missing"), "output \"missing\" does not exist in the output folder");
  EXPECT_EQ(refusal(""), "output \"\" is not a path");
  EXPECT_EQ(refusal(std::string("a\0b", 3)), std::string("output \"a\0b\" is not a path", 26));
  EXPECT_EQ(refusal(std::string(5000, 'a')).find("is too long a path"), 213U);
}

TEST_F(Adopt, RefusesFilesWithOtherHardLinks) {
  std::ofstream(temp_.path() / "others") << "shared";
  fs::create_hard_link(temp_.path() / "others", folders_.output / "mine");
  EXPECT_EQ(refusal("mine"), "output \"mine\" has other hard links");
}

TEST_F(Adopt, RefusesTheSameFileTwice) {
  put("a.txt", "a");
  adopt("a.txt");
  EXPECT_EQ(refusal("a.txt"), "output \"a.txt\" does not exist in the output folder");
}

TEST_F(Adopt, IsNeverLedAstrayByARunnerThatSwapsFiles) {
  std::ofstream(temp_.path() / "secret") << "secret";

  adopt_while([&](unsigned turn) {
    const fs::path next = folders_.output / "next";
    if (turn % 2 == 0) fs::create_symlink(temp_.path() / "secret", next);
    if (turn % 2 == 1) std::ofstream(next) << "mine";
    fs::rename(next, folders_.output / "a.txt");
  });

  EXPECT_TRUE(fs::exists(temp_.path() / "secret"));
}

TEST_F(Adopt, RefusesFoldersThatWereReplacedByLinks) {
  const fs::path outside = temp_.path() / "outside";
  const fs::path secret = outside / "output" / "v.txt";
  fs::create_directories(secret.parent_path());
  std::ofstream(secret) << "secret";
  put("v.txt", "mine");
  const std::pair<fs::path, fs::path> replacements[] = {
      {folders_.output, secret.parent_path()},
      {folders_.root, outside},
      {folders_.output, folders_.root / "aside"},
  };

  for (const auto& [folder, target] : replacements) {
    fs::rename(folder, folder.parent_path() / "aside");
    fs::create_symlink(target, folder);
    for (const fs::path& path : {fs::path("v.txt"), folders_.output / "v.txt", secret}) {
      refusal(path.string());
      const auto text = store_->read_output(folders_, path.string(), kBytesMax);
      ASSERT_FALSE(text) << *text;
      EXPECT_EQ(text.error().code, ErrorCode::invalid_argument);
    }
    fs::remove(folder);
    fs::rename(folder.parent_path() / "aside", folder);
  }

  EXPECT_TRUE(fs::exists(secret));
  EXPECT_EQ(content(adopt("v.txt")), "mine");
}

TEST_F(Adopt, RefusesEverythingOnceItsFolderIsGone) {
  fs::remove(folders_.output);
  refusal("a.txt");
  refusal(folders_.output / "a.txt");

  std::ofstream(folders_.output) << "no folder";
  refusal("a.txt");

  fs::remove_all(folders_.root);
  refusal("a.txt");
  const auto text = store_->read_output(folders_, "a.txt", kBytesMax);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, ErrorCode::invalid_argument);
}

TEST_F(Adopt, TellsAShortageOfDescriptorsFromARunnersFault) {
  put("a.txt", "a");
  const auto adopted = [&] {
    const DescriptorsLeft none(0);
    return store_->adopt(folders_, "a.txt", OutputType::file);
  }();

  ASSERT_FALSE(adopted);
  EXPECT_EQ(adopted.error().code, ErrorCode::unavailable);
  EXPECT_EQ(content(adopt("a.txt")), "a");
}

TEST_F(Adopt, IsNeverLedAstrayByARunnerThatSwapsItsFolder) {
  const fs::path outside = temp_.path() / "outside";
  fs::create_directories(outside);
  std::ofstream(outside / "a.txt") << "secret";

  adopt_while([&](unsigned /*turn*/) {
    std::ofstream(folders_.output / "a.txt") << "mine";
    fs::rename(folders_.output, folders_.root / "aside");
    fs::create_symlink(outside, folders_.output);
    fs::remove(folders_.output);
    fs::rename(folders_.root / "aside", folders_.output);
  });

  EXPECT_TRUE(fs::exists(outside / "a.txt"));
}

TEST_F(Adopt, CopiesWhatCannotBeLinked) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs a file of another owner";
  put("theirs.txt", "theirs");
  ASSERT_EQ(::chown((folders_.output / "theirs.txt").c_str(), 12345, 12345), 0);

  const Output output = adopt("theirs.txt");

  EXPECT_EQ(content(output), "theirs");
  struct stat status{};
  ASSERT_EQ(::stat(store_->find_path(output.file_key, output.file_name)->c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, ::geteuid());
  EXPECT_EQ(count_temp_files(), 0U);
}

TEST_F(Adopt, CopiesWhatSomebodyStillWrites) {
  put("open.txt", "first");
  std::ofstream writer(folders_.output / "open.txt", std::ios::app);

  const Output output = adopt("open.txt");
  writer << " and later" << std::flush;

  EXPECT_EQ(content(output), "first");
  EXPECT_EQ(output.file_bytes, 5U);
  EXPECT_EQ(count_temp_files(), 0U);
}

TEST_F(Adopt, CopiesNothingOnceItIsToStop) {
  put("open.txt", "first");
  const std::ofstream writer(folders_.output / "open.txt", std::ios::app);
  std::stop_source stop;
  stop.request_stop();

  const auto adopted = store_->adopt(folders_, "open.txt", OutputType::text, stop.get_token());

  ASSERT_FALSE(adopted);
  EXPECT_EQ(adopted.error().code, ErrorCode::unavailable);
  EXPECT_EQ(count_temp_files(), 0U);
  EXPECT_TRUE(fs::exists(folders_.output / "open.txt"));
}

TEST_F(Adopt, KeepsNoFileThatWasNotMeasuredBecauseItIsToStop) {
  store_.reset();
  store_ = *ArtifactStore::open(temp_.path() / "data", random_,
                                measure_by_process({"/bin/sleep", "1000"}));
  folders_ = *store_->make_folders(task_, 2);
  put("a.wav", "RIFF\x08" + std::string(3, '\0') + "WAVEfmt ");
  std::stop_source stop;
  stop.request_stop();

  const auto adopted = store_->adopt(folders_, "a.wav", OutputType::audio, stop.get_token());

  ASSERT_FALSE(adopted);
  EXPECT_EQ(adopted.error().code, ErrorCode::unavailable);
  EXPECT_TRUE(fs::exists(folders_.output / "a.wav"));
}

TEST_F(Adopt, TakesTheMeasuresThatItIsGivenUntilItIsToStop) {
  bool is_to_stop = false;
  store_.reset();
  store_ = *ArtifactStore::open(temp_.path() / "data", random_,
                                [&](int /*fd*/, const std::stop_token& stop) {
                                  is_to_stop = stop.stop_requested();
                                  return Result<MediaMeasures>(MediaMeasures{.duration = 3});
                                });
  folders_ = *store_->make_folders(task_, 2);
  put("a.wav", "RIFF\x08" + std::string(3, '\0') + "WAVEfmt ");
  std::stop_source stop;
  stop.request_stop();

  const auto adopted = store_->adopt(folders_, "a.wav", OutputType::audio, stop.get_token());

  ASSERT_TRUE(adopted);
  EXPECT_TRUE(is_to_stop);
  EXPECT_EQ(adopted->duration, 3);
}

TEST_F(Adopt, ReadsTextOutputsUnderTheSameRulesAndALimit) {
  put("a.txt", "some text");
  fs::create_symlink("/etc/hostname", folders_.output / "link");

  EXPECT_EQ(store_->read_output(folders_, "a.txt", 9).value_or(""), "some text");
  EXPECT_EQ(store_->read_output(folders_, "a.txt", 8).error().code, ErrorCode::too_large);
  EXPECT_EQ(store_->read_output(folders_, "link", 100).error().code, ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace quern
