#include "http/body_decoder.h"

#include <gtest/gtest.h>

#include <string>

namespace quern::http {
namespace {

struct Decoded {
  std::string payload;
  std::string rest;     // what the decoder left, once it was done
  unsigned status = 0;  // of a fault
  bool done = false;
};

/// Decodes `bytes` as they would come in pieces of `piece_bytes`.
Decoded decode(BodyDecoder decoder, std::string_view bytes, std::size_t piece_bytes) {
  Decoded decoded;
  std::string waiting;
  for (std::size_t at = 0; at < bytes.size() || !waiting.empty();) {
    waiting += bytes.substr(std::min(at, bytes.size()), piece_bytes);
    at += piece_bytes;
    for (;;) {
      const BodyDecoder::Piece piece = decoder.decode(waiting);
      if (piece.fault != nullptr) return {.status = piece.fault->status};
      decoded.payload += piece.payload;
      waiting.erase(0, piece.consumed);
      if (piece.consumed == 0) break;
    }
    if (at >= bytes.size()) break;
  }
  decoded.rest = waiting;
  decoded.done = decoder.is_done();
  return decoded;
}

Decoded decode_chunked(std::string_view bytes, std::size_t piece_bytes) {
  BodyDecoder decoder;
  decoder.start_chunked();
  return decode(decoder, bytes, piece_bytes);
}

TEST(BodyDecoder, CountsABodyByItsLength) {
  BodyDecoder decoder;
  decoder.start_length(5);

  for (const std::size_t piece : {1U, 2U, 100U}) {
    const Decoded decoded = decode(decoder, "helloGET", piece);
    EXPECT_EQ(decoded.payload, "hello");
    EXPECT_EQ(decoded.rest, "GET");
    EXPECT_TRUE(decoded.done);
  }
}

TEST(BodyDecoder, IsDoneAtOnceWithoutABody) {
  BodyDecoder decoder;
  decoder.start_length(0);

  EXPECT_TRUE(decoder.is_done());
  EXPECT_EQ(decoder.decode("GET").consumed, 0U);
}

TEST(BodyDecoder, JoinsChunksHoweverTheyArrive) {
  constexpr std::string_view kBody =
      "5 \t;x y\r\nhello\r\n1;a=b;c=\"d\"\r\n \r\n00000A \t \r\n0123456789\r\n0;x\r\nTrailer: "
      "t\r\nOther:\r\n\r\nGET";
  for (std::size_t piece = 1; piece <= kBody.size(); ++piece) {
    const Decoded decoded = decode_chunked(kBody, piece);
    ASSERT_EQ(decoded.payload, "hello 0123456789") << piece;
    ASSERT_EQ(decoded.rest, "GET");
    ASSERT_TRUE(decoded.done);
  }
}

TEST(BodyDecoder, RefusesMalformedChunks) {
  const std::string cases[] = {
      "\r\n",
      "x\r\n",
      "-1\r\n",
      "0x1\r\na\r\n",
      ";a\r\n",
      "5\nhello\r\n",
      "5\r\nhelloX",
      "5\r\nhello\n",
      "5\rhello",
      "5;a\nhello",
      "5;a\x01\r\nhello",
      "5 x y\r\nhello",
      "5 5\r\nhello",
      "5\t \x01\r\nhello",
      "5 \nhello\r\n",
      "5" + std::string(kChunkLineBytesMax, ' ') + "\r\nhello",
      "10000000000000000\r\n",
      "1000000000000000000000001\r\na\r\n",
      "1a;" + std::string(kChunkLineBytesMax, 'x'),
      std::string(kChunkLineBytesMax + 1, '0'),
      "0\r\nA: b\n\r\n",
      "0\r\n\n",
      "0\r\nA: \x01\r\n\r\n",
  };
  for (const std::string& bytes : cases) {
    EXPECT_EQ(decode_chunked(bytes, 1).status, 400U) << bytes;
    EXPECT_EQ(decode_chunked(bytes, bytes.size()).status, 400U) << bytes;
  }
}

TEST(BodyDecoder, LimitsTrailers) {
  const std::string trailers = "0\r\nA: " + std::string(kTrailerBytesMax, 'x');

  EXPECT_EQ(decode_chunked(trailers, 100).status, 431U);
}

}  // namespace
}  // namespace quern::http
