#pragma once
// A model's input schema: JSON Schema draft 7, with faults named as pydantic 2 names them.
//
// All of draft 7 is understood, with these limits: `$ref` stays within the document (no network)
// and `$id` at its root; of `format` only `uri` is checked; patterns are ECMAScript 3
// (catalog/text_pattern.h). What draft 7 would pass over is refused: keywords of later drafts, and
// assertions beside a `$ref`.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace quern {

/// One fault of an input: {"loc":["body",…],"msg":…,"type":…} on the wire.
struct InputFault {
  std::vector<json::value>
      loc;  // after "body": property names (strings) and array indexes (integers)
  std::string msg;
  std::string type;  // missing, string_type, greater_than_equal, enum, extra_forbidden, …
};

/// A check stops there: more faults help nobody, and a hostile input must not cost much.
inline constexpr std::size_t kInputFaultsMax = 1'000;

/// What defaults may add to one input: about 1.7 million numbers. An item of an array takes two
/// bytes to send, and its defaults any number. Counted are texts, names and 32 bytes a value.
inline constexpr std::size_t kDefaultsBytesMax = 64U << 20U;

/// Immutable. Threads: any.
class Schema {
 public:
  /// Errors: invalid_argument, saying what is wrong with the schema and where.
  static Result<std::shared_ptr<const Schema>> compile(json::object schema);
  ~Schema();

  /// Every fault at once (kInputFaultsMax at most), in the order of the schema; empty: the input is
  /// valid.
  [[nodiscard]] std::vector<InputFault> check(const json::object& input) const;
  /// Adds what the schema gives a default for and the input lacks, at every depth of objects (by
  /// `properties`, `items`, `$ref`, `allOf`, and by `anyOf` or `oneOf` where one of their alternatives
  /// alone may be an object, or a list). Errors: invalid_argument
  /// (more than kDefaultsBytesMax), and the input is of no use then.
  Result<void> fill_defaults(json::object& input) const;
  /// The schema declares this top-level property.
  [[nodiscard]] bool declares(std::string_view property) const;
  /// Top-level properties marked `"x-quern-file": true`: URLs that runners get as local files.
  [[nodiscard]] const std::vector<std::string>& file_properties() const;
  [[nodiscard]] const json::object& document() const;

 private:
  struct Compiled;
  explicit Schema(std::unique_ptr<Compiled> compiled);
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace quern
