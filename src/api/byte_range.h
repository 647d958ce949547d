#pragma once
// Single byte ranges of RFC 9110 §14.

#include <cstdint>
#include <string_view>

namespace quern::api {

struct ByteRange {
  enum class Kind : std::uint8_t {
    whole,          // none asked for, several, another unit, or malformed: the whole file
    part,           // `offset` and `bytes`, at least one
    unsatisfiable,  // 416
  };
  Kind kind = Kind::whole;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

/// `header`: the value of Range; `size`: of the file.
ByteRange parse_range(std::string_view header, std::uint64_t size);

}  // namespace quern::api
