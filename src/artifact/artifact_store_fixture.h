#pragma once
// A store in a folder of its own, with the folders of one attempt.

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "artifact/artifact_store.h"
#include "artifact/file_descriptor.h"
#include "testing/seeded_random.h"
#include "testing/temp_folder.h"

namespace quern {

namespace fs = std::filesystem;

inline constexpr std::uint64_t kBytesMax = 1000;

inline std::string read_all(int fd) {
  std::string text(4096, '\0');
  const ssize_t got = ::pread(fd, text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

class ArtifactStoreTest : public testing::Test {
 protected:
  ArtifactStoreTest() { reopen(); }

  void reopen() {
    store_.reset();
    auto opened = ArtifactStore::open(temp_.path() / "data", random_);
    EXPECT_TRUE(opened);
    store_ = std::move(*opened);
    folders_ = *store_->make_folders(task_, 1);
  }

  void put(const std::string& name, const std::string& text) const {
    std::ofstream(folders_.output / name, std::ios::binary) << text;
  }

  Output adopt(const std::string& path) {
    auto adopted = store_->adopt(folders_, path, OutputType::file);
    EXPECT_TRUE(adopted) << (adopted ? "" : adopted.error().message);
    return adopted.value_or(Output{});
  }

  /// The message of the refusal, which must be the runner's fault.
  std::string refusal(const std::string& path) {
    const auto adopted = store_->adopt(folders_, path, OutputType::file);
    EXPECT_FALSE(adopted) << path;
    if (adopted) return "adopted";
    EXPECT_EQ(adopted.error().code, ErrorCode::invalid_argument) << adopted.error().message;
    return adopted.error().message;
  }

  std::string content(const Output& output) const {
    auto file = store_->open_file(output.file_key, output.file_name);
    if (!file) return "(" + file.error().message + ")";
    return read_all(FileDescriptor(file->fd).get());
  }

  Output upload(const std::string& name, const std::string& text,
                std::optional<std::string> key = std::nullopt) {
    auto started = store_->start_upload(name, kBytesMax, std::move(key));
    EXPECT_TRUE(started && (*started)->write(text));
    auto finished = (*started)->finish();
    EXPECT_TRUE(finished);
    return finished.value_or(Output{});
  }

  static void expect_new(const AttemptFolders& folders) {
    for (const fs::path& folder : {folders.root, folders.output, folders.input, folders.temp}) {
      EXPECT_EQ(fs::status(folder).permissions(), fs::perms::owner_all) << folder;
    }
    for (const fs::path& folder : {folders.output, folders.input, folders.temp}) {
      EXPECT_TRUE(fs::is_empty(folder)) << folder;
    }
    const auto entries = fs::directory_iterator(folders.root);
    EXPECT_EQ(std::distance(fs::begin(entries), fs::end(entries)), 3);
  }

  /// Adopts a.txt again and again while `swap` goes on putting something else in its way, which must
  /// never be more than the runner's own.
  void adopt_while(const std::function<void(unsigned turn)>& swap) {
    std::atomic<bool> done = false;
    std::jthread swapper([&] {
      for (unsigned turn = 0; !done; ++turn) swap(turn);
    });
    for (int round = 0; round < 300; ++round) {
      const auto adopted = store_->adopt(folders_, "a.txt", OutputType::file);
      if (!adopted) continue;
      const std::string text = content(*adopted);
      EXPECT_TRUE(text == "mine" || text.empty()) << text;
    }
    done = true;
  }

  std::size_t count_temp_files() const {
    const fs::directory_iterator files(temp_.path() / "data" / "temp");
    return static_cast<std::size_t>(std::distance(fs::begin(files), fs::end(files)));
  }

  TempFolder temp_;
  SystemRandom random_;
  TaskId task_{.high = 1, .low = 2};
  std::unique_ptr<ArtifactStore> store_;
  AttemptFolders folders_;
};

}  // namespace quern
