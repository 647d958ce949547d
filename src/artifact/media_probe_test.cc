#include "artifact/media_probe.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "artifact/content_type.h"
#include "artifact/file_descriptor.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

using namespace std::string_literals;

std::string little_endian(std::uint32_t value, int bytes = 4) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xffU);
  return text;
}

std::string wav(std::uint32_t rate, std::uint32_t samples) {
  return "RIFF" + little_endian(36 + samples) + "WAVEfmt " + little_endian(16) +
         little_endian(1, 2) + little_endian(1, 2) + little_endian(rate) + little_endian(rate) +
         little_endian(1, 2) + little_endian(8, 2) + "data" + little_endian(samples) +
         std::string(samples, '\x80');
}

std::string webp(const std::string& chunk, const std::string& content) {
  const std::string body =
      "WEBP" + chunk + little_endian(static_cast<std::uint32_t>(content.size())) + content;
  return "RIFF" + little_endian(static_cast<std::uint32_t>(body.size())) + body;
}

std::string gltf_binary() {
  const std::string json = R"({"asset":{"version":"2.0"}}  )";
  const auto bytes = static_cast<std::uint32_t>(json.size());
  return "glTF" + little_endian(2) + little_endian(20 + bytes) + little_endian(bytes) + "JSON" +
         json;
}

std::string binary_stl(std::string header, std::uint32_t triangles) {
  header.resize(80);
  return header + little_endian(triangles) + std::string(50 * triangles, '\0');
}

class MediaProbe : public testing::Test {
 protected:
  MediaInfo probe_bytes(const std::string& bytes) {
    std::ofstream(temp_.path() / "file", std::ios::binary) << bytes;
    return probe("file");
  }

  MediaInfo probe(const std::string& name) {
    auto info = probe_media(temp_.path() / name);
    EXPECT_TRUE(info) << name;
    return info.value_or(MediaInfo{});
  }

  /// Makes temp/`name` with ffmpeg; false without ffmpeg or that encoder.
  [[nodiscard]] bool encode(const std::string& arguments, const std::string& name) const {
    const std::string command = "ffmpeg -loglevel quiet -nostdin -y " + arguments + " " +
                                (temp_.path() / name).string() + " 2>/dev/null";
    return std::system(command.c_str()) == 0;
  }

  TempFolder temp_;
};

struct TypeCase {
  const char* what;
  std::string bytes;
  const char* type;
};

TEST_F(MediaProbe, TellsTheTypeFromTheContent) {
  const std::string obj = "# made by hand\nmtllib a.mtl\no cube\nv 0 0 0\nv 1.5 -2e3 0\nf 1 2 1\n";
  const std::string stl = "solid part\r\n  facet normal 0 0 1\r\n    outer loop\r\n";
  const std::string svg = R"(<svg xmlns="http://www.w3.org/2000/svg" width="1" height="2"></svg>)";
  const std::string long_json = R"({"numbers": [)"s + std::string(200'000, '1') + "]}";
  const std::vector<TypeCase> cases = {
      {"nothing", "", "application/octet-stream"},
      {"noise", "\x01\x02\x03\xff\xfe\xfa"s, "application/octet-stream"},
      {"text", "Grüße aus dem Süden\n", "text/plain"},
      {"one letter", "7", "text/plain"},
      {"C in prose", "#include <stdio.h>\nint main() {}\n", "text/plain"},
      {"a shell script", "#!/bin/sh\necho hi\n", "text/plain"},
      {"HTML", "<!DOCTYPE html><html><body>x</body></html>", "text/html"},
      {"CSV", "a,b\n1,2\n3,4\n", "text/csv"},
      {"JSON", R"({"a": [1, 2]})", "application/json"},
      {"a JSON array", "[1, 2]", "application/json"},
      {"long JSON", long_json, "application/json"},
      {"long text in brackets", "[see below] " + std::string(200'000, 'x'), "text/plain"},
      {"SVG", svg, "image/svg+xml"},
      {"SVG after blanks", "\n  " + svg, "image/svg+xml"},
      {"SVG after much", "<?xml version=\"1.0\"?>\n<!-- a > b -->\n<!DOCTYPE svg>\n" + svg,
       "image/svg+xml"},
      {"HTML with an SVG", "<html><body>" + svg + "</body></html>", "text/html"},
      {"glTF binary", gltf_binary(), "model/gltf-binary"},
      {"glTF", R"({"asset": {"version": "2.0"}, "scenes": []})", "model/gltf+json"},
      {"binary STL", binary_stl("exported", 3), "model/stl"},
      {"binary STL that says solid", binary_stl("solid cube", 1), "model/stl"},
      {"text STL", stl, "model/stl"},
      {"prose that says solid", "solid state\nof matter\n", "text/plain"},
      {"OBJ", obj, "model/obj"},
      {"prose with a v", "v for vendetta\n", "text/plain"},
      {"PLY", "ply\nformat ascii 1.0\nelement vertex 0\nend_header\n", "model/ply"},
      {"WAVE", wav(8000, 800), "audio/wav"},
      {"PDF", "%PDF-1.7\n", "application/pdf"},
  };
  for (const TypeCase& c : cases) EXPECT_EQ(probe_bytes(c.bytes).content_type, c.type) << c.what;
}

TEST_F(MediaProbe, MeasuresSoundInSeconds) {
  const MediaInfo info = probe_bytes(wav(8000, 12'000));
  EXPECT_DOUBLE_EQ(info.duration, 1.5);
  EXPECT_EQ(info.width, 0U);
}

TEST_F(MediaProbe, MeasuresEveryKindOfWebP) {
  const auto extended =
      probe_bytes(webp("VP8X", "\x02\0\0\0"s + little_endian(639, 3) + little_endian(479, 3)));
  EXPECT_EQ(extended.content_type, "image/webp");
  EXPECT_EQ(extended.width, 640U);
  EXPECT_EQ(extended.height, 480U);

  const auto lossless =
      probe_bytes(webp("VP8L", "\x2f" + little_endian(99U | 49U << 14U) + "12345"));
  EXPECT_EQ(lossless.width, 100U);
  EXPECT_EQ(lossless.height, 50U);

  const auto lossy =
      probe_bytes(webp("VP8 ", "abc\x9d\x01\x2a" + little_endian(33, 2) + little_endian(44, 2)));
  EXPECT_EQ(lossy.width, 33U);
  EXPECT_EQ(lossy.height, 44U);

  EXPECT_EQ(probe_bytes(webp("VP8L", "x")).width, 0U) << "cut short";
}

// An entry of a directory: one number of this type.
std::string tiff_entry(std::uint32_t tag, std::uint32_t type, std::uint32_t value) {
  return little_endian(tag, 2) + little_endian(type, 2) + little_endian(1) + little_endian(value);
}

std::string tiff(const std::vector<std::string>& entries) {
  std::string file = "II*\0"s + little_endian(8);
  file += little_endian(static_cast<std::uint32_t>(entries.size()), 2);
  for (const std::string& entry : entries) file += entry;
  return file + little_endian(0);
}

TEST_F(MediaProbe, MeasuresTiffInEveryTypeOfNumber) {
  const auto shorts = probe_bytes(tiff({tiff_entry(254, 4, 0), tiff_entry(256, 3, 640),
                                        tiff_entry(257, 3, 480), tiff_entry(258, 3, 8)}));
  EXPECT_EQ(shorts.content_type, "image/tiff");
  EXPECT_EQ(shorts.width, 640U);
  EXPECT_EQ(shorts.height, 480U);

  const auto longs = probe_bytes(tiff({tiff_entry(256, 4, 70'000), tiff_entry(257, 1, 200)}));
  EXPECT_EQ(longs.width, 70'000U);
  EXPECT_EQ(longs.height, 200U);

  const auto texts = probe_bytes(tiff({tiff_entry(256, 2, 640), tiff_entry(257, 5, 480)}));
  EXPECT_EQ(texts.width, 0U);
  EXPECT_EQ(texts.height, 0U);
}

TEST_F(MediaProbe, MeasuresTiffOfTheOtherOrderOfBytesAndBigTiff) {
  const auto motorola = probe_bytes(
      "MM\0*\0\0\0\x08\0\x02"
      "\x01\0\0\x03\0\0\0\x01\x02\x80\0\0"
      "\x01\x01\0\x04\0\0\0\x01\0\0\x01\xe0\0\0\0\0"s);
  EXPECT_EQ(motorola.content_type, "image/tiff");
  EXPECT_EQ(motorola.width, 640U);
  EXPECT_EQ(motorola.height, 480U);

  const auto big = probe_bytes(
      "II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0"
      "\0\x01\x10\0\x01\0\0\0\0\0\0\0\x80\x02\0\0\0\0\0\0"
      "\x01\x01\x03\0\x01\0\0\0\0\0\0\0\xe0\x01\0\0\0\0\0\0"s);
  EXPECT_EQ(big.content_type, "image/tiff");
  EXPECT_EQ(big.width, 640U);
  EXPECT_EQ(big.height, 480U);
}

TEST_F(MediaProbe, MeasuresNoTiffThatIsCutShortOrLeadsAstray) {
  const std::string whole = tiff({tiff_entry(256, 3, 640), tiff_entry(257, 3, 480)});
  for (std::size_t bytes = 8; bytes < 8 + 2 + 2 * 12; ++bytes) {
    const MediaInfo info = probe_bytes(whole.substr(0, bytes));
    EXPECT_EQ(info.height, 0U) << bytes;
  }
  EXPECT_EQ(probe_bytes("II*\0\xff\xff\xff\xff"s).width, 0U);
  EXPECT_EQ(probe_bytes("II+\0\x08\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"s).width, 0U);
}

struct Encoded {
  const char* name;
  const char* arguments;
  const char* type;
  bool has_pictures;
  double duration;  // 0: none expected
};

constexpr const char* kPicture = "-f lavfi -i testsrc=s=64x48:d=1:r=10 -frames:v 1";
constexpr const char* kMovie = "-f lavfi -i testsrc=s=64x48:d=1:r=10 -pix_fmt yuv420p";
constexpr const char* kMovieOfColours = "-f lavfi -i testsrc=s=64x48:d=1:r=10";
constexpr const char* kSound = "-f lavfi -i sine=d=1.5";
constexpr const char* kSoundAsWebm = "-f lavfi -i sine=d=1.5 -f webm";

class RealMedia : public MediaProbe, public testing::WithParamInterface<Encoded> {};

TEST_P(RealMedia, IsToldAndMeasured) {
  const Encoded& c = GetParam();
  if (!encode(c.arguments, c.name)) GTEST_SKIP() << "no ffmpeg that writes " << c.name;

  const MediaInfo info = probe(c.name);

  EXPECT_EQ(info.content_type, c.type);
  EXPECT_EQ(info.width, c.has_pictures ? 64U : 0U);
  EXPECT_EQ(info.height, c.has_pictures ? 48U : 0U);
  EXPECT_NEAR(info.duration, c.duration, 0.06);
}

INSTANTIATE_TEST_SUITE_P(
    ByFfmpeg, RealMedia,
    testing::Values(Encoded{"a.png", kPicture, "image/png", true, 0},
                    Encoded{"a.jpg", kPicture, "image/jpeg", true, 0},
                    Encoded{"a.bmp", kPicture, "image/bmp", true, 0},
                    Encoded{"a.tiff", kPicture, "image/tiff", true, 0},
                    Encoded{"a.webp", kPicture, "image/webp", true, 0},
                    Encoded{"moving.gif", kMovieOfColours, "image/gif", true, 0},
                    Encoded{"moving.webp", kMovieOfColours, "image/webp", true, 0},
                    Encoded{"a.mp4", kMovie, "video/mp4", true, 1},
                    Encoded{"a.webm", kMovie, "video/webm", true, 1},
                    Encoded{"a.mkv", kMovie, "video/x-matroska", true, 1},
                    Encoded{"a.mov", kMovie, "video/quicktime", true, 1},
                    Encoded{"a.avi", kMovie, "video/x-msvideo", true, 1},
                    Encoded{"a.wav", kSound, "audio/wav", false, 1.5},
                    Encoded{"a.mp3", kSound, "audio/mpeg", false, 1.5},
                    Encoded{"a.flac", kSound, "audio/flac", false, 1.5},
                    Encoded{"a.m4a", kSound, "audio/mp4", false, 1.5},
                    Encoded{"a.ogg", kSound, "audio/ogg", false, 1.5},
                    Encoded{"a.opus", kSound, "audio/ogg", false, 1.5},
                    Encoded{"sound.webm", kSoundAsWebm, "audio/webm", false, 1.5}),
    [](const auto& test) {
      std::string name = test.param.name;
      name[name.find('.')] = '_';
      return name;
    });

TEST_F(MediaProbe, SurvivesFilesThatAreCutShort) {
  if (!encode(kMovie, "whole.mp4")) GTEST_SKIP() << "no ffmpeg";
  std::ifstream file(temp_.path() / "whole.mp4", std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(file), {}};
  for (std::size_t bytes = 0; bytes < whole.size(); bytes += 97) {
    EXPECT_FALSE(probe_bytes(whole.substr(0, bytes)).content_type.empty());
  }
}

TEST_F(MediaProbe, WorksFromManyThreadsAtOnce) {
  std::ofstream(temp_.path() / "a.wav", std::ios::binary) << wav(8000, 4000);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([this] {
      for (int round = 0; round < 20; ++round) {
        const auto info = probe_media(temp_.path() / "a.wav");
        EXPECT_EQ(info ? info->content_type : "", "audio/wav");
        EXPECT_DOUBLE_EQ(info ? info->duration : 0, 0.5);
      }
    });
  }
}

TEST_F(MediaProbe, SaysThatAMissingFileCannotBeRead) {
  const auto info = probe_media(temp_.path() / "missing");
  ASSERT_FALSE(info);
  EXPECT_EQ(info.error().code, ErrorCode::unavailable);
}

TEST(ContentType, AddsAnExtensionOnlyWhereThereIsNone) {
  EXPECT_EQ(with_extension("image", "image/png"), "image.png");
  EXPECT_EQ(with_extension("image.", "image/png"), "image.png");
  EXPECT_EQ(with_extension("image.jpeg", "image/png"), "image.jpeg");
  EXPECT_EQ(with_extension("data", "application/octet-stream"), "data");
}

TEST_F(MediaProbe, KnowsNothingOfAFileOnceItIsToStop) {
  std::ofstream(temp_.path() / "file", std::ios::binary) << wav(8'000, 4'000);
  const FileDescriptor file(::open((temp_.path() / "file").c_str(), O_RDONLY | O_CLOEXEC));
  std::stop_source stop;
  stop.request_stop();

  const auto info = probe_media(file.get(), measure_media, stop.get_token());

  ASSERT_FALSE(info);
  EXPECT_EQ(info.error().code, ErrorCode::unavailable);
}

}  // namespace
}  // namespace quern
