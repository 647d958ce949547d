#include "base/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <list>
#include <map>

#include "base/assert.h"

namespace quern {

Histogram::Histogram(std::span<const double> bounds)
    : bounds_(bounds.begin(), bounds.end()),
      counts_(std::make_unique<std::atomic<std::uint64_t>[]>(bounds.size() + 1)) {
  QUERN_ASSERT(std::ranges::adjacent_find(bounds_, std::greater_equal{}) == bounds_.end());
}

void Histogram::observe(double value) {
  const auto bucket = std::ranges::lower_bound(bounds_, value) - bounds_.begin();
  counts_[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

std::span<const double> latency_bounds() {
  static constexpr std::array kBounds{50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3,
                                      5e-3,  10e-3,  25e-3,  50e-3,  0.1,  0.25,
                                      0.5,   1.0,    2.5,    5.0,    10.0};
  return kBounds;
}

std::span<const double> size_bounds() {
  static constexpr std::array kBounds{1.0,   2.0,   4.0,   8.0,    16.0,   32.0,  64.0,
                                      128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0};
  return kBounds;
}

namespace {

struct ByLabels {
  bool operator()(const MetricLabels* one, const MetricLabels* other) const {
    return *one < *other;
  }
};

}  // namespace

struct Metrics::Series {
  MetricLabels labels;
  // The one that the family's type names.
  std::unique_ptr<Counter> counter;
  std::unique_ptr<Gauge> gauge;
  std::unique_ptr<Histogram> histogram;
};

struct Metrics::Family {
  std::string name;
  std::string help;
  Type type = Type::counter;
  std::list<Series> series;  // in the order of their making
  // Configured models may be thousands. The keys are those in `series`.
  std::map<const MetricLabels*, std::list<Series>::iterator, ByLabels> by_labels;
};

namespace {

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

bool is_metric_name(std::string_view name) {
  return !name.empty() && !(name[0] >= '0' && name[0] <= '9') &&
         std::ranges::all_of(name, is_name_char);
}

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else {
      if (c == '\\' || (quotes && c == '"')) out += '\\';
      out += c;
    }
  }
}

void append_number(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value > 0 ? "+Inf" : "-Inf";
  } else {
    fmt::format_to(std::back_inserter(out), "{}", value);
  }
}

// name{label="value",…} and a space; `bound` is a histogram's `le`.
void append_head(std::string& out, std::string_view name, std::string_view suffix,
                 const MetricLabels& labels, std::string_view bound = {}) {
  out += name;
  out += suffix;
  char before = '{';
  const auto append_label = [&](std::string_view label, std::string_view value) {
    out += before;
    out += label;
    out += "=\"";
    append_escaped(out, value, true);
    out += '"';
    before = ',';
  };
  for (const auto& [label, value] : labels) append_label(label, value);
  if (!bound.empty()) append_label("le", bound);
  if (before == ',') out += '}';
  out += ' ';
}

void append_count(std::string& out, std::uint64_t count) {
  fmt::format_to(std::back_inserter(out), "{}\n", count);
}

// The count is summed from the buckets, so that one render never contradicts itself.
void append_histogram(std::string& out, std::string_view name, const MetricLabels& labels,
                      const Histogram& histogram) {
  std::uint64_t total = 0;
  std::string bound;
  for (std::size_t i = 0; i <= histogram.bounds().size(); ++i) {
    total += histogram.bucket(i);
    bound.clear();
    append_number(bound, i < histogram.bounds().size() ? histogram.bounds()[i] : INFINITY);
    append_head(out, name, "_bucket", labels, bound);
    append_count(out, total);
  }
  append_head(out, name, "_sum", labels);
  append_number(out, histogram.sum());
  out += '\n';
  append_head(out, name, "_count", labels);
  append_count(out, total);
}

}  // namespace

Metrics::Metrics() = default;
Metrics::~Metrics() = default;

std::vector<std::unique_ptr<Metrics::Family>>::iterator Metrics::find(std::string_view name) {
  return std::ranges::find_if(families_, [&](const auto& known) { return known->name == name; });
}

Metrics::Series& Metrics::series(std::string_view name, std::string_view help, Type type,
                                 MetricLabels labels, std::span<const double> bounds) {
  QUERN_ASSERT(is_metric_name(name));
  for (const auto& [label, value] : labels) QUERN_ASSERT(is_metric_name(label) && label != "le");

  const std::scoped_lock lock(mutex_);
  auto family = find(name);
  if (family == families_.end()) {
    families_.push_back(std::make_unique<Family>(Family{.name = std::string(name),
                                                        .help = std::string(help),
                                                        .type = type,
                                                        .series = {},
                                                        .by_labels = {}}));
    family = std::prev(families_.end());
  }
  QUERN_ASSERT((*family)->type == type);
  std::list<Series>& all = (*family)->series;
  auto& by_labels = (*family)->by_labels;
  if (const auto known = by_labels.find(&labels); known != by_labels.end()) return *known->second;
  Series& made = all.emplace_back();
  made.labels = std::move(labels);
  if (type == Type::counter) made.counter = std::make_unique<Counter>();
  if (type == Type::gauge) made.gauge = std::make_unique<Gauge>();
  if (type == Type::histogram) made.histogram = std::make_unique<Histogram>(bounds);
  by_labels.emplace(&made.labels, std::prev(all.end()));
  return made;
}

Counter& Metrics::counter(std::string_view name, std::string_view help, MetricLabels labels) {
  return *series(name, help, Type::counter, std::move(labels)).counter;
}

Gauge& Metrics::gauge(std::string_view name, std::string_view help, MetricLabels labels) {
  return *series(name, help, Type::gauge, std::move(labels)).gauge;
}

Histogram& Metrics::histogram(std::string_view name, std::string_view help,
                              std::span<const double> bounds, MetricLabels labels) {
  return *series(name, help, Type::histogram, std::move(labels), bounds).histogram;
}

void Metrics::remove(std::string_view name, const MetricLabels& labels) {
  const std::scoped_lock lock(mutex_);
  const auto family = find(name);
  if (family == families_.end()) return;
  const auto entry = (*family)->by_labels.find(&labels);
  if (entry == (*family)->by_labels.end()) return;
  const auto series = entry->second;  // has the labels that the entry points to
  (*family)->by_labels.erase(entry);
  (*family)->series.erase(series);
}

void Metrics::on_render(std::function<void()> collect) {
  const std::scoped_lock lock(mutex_);
  collectors_.push_back(std::move(collect));
}

std::string Metrics::render() const {
  static constexpr std::array<std::string_view, 3> kTypeNames{"counter", "gauge", "histogram"};
  std::vector<std::function<void()>> collectors;
  {
    const std::scoped_lock lock(mutex_);
    collectors = collectors_;
  }
  for (const auto& collect : collectors) collect();  // unlocked: a collector may make metrics

  const std::scoped_lock lock(mutex_);
  std::string out;
  for (const auto& family : families_) {
    out += "# HELP " + family->name + ' ';
    append_escaped(out, family->help, false);
    fmt::format_to(std::back_inserter(out), "\n# TYPE {} {}\n", family->name,
                   kTypeNames[static_cast<std::size_t>(family->type)]);
    for (const Series& one : family->series) {
      if (one.histogram) {
        append_histogram(out, family->name, one.labels, *one.histogram);
        continue;
      }
      append_head(out, family->name, "", one.labels);
      if (one.counter) {
        append_count(out, one.counter->value());
      } else {
        append_number(out, one.gauge->value());
        out += '\n';
      }
    }
  }
  return out;
}

}  // namespace quern
