#pragma once
// The models that are served. Immutable; a reload makes a new catalog.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "catalog/model.h"

namespace quern {

/// Threads: any.
class Catalog {
 public:
  /// Errors: invalid_argument (bad or double id or alias). An alias is two or more segments like
  /// model ids, after `workflows/` or `comfy/` three or more in all; no segment is `requests`, the
  /// first is neither `proxy` nor `storage`, and all are kAliasSegmentsMax at most. `quern/<id>` is taken by the model with that id.
  static Result<std::shared_ptr<const Catalog>> make(std::vector<Model> models);

  [[nodiscard]] const Model* find(std::string_view id) const;
  /// By full alias, `quern/<id>`, or the `owner/app` of either. One that stands for several models finds none.
  [[nodiscard]] const Model* find_alias(std::string_view alias) const;
  /// `endpoint` is `quern/<id>`, or an alias of the model or the `owner/app` of one. A model that is not served has no
  /// aliases.
  [[nodiscard]] bool is_endpoint_of(std::string_view model, std::string_view endpoint) const;
  [[nodiscard]] const std::vector<Model>& models() const { return models_; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };
  Result<void> add_aliases(const Model& model);

  using Index = std::unordered_map<std::string, const Model*, Hash, std::equal_to<>>;

  std::vector<Model> models_;  // in the order of the configuration
  Index by_id_;
  Index by_alias_;   // full aliases only
  Index by_prefix_;  // owner/app; null if several models share it
};

/// `[A-Za-z0-9_.-]+`, at most kModelIdBytesMax, and neither "." nor "..".
bool is_model_id(std::string_view text);
inline constexpr std::size_t kModelIdBytesMax = 128;

/// What is wrong with an alias, after "the alias \"…\" "; nullopt: nothing.
std::optional<std::string> alias_fault(std::string_view alias);
inline constexpr std::size_t kAliasBytesMax = 512;
inline constexpr std::size_t kAliasSegmentsMax = 16;  // paths below it are routes, see api/routes.h

/// The first two segments of an alias; after `workflows/` or `comfy/` three.
std::string_view owner_and_app(std::string_view alias);

}  // namespace quern
