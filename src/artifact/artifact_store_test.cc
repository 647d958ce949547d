#include "artifact/artifact_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <fstream>
#include <iterator>
#include <set>
#include <thread>

#include "artifact/artifact_store_fixture.h"
#include "testing/process_limit.h"

namespace quern {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMany = 1000;

WallTime machine_time() { return SystemClock().now().wall; }

using Uploads = ArtifactStoreTest;
using Serving = ArtifactStoreTest;
using Folders = ArtifactStoreTest;
using Expiry = ArtifactStoreTest;

TEST_F(Serving, KnowsNothingButExactKeysAndNames) {
  put("a.txt", "a");
  const Output output = adopt("a.txt");
  const std::string& key = output.file_key;
  std::string upper = key;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  ASSERT_TRUE(store_->find_path(key, "a.txt"));

  const std::vector<std::pair<std::string, std::string>> wrong = {
      {key, "b.txt"},
      {key, ""},
      {key, "."},
      {key, ".."},
      {key, "./a.txt"},
      {key, "../" + key + "/a.txt"},
      {key, "/etc/passwd"},
      {key, std::string("a.txt\0", 6)},
      {key, "a.txt/"},
      {upper + "x", "a.txt"},
      {"", "a.txt"},
      {key.substr(0, 31), "a.txt"},
      {key + "0", "a.txt"},
      {std::string(32, '.'), "a.txt"},
      {std::string(32, '0'), "a.txt"},
      {"../files/" + key.substr(0, 23), "a.txt"},
  };
  for (const auto& [wrong_key, name] : wrong) {
    const auto file = store_->open_file(wrong_key, name);
    ASSERT_FALSE(file) << wrong_key << "/" << name;
    EXPECT_EQ(file.error().code, ErrorCode::not_found);
    EXPECT_FALSE(store_->find_path(wrong_key, name));
  }
}

TEST_F(Serving, TellsTypeLengthAndTimeOfAFile) {
  put("a.json", "[1]");
  const Output output = adopt("a.json");

  const auto file = store_->open_file(output.file_key, output.file_name);

  ASSERT_TRUE(file);
  const FileDescriptor fd(file->fd);
  EXPECT_EQ(file->bytes, 3U);
  EXPECT_EQ(file->content_type, "application/json");
  EXPECT_LT(machine_time() - file->modified, 1h);
}

TEST_F(Serving, AsksTheContentOnceWhereTheTypeWasNotKept) {
  put("a.json", "[1]");
  const Output output = adopt("a.json");
  const fs::path path = *store_->find_path(output.file_key, output.file_name);
  if (::removexattr(path.c_str(), "user.quern.content_type") != 0)
    GTEST_SKIP() << "it never is here";

  const auto file = store_->open_file(output.file_key, output.file_name);

  ASSERT_TRUE(file);
  const FileDescriptor fd(file->fd);
  EXPECT_EQ(file->content_type, "application/json");
  EXPECT_EQ(read_all(fd.get()), "[1]");
  std::array<char, 64> kept{};
  const ssize_t bytes =
      ::getxattr(path.c_str(), "user.quern.content_type", kept.data(), kept.size());
  EXPECT_EQ(std::string(kept.data(), bytes > 0 ? static_cast<std::size_t>(bytes) : 0),
            "application/json");
}

TEST_F(Serving, HasAStrongETagThatIsStableAndChangesWithTheFile) {
  const std::string key(32, 'a');
  std::set<std::string> tags;
  for (int i = 0; i < 50; ++i) {
    upload("a.txt", i % 2 == 0 ? "even" : "odd!", key);
    const auto first = store_->open_file(key, "a.txt");
    const auto again = store_->open_file(key, "a.txt");
    ASSERT_TRUE(first && again);
    const FileDescriptor one(first->fd);
    const FileDescriptor two(again->fd);
    EXPECT_EQ(first->etag, again->etag);
    EXPECT_TRUE(first->etag.starts_with('"') && first->etag.ends_with('"'));
    tags.insert(first->etag);
  }
  EXPECT_EQ(tags.size(), 50U);
}

TEST_F(Serving, AFileIsNotMissingWhileThereAreNoDescriptors) {
  put("a.txt", "here");
  for (const Output& output : {adopt("a.txt"), upload("b.txt", "here")}) {
    const auto [file, path] = [&] {
      const DescriptorsLeft none(0);
      return std::pair(store_->open_file(output.file_key, output.file_name),
                       store_->find_path(output.file_key, output.file_name));
    }();

    ASSERT_FALSE(file || path);
    EXPECT_EQ(file.error().code, ErrorCode::unavailable);
    EXPECT_GT(file.error().retry_after.count(), 0);
    EXPECT_EQ(path.error().code, ErrorCode::unavailable);
    EXPECT_EQ(content(output), "here");
  }
}

TEST_F(Serving, AFileStaysReadableForWhoHasItOpen) {
  put("a.txt", "still here");
  const Output output = adopt("a.txt");
  const auto file = store_->open_file(output.file_key, output.file_name);
  ASSERT_TRUE(file);
  const FileDescriptor fd(file->fd);

  store_->remove(std::span(&output, 1));

  EXPECT_FALSE(store_->open_file(output.file_key, output.file_name));
  EXPECT_EQ(read_all(fd.get()), "still here");
}

TEST_F(Uploads, AreFoundLikeOutputsAfterTheyAreFinished) {
  auto started = store_->start_upload("../photo", kBytesMax);
  ASSERT_TRUE(started);
  ASSERT_TRUE((*started)->write("hello "));
  ASSERT_TRUE((*started)->write("world"));

  const auto output = (*started)->finish();

  ASSERT_TRUE(output);
  EXPECT_EQ(output->file_name, "photo.txt");
  EXPECT_EQ(output->file_bytes, 11U);
  EXPECT_EQ(content(*output), "hello world");
  reopen();
  EXPECT_EQ(content(*output), "hello world");
}

TEST_F(Uploads, OfAFixedKeyKeepTheirName) {
  const std::string key(32, 'b');
  const Output output = upload("photo", "x", key);
  EXPECT_EQ(output.file_key, key);
  EXPECT_EQ(output.file_name, "photo");
  EXPECT_EQ(content(output), "x");
}

TEST_F(Uploads, EndAtTheirLimitAndLeaveNothing) {
  auto started = store_->start_upload("a.txt", 5);
  ASSERT_TRUE(started);
  ASSERT_TRUE((*started)->write("12345"));

  const auto written = (*started)->write("6");

  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::too_large);
  EXPECT_FALSE((*started)->write("7"));
  EXPECT_FALSE((*started)->finish());
  started->reset();
  EXPECT_EQ(count_temp_files(), 0U);
}

TEST_F(Uploads, ThatAreNotFinishedAreNeverSeen) {
  const std::string key(32, 'c');
  upload("a.txt", "first", key);
  {
    auto started = store_->start_upload("a.txt", kBytesMax, key);
    ASSERT_TRUE(started && (*started)->write("second"));
    EXPECT_EQ(content({.file_key = key, .file_name = "a.txt"}), "first");
  }
  EXPECT_EQ(content({.file_key = key, .file_name = "a.txt"}), "first");
  EXPECT_EQ(count_temp_files(), 0U);
}

TEST_F(Uploads, OfTheSameKeyReplaceTheEarlierOneWhole) {
  const std::string key(32, 'd');
  upload("old.txt", "old", key);
  const Output output = upload("new.txt", "new", key);

  EXPECT_EQ(content(output), "new");
  EXPECT_FALSE(store_->open_file(key, "old.txt"));
}

TEST_F(Uploads, FinishOnce) {
  auto started = store_->start_upload("a.txt", kBytesMax);
  ASSERT_TRUE(started && (*started)->write("x"));
  EXPECT_TRUE((*started)->finish());
  EXPECT_FALSE((*started)->finish());
  EXPECT_FALSE((*started)->write("y"));
}

TEST_F(Uploads, RefuseMalformedKeys) {
  for (const char* key : {"", "../..", "0123", "ABCDEFABCDEFABCDEFABCDEFABCDEFAB"}) {
    const auto started = store_->start_upload("a.txt", kBytesMax, key);
    ASSERT_FALSE(started) << key;
    EXPECT_EQ(started.error().code, ErrorCode::invalid_argument);
  }
}

TEST_F(Uploads, OfOneKeyRaceWithoutMixing) {
  const std::string key(32, 'e');
  std::vector<std::jthread> writers;
  for (int writer = 0; writer < 4; ++writer) {
    writers.emplace_back([this, key, writer] {
      SeededRandom random(static_cast<std::uint64_t>(writer));
      for (int round = 0; round < 20; ++round) {
        const std::string name = std::to_string(random.next_u64() % 2) + ".txt";
        upload(name, "from " + std::to_string(writer), key);
      }
    });
  }
  writers.clear();

  const bool has_zero = content({.file_key = key, .file_name = "0.txt"}).starts_with("from ");
  const bool has_one = content({.file_key = key, .file_name = "1.txt"}).starts_with("from ");
  EXPECT_NE(has_zero, has_one);
}

TEST_F(Folders, AreEmptyAndTheOwnersOnly) {
  put("left.txt", "x");
  const auto again = store_->make_folders(task_, 1);

  ASSERT_TRUE(again);
  expect_new(*again);
  EXPECT_TRUE(again->output.is_absolute());
  EXPECT_EQ(again->root.filename(), task_.to_string() + "-1");
}

TEST_F(Folders, AreAsNewHoweverManyWereUsedBefore) {
  for (std::uint32_t round = 1; round <= 30; ++round) {
    std::vector<AttemptFolders> used;
    for (std::uint32_t i = 0; i < round; ++i) {
      // Each second one over an earlier attempt of the same number.
      const auto made = store_->make_folders(task_, i - i % 2);
      ASSERT_TRUE(made) << made.error().message;
      expect_new(*made);
      for (const fs::path& folder : {made->root, made->output, made->input, made->temp}) {
        std::ofstream(folder / "left.txt") << "x";
      }
      used.push_back(*made);
    }
    for (const AttemptFolders& folders : used) store_->remove_folders(folders);
    for (const AttemptFolders& folders : used) EXPECT_FALSE(fs::exists(folders.root));
  }
}

// What an attempt may leave behind, with the rest of its folders as they were made.
TEST_F(Folders, AreUsedAgainOnceTheyAreEmpty) {
  const fs::path folder = folders_.output;
  struct stat before{};
  ASSERT_EQ(::stat(folder.c_str(), &before), 0);
  for (const fs::path& left : {folders_.root, folders_.output, folders_.input, folders_.temp}) {
    fs::create_directories(left / "a" / "b");
    std::ofstream(left / "a" / "b" / "secret") << "x";
    std::ofstream(left / ".hidden") << "x";
    fs::create_symlink("/", left / "link");
    fs::permissions(left / "a", fs::perms::none);
  }
  store_->remove_folders(folders_);
  EXPECT_FALSE(fs::exists(folders_.root));

  const auto next = store_->make_folders(task_, 2);

  ASSERT_TRUE(next);
  expect_new(*next);
  struct stat after{};
  ASSERT_EQ(::stat(next->output.c_str(), &after), 0);
  EXPECT_EQ(after.st_ino, before.st_ino);
}

TEST_F(Folders, AreMadeAnewWhereAnAttemptChangedThem) {
  const fs::path outside = temp_.path() / "outside";
  fs::create_directories(outside);
  std::ofstream(outside / "kept") << "x";
  const std::function<void(const AttemptFolders&)> changes[] = {
      [](const AttemptFolders& f) { fs::permissions(f.output, fs::perms::owner_read); },
      [](const AttemptFolders& f) { fs::permissions(f.temp, fs::perms::none); },
      [](const AttemptFolders& f) { fs::permissions(f.root, fs::perms::all); },
      [](const AttemptFolders& f) { fs::remove(f.input); },
      [](const AttemptFolders& f) { fs::remove_all(f.root); },
      [](const AttemptFolders& f) { ::setxattr(f.temp.c_str(), "user.note", "x", 1, 0); },
      [&](const AttemptFolders& f) {
        fs::remove(f.output);
        fs::create_symlink(outside, f.output);
      },
      [](const AttemptFolders& f) {
        fs::remove(f.temp);
        std::ofstream(f.temp) << "x";
      },
  };
  AttemptFolders folders = folders_;
  for (std::uint32_t i = 0; i < std::size(changes); ++i) {
    changes[i](folders);
    store_->remove_folders(folders);
    EXPECT_FALSE(fs::exists(folders.root)) << i;

    const auto next = store_->make_folders(task_, i + 2);

    ASSERT_TRUE(next) << next.error().message;
    expect_new(*next);
    char value = 0;
    EXPECT_LT(::getxattr(next->temp.c_str(), "user.note", &value, 1), 0);
    folders = *next;
  }
  EXPECT_TRUE(fs::exists(outside / "kept"));
}

TEST_F(Folders, AreMadeAnewWhereAnAttemptHasFixedThem) {
  const FileDescriptor fixed(::open(folders_.output.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto set_flags = [&](int flags) { return ::ioctl(fixed.get(), FS_IOC_SETFLAGS, &flags); };
  int flags = 0;
  ASSERT_GE(::ioctl(fixed.get(), FS_IOC_GETFLAGS, &flags), 0);
  for (const int fix : {FS_IMMUTABLE_FL, FS_APPEND_FL}) {
    if (set_flags(flags | fix) != 0) GTEST_SKIP() << "needs the right to fix a folder";
    store_->remove_folders(folders_);

    const auto next = store_->make_folders(task_, 2);

    ASSERT_TRUE(next) << next.error().message;
    expect_new(*next);
    std::ofstream(next->output / "a.txt") << "a";
    EXPECT_TRUE(fs::exists(next->output / "a.txt"));
    store_->remove_folders(*next);
    set_flags(flags);
  }
}

TEST_F(Folders, OfAnEarlierRunAreGoneAtTheNextStart) {
  put("left.txt", "x");
  auto unfinished = store_->start_upload("a.txt", kBytesMax);
  ASSERT_TRUE(unfinished);
  const fs::path left = temp_.path() / "data" / "temp" / "left";
  std::ofstream(left) << "x";

  auto next = ArtifactStore::open(temp_.path() / "data", random_);

  ASSERT_TRUE(next);
  EXPECT_FALSE(fs::exists(folders_.root));
  EXPECT_FALSE(fs::exists(left));
}

TEST_F(Folders, GoWithAllThatIsInThem) {
  fs::create_directories(folders_.output / "a" / "b");
  put("a/b/c", "x");
  store_->remove_folders(folders_);
  EXPECT_FALSE(fs::exists(folders_.root));
  store_->remove_folders({});  // of executors that use none
  EXPECT_TRUE(fs::exists(temp_.path() / "data" / "work"));
}

TEST_F(Expiry, RemovesInStepsWhatIsOlderAndNothingElse) {
  std::vector<Output> uploads;
  for (int i = 0; i < 10; ++i) uploads.push_back(upload("a.txt", std::to_string(i)));
  put("a.txt", "output");
  const Output output = adopt("a.txt");

  EXPECT_EQ(store_->sweep_uploads(machine_time() - 1h, kMany), 0U);
  EXPECT_EQ(store_->sweep_uploads(machine_time() + 1h, 4), 4U);
  EXPECT_EQ(store_->sweep_uploads(machine_time() + 1h, 4), 4U);
  EXPECT_EQ(store_->sweep_uploads(machine_time() + 1h, 4), 2U);
  EXPECT_EQ(store_->sweep_uploads(machine_time() + 1h, 4), 0U);
  for (const Output& gone : uploads) EXPECT_FALSE(store_->find_path(gone.file_key, gone.file_name));
  EXPECT_EQ(content(output), "output");

  EXPECT_EQ(store_->sweep_outputs(machine_time() - 1h, kMany), 0U);
  EXPECT_EQ(store_->sweep_outputs(machine_time() + 1h, kMany), 1U);
  EXPECT_EQ(content(output), "(no such file)");
}

TEST_F(Expiry, AFileThatItsRunnerDatedBackIsNew) {
  put("a.txt", "x");
  fs::last_write_time(folders_.output / "a.txt", fs::file_time_type::clock::now() - 1000h);
  const Output output = adopt("a.txt");

  EXPECT_EQ(store_->sweep_outputs(machine_time() - 1h, kMany), 0U);
  const auto file = store_->open_file(output.file_key, output.file_name);
  ASSERT_TRUE(file);
  const FileDescriptor fd(file->fd);
  EXPECT_LT(machine_time() - file->modified, 1h);
}

TEST_F(Expiry, AnOutputThatIsTouchedIsNewAgain) {
  put("a.txt", "a");
  put("b.txt", "b");
  const std::vector<Output> outputs = {adopt("a.txt"), Output{.text = "no file"},
                                       Output{.file_key = std::string(32, '0'), .file_name = "x"},
                                       adopt("b.txt")};
  for (const std::size_t i : {0, 3}) {
    const fs::path file = *store_->find_path(outputs[i].file_key, outputs[i].file_name);
    fs::last_write_time(file.parent_path(), fs::file_time_type::clock::now() - 1000h);
  }

  store_->touch(std::span(outputs).first(3));

  EXPECT_EQ(store_->sweep_outputs(machine_time() - 1h, kMany), 1U);
  EXPECT_EQ(content(outputs[0]), "a");
  EXPECT_EQ(content(outputs[3]), "(no such file)");
}

TEST_F(Expiry, RemovesOutputsAndPassesOverMissingOnes) {
  put("a.txt", "a");
  put("b.txt", "b");
  const std::vector<Output> outputs = {
      adopt("a.txt"), Output{.file_key = std::string(32, '0'), .file_name = "x"},
      Output{.text = "no file"}, Output{.file_key = "../..", .file_name = "x"}, adopt("b.txt")};
  const fs::path folder = store_->find_path(outputs[0].file_key, "a.txt")->parent_path();

  store_->remove(outputs);
  store_->remove(outputs);

  EXPECT_FALSE(fs::exists(folder));
  EXPECT_FALSE(store_->find_path(outputs[4].file_key, "b.txt"));
}

TEST(ArtifactStoreOpen, SaysWhichFolderCannotBeMade) {
  const TempFolder temp;
  SeededRandom random(1);
  std::ofstream(temp.path() / "file") << "x";

  const auto store = ArtifactStore::open(temp.path() / "file" / "data", random);

  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::unavailable);
  EXPECT_NE(store.error().message.find((temp.path() / "file" / "data").string()),
            std::string::npos);
}

}  // namespace
}  // namespace quern
