#include "catalog/endpoint_history.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace quern {
namespace {

std::string line_of(std::string_view model, std::string_view endpoint) {
  return fmt::format("{} {}", model, endpoint);
}

}  // namespace

EndpointHistory EndpointHistory::parse(std::string_view text) {
  EndpointHistory history;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const std::size_t blank = line.find(' ');
    if (blank == std::string_view::npos) continue;
    const std::string_view model = line.substr(0, blank);
    const std::string_view alias = line.substr(blank + 1);
    if (is_model_id(model) && !alias_fault(alias)) history.add(model, alias);
  }
  return history;
}

std::string EndpointHistory::to_text() const {
  std::string text;
  for (const std::string& line : lines_) text.append(line).append("\n");
  return text;
}

bool EndpointHistory::add(const Catalog& catalog) {
  bool is_news = false;
  for (const Model& model : catalog.models()) {
    for (const std::string& alias : model.aliases) is_news |= add(model.id, alias);
  }
  return is_news;
}

bool EndpointHistory::has(std::string_view model, std::string_view endpoint) const {
  const std::string line = line_of(model, endpoint);
  return known_.contains(line) || shorts_.contains(line);
}

bool EndpointHistory::add(std::string_view model, std::string_view alias) {
  std::string line = line_of(model, alias);
  if (!known_.insert(line).second) return false;
  shorts_.insert(line_of(model, owner_and_app(alias)));
  lines_.push_back(std::move(line));
  if (lines_.size() > kEndpointHistoryMax) forget_oldest();
  return true;
}

void EndpointHistory::forget_oldest() {
  const std::string_view oldest = lines_.front();
  const std::size_t blank = oldest.find(' ');
  shorts_.erase(
      shorts_.find(line_of(oldest.substr(0, blank), owner_and_app(oldest.substr(blank + 1)))));
  known_.erase(lines_.front());
  lines_.pop_front();
}

}  // namespace quern
