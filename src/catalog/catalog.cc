#include "catalog/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace quern {
namespace {

constexpr std::string_view kOwnPrefix = "quern/";

bool is_segment(std::string_view text) {
  return !text.empty() && text != "." && text != ".." && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  });
}

// `workflows/` and `comfy/` are namespaces: owner and app come after them.
std::size_t prefix_segments(std::string_view alias) {
  return alias.starts_with("workflows/") || alias.starts_with("comfy/") ? 3 : 2;
}

}  // namespace

bool is_model_id(std::string_view text) {
  return text.size() <= kModelIdBytesMax && is_segment(text);
}

std::string_view owner_and_app(std::string_view alias) {
  std::size_t end = 0;
  for (std::size_t n = prefix_segments(alias); n > 0; --n) {
    end = alias.find('/', end);
    if (end == std::string_view::npos) return alias;
    ++end;
  }
  return alias.substr(0, end - 1);
}

std::optional<std::string> alias_fault(std::string_view alias) {
  if (alias.size() > kAliasBytesMax) return fmt::format("is longer than {} bytes", kAliasBytesMax);
  std::size_t segments = 0;
  for (std::size_t begin = 0; begin <= alias.size(); ++segments) {
    const std::size_t end = std::min(alias.find('/', begin), alias.size());
    const std::string_view segment = alias.substr(begin, end - begin);
    if (!is_segment(segment)) return "must be segments of [A-Za-z0-9_.-]+ with a slash between";
    if (segment == "requests") return "must not have the segment \"requests\"";
    if (segments == 0 && (segment == "proxy" || segment == "storage")) {
      return fmt::format("must not begin with \"{}\"", segment);
    }
    begin = end + 1;
  }
  if (segments > kAliasSegmentsMax)
    return fmt::format("has more than {} segments", kAliasSegmentsMax);
  const std::size_t needed = prefix_segments(alias);
  if (segments < needed) return fmt::format("needs at least {} segments", needed);
  return std::nullopt;
}

Result<std::shared_ptr<const Catalog>> Catalog::make(std::vector<Model> models) {
  const auto catalog = std::make_shared<Catalog>();
  catalog->models_ = std::move(models);
  for (const Model& model : catalog->models_) {
    if (!is_model_id(model.id)) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("model id \"{}\": must be 1 to {} characters of [A-Za-z0-9_.-]",
                              model.id, kModelIdBytesMax));
    }
    if (!catalog->by_id_.emplace(model.id, &model).second) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("two models have the id \"{}\"", model.id));
    }
  }
  for (const Model& model : catalog->models_) {
    if (auto added = catalog->add_aliases(model); !added) return fail(std::move(added));
  }
  return catalog;
}

Result<void> Catalog::add_aliases(const Model& model) {
  std::vector<std::string> aliases = model.aliases;
  aliases.push_back(std::string(kOwnPrefix) + model.id);
  for (std::string& alias : aliases) {
    if (const auto fault = alias_fault(alias)) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("model \"{}\": the alias \"{}\" {}", model.id, alias, *fault));
    }
    // One prefix of several aliases stands for a model only if they all do.
    const std::string prefix(owner_and_app(alias));
    const auto known = by_prefix_.try_emplace(prefix, &model).first;
    if (known->second != &model) known->second = nullptr;
    const auto [other, is_new] = by_alias_.emplace(std::move(alias), &model);
    if (!is_new) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("model \"{}\": the alias \"{}\" is already that of \"{}\"", model.id,
                              other->first, other->second->id));
    }
  }
  return {};
}

const Model* Catalog::find(std::string_view id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

const Model* Catalog::find_alias(std::string_view alias) const {
  if (const auto found = by_alias_.find(alias); found != by_alias_.end()) return found->second;
  const auto found = by_prefix_.find(alias);
  return found == by_prefix_.end() ? nullptr : found->second;
}

bool Catalog::is_endpoint_of(std::string_view model, std::string_view endpoint) const {
  if (endpoint.starts_with(kOwnPrefix) && endpoint.substr(kOwnPrefix.size()) == model) return true;
  const Model* served = find(model);
  return served != nullptr && std::ranges::any_of(served->aliases, [&](std::string_view alias) {
           return endpoint == alias || endpoint == owner_and_app(alias);
         });
}

}  // namespace quern
