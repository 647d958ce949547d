// What is put at upload links, over real sockets.

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "api/api_fixture.h"
#include "api/call.h"
#include "testing/eventually.h"

namespace quern::api {
namespace {

class UploadsTest : public ApiTest {
 protected:
  static constexpr std::size_t kLeftOut = 100;

  /// The path of an upload link.
  [[nodiscard]] std::string initiate_upload() const {
    const std::string answer =
        talk("POST /fal/storage/upload/initiate", R"({"file_name":"a.bin"})");
    const std::size_t begin = answer.find("/fal/storage/upload/");
    return answer.substr(begin, answer.find('"', begin) - begin);
  }
  /// Begins a PUT of `bytes`, of which the last kLeftOut are left out. Answers once it has come to the file, but for
  /// less than a piece.
  [[nodiscard]] int begin_put(const std::string& path, std::size_t bytes) const {
    constexpr std::uintmax_t kPieceBytes = 64 * 1024;
    const std::uintmax_t before = growing_bytes();
    const int fd = connect();
    send_text(fd, fmt::format("PUT {} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                              "Content-Length: {}\r\n\r\n{}",
                              path, bytes, std::string(bytes - kLeftOut, 'x')));
    EXPECT_TRUE(
        eventually([&] { return growing_bytes() + kPieceBytes + kLeftOut >= before + bytes; }));
    return fd;
  }
  static std::string end_put(int fd) {
    send_text(fd, std::string(kLeftOut, 'x'));
    return read_all(fd);
  }
  [[nodiscard]] std::uintmax_t growing_bytes() const {
    std::uintmax_t bytes = 0;
    std::error_code gone;
    for (const auto& file : std::filesystem::directory_iterator(folder_.path() / "temp")) {
      const std::uintmax_t size = file.file_size(gone);
      if (!gone) bytes += size;
    }
    return bytes;
  }
};

TEST_F(UploadsTest, BoundsAllThatGrowsAtOnceAtOneLink) {
  constexpr std::size_t kMax = 1 << 20U;
  serve({.upload_bytes_max = kMax});
  for (const auto& [place, other] : {std::pair{"", ""}, {"/1", "/1"}, {"/1", "/2"}}) {
    const std::string link = initiate_upload();
    const int first = begin_put(link + place, kMax);
    const int second = begin_put(link + other, kMax);

    EXPECT_TRUE(holds(talk("PUT " + link + place, std::string(200'000, 'y')), {" 413 "})) << place;

    ::close(second);
    EXPECT_TRUE(eventually([&] {
      return holds(talk("PUT " + link + other, std::string(200'000, 'y')), {" 200 "});
    })) << place;
    EXPECT_TRUE(holds(end_put(first), {" 200 "})) << place;
  }
}

TEST_F(UploadsTest, KeepsAPartWhoseRepetitionIsRefused) {
  constexpr std::size_t kMax = 1 << 20U;
  serve({.upload_bytes_max = kMax});
  const std::string link = initiate_upload();
  ASSERT_TRUE(holds(talk("PUT " + link + "/1", "first"), {" 200 "}));
  const int again = begin_put(link + "/1", 600'000);
  ASSERT_TRUE(holds(talk("PUT " + link + "/2", std::string(kMax, 'b')), {" 200 "}));
  ASSERT_TRUE(holds(talk("PUT " + link + "/3", std::string(kMax - 599'950, 'c')), {" 200 "}));

  EXPECT_TRUE(holds(end_put(again), {" 413 "}));

  EXPECT_TRUE(holds(talk("POST " + link + "/complete", R"({"parts":[{"partNumber":1}]})"),
                    {" 200 ", R"("file_size":5)"}));
}

// Where no thread may block, none can look at them.
TEST_F(UploadsTest, LooksAtTheLargeBodiesOfUploadsOffTheIoThreads) {
  serve({.blocking_pending_max = 0});
  const std::string link = initiate_upload();
  EXPECT_EQ(link.find("/fal/storage/upload/"), 0U) << "a small one";
  const std::string broken(20'000, '[');
  for (const char* route : {"initiate", "initiate-multipart"}) {
    EXPECT_TRUE(holds(talk("POST /fal/storage/upload/" + std::string(route), broken), {" 503 "}));
  }
  EXPECT_TRUE(holds(talk("POST " + link + "/complete", broken), {" 503 "}));
}

TEST_F(UploadsTest, ReadsNoBodyForALinkThatItDidNotMake) {
  const std::string link = "/fal/storage/upload/" + std::string(75, '0') + "/a.bin";
  const int fd = connect();
  send_text(fd,
            "POST " + link + "/complete HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
  std::array<char, 16> answer{};
  EXPECT_EQ(::recv(fd, answer.data(), 12, MSG_WAITALL), 12);
  EXPECT_STREQ(answer.data(), "HTTP/1.1 404");
  ::close(fd);
}

}  // namespace
}  // namespace quern::api
