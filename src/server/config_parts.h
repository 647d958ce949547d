#pragma once
// Keys of too many parts ("a.b.c"), found before a configuration is parsed: each part is a table in the one
// before, and the parser ends tables by a recursion as deep as they are.

#include <cstddef>
#include <optional>
#include <string_view>

namespace quern {

/// Of one key or header; the deepest that means something is "model.executor.env.NAME". As the values in
/// each other are 256 at most, all together is some 4,000 tables deep.
inline constexpr std::size_t kKeyPartsMax = 16;

/// The line (from 1) of the first key or header with more parts; nullopt: there is none.
std::optional<std::size_t> find_key_of_many_parts(std::string_view toml);

}  // namespace quern
