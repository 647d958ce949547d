// Boost.JSON, compiled here with a hash of our own for the names in an object. Its own, of 1.81, is FNV-1a salted with an
// address: who sends an object can choose names that all come to one bucket, and reading it takes time quadratic in their
// number.

// In place of <boost/json/detail/digest.hpp>.
#define BOOST_JSON_DETAIL_DIGEST_HPP

#include <array>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <string_view>

#include "base/random.h"
#include "base/sip_hash.h"

namespace quern {
namespace {

std::size_t hash_of_name(std::string_view name) {
  static const auto key = [] {
    SystemRandom random;
    return std::array{random.next_u64(), random.next_u64()};
  }();
  return sip_hash(key, std::span(reinterpret_cast<const std::uint8_t*>(name.data()), name.size()));
}

}  // namespace
}  // namespace quern

namespace boost::json::detail {

// Of this file alone, so that no other one can put Boost.JSON's in its place.
template <typename Iterator>
static std::size_t digest(Iterator begin, Iterator end, std::size_t /*salt*/) noexcept {
  if constexpr (std::contiguous_iterator<Iterator>) {
    return quern::hash_of_name({begin, end});
  } else {  // a JSON Pointer's part, whose escapes are read on the way
    std::string name;
    for (; begin != end; ++begin) name += *begin;
    return quern::hash_of_name(name);
  }
}

}  // namespace boost::json::detail

#include <boost/json/src.hpp>
