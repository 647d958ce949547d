#include "catalog/schema_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <iterator>
#include <span>
#include <string>
#include <unordered_set>
#include <utility>

#include "base/utf8.h"
#include "catalog/json_compare.h"
#include "catalog/schema_messages.h"

namespace quern::schema {
namespace {

// Alternatives inside alternatives can multiply, and what one schema asks can be dear: a check that
// has taken so many steps gives up. To meet a schema is one; what costs more takes more of them.
constexpr std::size_t kStepsMax = 100'000;
constexpr std::size_t kStepsMaxPerValue = 64;  // and more for a large input
constexpr std::size_t kBytesPerStep = 1'024;   // of a text that is read to its end
constexpr std::size_t kTriesPerStep = 32;  // of a pattern: an ordinary one takes 1 to 3 a character
constexpr std::size_t kLookUpsPerStep = 16;  // of names that a schema declares, in an object
constexpr std::size_t kComparesPerStep = 4;  // of items that must not repeat
constexpr const char* kTooComplex = "too complex to check";
constexpr std::size_t kLocBytesMax =
    1U << 20U;  // of all faults together, since names come from the caller

// Where in the input a value lies: a list from the leaf to the root, on the stack.
struct Place {
  const Place* parent = nullptr;
  std::string_view name;
  std::size_t index = 0;
  bool is_index = false;
};

std::size_t count_values(const json::object& object);

std::size_t count_values(const json::value& value) {
  std::size_t count = 1;
  if (const json::object* object = value.if_object()) return count_values(*object);
  if (const json::array* array = value.if_array()) {
    for (const json::value& item : *array) count += count_values(item);
  }
  return count;
}

std::size_t count_values(const json::object& object) {
  std::size_t count = 1;
  for (const json::key_value_pair& member : object) count += count_values(member.value());
  return count;
}

std::size_t count_text_bytes(const json::value& value) {
  if (const json::string* text = value.if_string()) return text->size();
  std::size_t bytes = 0;
  if (const json::array* array = value.if_array()) {
    for (const json::value& item : *array) bytes += count_text_bytes(item);
  } else if (const json::object* object = value.if_object()) {
    for (const json::key_value_pair& member : *object)
      bytes += member.key().size() + count_text_bytes(member.value());
  }
  return bytes;
}

std::vector<InputFault> cannot_check(std::string_view why) {
  std::string msg(kValueErrorPrefix);
  return {{.loc = {}, .msg = msg.append(why), .type = std::string(kValueError)}};
}

std::string untried_message(std::string_view what) {
  return fmt::format("{} too long for a pattern, which is tried on {} characters at most", what,
                     kPatternTextMax);
}

std::vector<json::value> loc_of(const Place* place) {
  std::vector<json::value> loc;
  for (; place != nullptr; place = place->parent) {
    if (place->is_index) {
      loc.emplace_back(static_cast<std::int64_t>(place->index));
    } else {
      loc.emplace_back(place->name);
    }
  }
  std::ranges::reverse(loc);
  return loc;
}

// The same for the same fault only.
std::string name_of(const InputFault& fault) {
  std::string name;
  for (const json::value& step : fault.loc) {
    append_json(name, step);
    name += '/';
  }
  return name.append(fault.type).append(" ").append(fault.msg);
}

std::size_t bytes_of(const Place* place) {
  std::size_t bytes = 0;
  for (; place != nullptr; place = place->parent) bytes += place->name.size() + sizeof(json::value);
  return bytes;
}

// A value of the input. The root is an object, all else are values.
class Instance {
 public:
  explicit Instance(const json::object& root) : object_(&root), kind_(json::kind::object) {}
  explicit Instance(const json::value& value)
      : value_(&value), object_(value.if_object()), kind_(value.kind()) {}

  [[nodiscard]] json::kind kind() const { return kind_; }
  [[nodiscard]] const json::value& value() const { return *value_; }  // not of the root
  [[nodiscard]] const json::object& object() const { return *object_; }
  [[nodiscard]] bool is_null() const { return kind_ == json::kind::null; }

  [[nodiscard]] bool equals(const json::value& other) const {
    if (value_ != nullptr) return json_equal(*value_, other);
    return other.is_object() && json_equal(*object_, other.get_object());
  }

  [[nodiscard]] Types types() const {
    switch (kind_) {
      case json::kind::null:
        return kNull;
      case json::kind::bool_:
        return kBoolean;
      case json::kind::string:
        return kString;
      case json::kind::array:
        return kArray;
      case json::kind::object:
        return kObject;
      default:
        return is_integral(*value_) ? Types{kInteger | kNumber} : kNumber;
    }
  }

 private:
  const json::value* value_ = nullptr;
  const json::object* object_ = nullptr;
  json::kind kind_;
};

// Walks schema and value together. While `faults_` is null it only wants to know whether there is a
// fault, and ends at the first.
class Checker {
 public:
  Checker(const json::object& input, std::vector<InputFault>* faults)
      : input_(input), faults_(faults) {}

  bool check_root(const Node& root) {
    const bool valid = check(root, Instance(input_), nullptr);
    if (!gave_up_) return valid;
    if (faults_ != nullptr)  // what was found is a matter of chance
      *faults_ = cannot_check(is_untried_ ? untried_message("a text is") : kTooComplex);
    return false;  // whatever a `not` made of it
  }

  [[nodiscard]] bool gave_up() const { return gave_up_; }
  /// It gave up for a text that no pattern is tried on, and where faults are named goes on.
  [[nodiscard]] bool is_untried() const { return is_untried_; }

 private:
  bool check(const Node& node, const Instance& value, const Place* place) {
    if (!spend(1)) return false;
    if (node.ref != nullptr) return check(*node.ref, value, place);
    if (node.is_never) return fault(place, kValueError, "no value is allowed here");
    if (!check_identity(node, value, place)) return false;  // nothing else would be news

    bool valid = true;
    switch (value.kind()) {
      case json::kind::object:
        if (node.object) valid = check_object(*node.object, value, place);
        break;
      case json::kind::array:
        if (node.array) valid = check_array(*node.array, value.value().get_array(), place);
        break;
      case json::kind::string:
        if (node.string) valid = check_string(*node.string, value.value().get_string(), place);
        break;
      case json::kind::int64:
      case json::kind::uint64:
      case json::kind::double_:
        if (node.number) valid = check_number(*node.number, value.value(), place);
        break;
      default:
        break;
    }
    if (node.combinations && !(done(valid)))
      valid = check_combinations(*node.combinations, value, place) && valid;
    return valid;
  }

  // False, from then on, when the check gives up.
  bool spend(std::size_t steps) {
    steps_ += steps;
    return steps_ <= steps_max_ || may_go_on();
  }

  // Most checks never come here, so only here is the size of the input worth knowing.
  bool may_go_on() {
    if (steps_max_ == kStepsMax) steps_max_ += kStepsMaxPerValue * count_values(input_);
    if (steps_ > steps_max_) give_up();
    return !gave_up_;
  }

  bool give_up() {
    gave_up_ = is_full_ = true;
    return false;
  }

  // ---- faults

  // Nothing more to find out.
  [[nodiscard]] bool done(bool valid) const { return is_full_ || (!valid && faults_ == nullptr); }

  bool fault(const Place* place, std::string_view type, std::string msg) {
    if (faults_ == nullptr || is_full_) return false;
    InputFault told{.loc = loc_of(place), .msg = std::move(msg), .type = std::string(type)};
    if (type == kValueError) told.msg.insert(0, kValueErrorPrefix);
    if (!told_.insert(name_of(told)).second) return false;
    faults_->push_back(std::move(told));
    loc_bytes_ += bytes_of(place);
    is_full_ = faults_->size() >= kInputFaultsMax || loc_bytes_ > kLocBytesMax;
    return false;
  }

  bool matches(const Node& node, const Instance& value, const Place* place) {
    std::vector<InputFault>* const faults = std::exchange(faults_, nullptr);
    const bool valid = check(node, value, place);
    faults_ = faults;
    return valid;
  }

  // ---- any type

  bool check_identity(const Node& node, const Instance& value, const Place* place) {
    if (node.choices != nullptr && !is_choice(*node.choices, value)) {
      return faults_ != nullptr && fault(place, "enum", one_of_message(*node.choices->all));
    }
    if (node.constant != nullptr && !value.equals(*node.constant)) {
      return faults_ != nullptr &&
             fault(place, "literal_error", one_of_message(json::array{*node.constant}));
    }
    if (node.types == 0 || (node.types & value.types()) != 0) return true;
    if (faults_ != nullptr) report_type(node.types, value, place);
    return false;
  }

  bool is_choice(const Choices& choices, const Instance& value) {
    const Types types = value.types();
    if (types == kString) {
      const std::string_view text = value.value().get_string();
      return spend(text.size() / kBytesPerStep) && choices.texts.contains(text);
    }
    if ((types & kNumber) != 0) {
      return std::ranges::binary_search(
          choices.numbers, &value.value(),
          [](const json::value* a, const json::value* b) { return compare_numbers(*a, *b) < 0; });
    }
    return spend(choices.others.size()) &&
           std::ranges::any_of(choices.others,
                               [&](const json::value* choice) { return value.equals(*choice); });
  }

  void report_type(Types allowed, const Instance& value, const Place* place) {
    if (allowed != kNull)
      allowed = static_cast<Types>(allowed & ~kNull);  // `null` is a way out, not the aim
    for (const TypeFault& each : type_faults()) {
      if ((allowed & each.type) == 0) continue;
      const bool is_fraction = each.type == kInteger && value.kind() == json::kind::double_;
      fault(place, is_fraction ? "int_from_float" : each.name,
            std::string(is_fraction ? kFractionMessage : each.msg));
    }
  }

  // ---- numbers and strings

  bool check_number(const NumberRules& rules, const json::value& value, const Place* place) {
    bool valid = true;
    const auto bound = [&](const json::value* limit, auto holds, std::string_view type,
                           std::string_view text) {
      if (limit == nullptr || done(valid) || holds(compare_numbers(value, *limit))) return;
      valid = fault(place, type, faults_ == nullptr ? std::string() : limit_message(text, *limit));
    };
    bound(
        rules.minimum, [](auto order) { return order >= 0; }, "greater_than_equal",
        "greater than or equal to");
    bound(
        rules.exclusive_minimum, [](auto order) { return order > 0; }, "greater_than",
        "greater than");
    bound(
        rules.maximum, [](auto order) { return order <= 0; }, "less_than_equal",
        "less than or equal to");
    bound(rules.exclusive_maximum, [](auto order) { return order < 0; }, "less_than", "less than");
    if (rules.multiple_of != nullptr && !done(valid) && !is_multiple(value, *rules.multiple_of)) {
      valid = fault(place, "multiple_of", limit_message("a multiple of", *rules.multiple_of));
    }
    return valid;
  }

  bool check_pattern(const TextPattern& pattern, std::string_view text, const Place* place) {
    if (faults_ != nullptr && !TextPattern::takes(text)) {
      return fault(place, kValueError, untried_message("this is"));
    }
    return matches_pattern(pattern, text) ||
           fault(place, "string_pattern_mismatch",
                 fmt::format("String should match pattern '{}'", pattern.source()));
  }

  bool matches_pattern(const TextPattern& pattern, std::string_view text) {
    constexpr std::uint64_t kTriesMax = kStepsMax * kTriesPerStep;
    std::uint64_t left = kTriesMax;
    const std::optional<bool> found = pattern.matches(text, left);
    is_untried_ = !found && !TextPattern::takes(text);
    if (!found) return give_up();
    return spend((kTriesMax - left) / kTriesPerStep) && *found;
  }

  bool check_string(const StringRules& rules, std::string_view text, const Place* place) {
    if (!spend(text.size() / kBytesPerStep)) return false;
    bool valid = true;
    if (rules.length_min || rules.length_max) {
      const std::size_t length = count_utf8(text);
      if (rules.length_min && length < *rules.length_min) {
        valid = fault(place, "string_too_short", length_message("least", *rules.length_min));
      }
      if (rules.length_max && length > *rules.length_max) {
        valid = fault(place, "string_too_long", length_message("most", *rules.length_max));
      }
    }
    const bool is_told = !valid && !TextPattern::takes(text);  // that it is too long
    if (rules.pattern && !is_told && !done(valid))
      valid = check_pattern(*rules.pattern, text, place) && valid;
    if (rules.is_uri && !done(valid)) {
      if (const std::string_view wrong = uri_fault(text); !wrong.empty()) {
        valid = fault(place, "url_parsing", fmt::format("Input should be a valid URL, {}", wrong));
      }
    }
    return valid;
  }

  // ---- arrays

  bool check_array(const ArrayRules& rules, const json::array& items, const Place* place) {
    bool valid = check_size(rules.size_min, rules.size_max, items.size(), "List", place);
    for (std::size_t i = 0; i < items.size() && !done(valid); ++i) {
      const bool is_first = i < rules.first_items.size();
      const Node* node = rules.items != nullptr ? rules.items
                         : is_first             ? rules.first_items[i]
                                                : rules.additional;
      if (node == nullptr) break;  // neither has any of the rest
      if (node->is_never)
        return fault(place, "too_long", size_message("List", "most", i, items.size()));
      const Place at{.parent = place, .name = {}, .index = i, .is_index = true};
      valid = check(*node, Instance(items[i]), &at) && valid;
    }
    if (rules.contains != nullptr && !done(valid) &&
        std::ranges::none_of(items, [&](const auto& item) {
          return matches(*rules.contains, Instance(item), place);
        })) {
      valid = fault(place, kValueError, "no item is of the kind that is needed");
    }
    if (rules.is_unique && !done(valid) && !are_unique(items)) {
      valid = fault(place, kValueError, "items must not repeat");
    }
    return valid;
  }

  bool are_unique(const json::array& items) {
    const std::size_t compares = items.size() * std::bit_width(items.size());
    std::size_t steps = compares / kComparesPerStep;
    for (const json::value& item : items)
      steps += count_values(item) + count_text_bytes(item) / kBytesPerStep;
    return spend(steps) && !has_duplicates(items);
  }

  bool check_size(std::optional<std::uint64_t> min, std::optional<std::uint64_t> max,
                  std::size_t size, std::string_view what, const Place* place) {
    bool valid = true;
    if (min && size < *min)
      valid = fault(place, "too_short", size_message(what, "least", *min, size));
    if (max && size > *max)
      valid = fault(place, "too_long", size_message(what, "most", *max, size));
    return valid;
  }

  // ---- objects

  bool check_object(const ObjectRules& rules, const Instance& value, const Place* place) {
    const json::object& object = value.object();
    if (!spend(
            (rules.properties.size() + rules.required_others.size() + rules.dependencies.size()) /
            kLookUpsPerStep))
      return false;
    std::size_t known = 0;
    bool valid = true;
    for (const Property& property : rules.properties) {
      if (done(valid)) return valid;
      const Place at{.parent = place, .name = property.name};
      if (const json::value* present = object.if_contains(property.name)) {
        ++known;
        valid = check_member(*property.node, *present, &at) && valid;
      } else if (property.is_required) {
        valid = missing(&at);
      }
    }
    if (!done(valid)) valid = require(rules.required_others, object, place) && valid;
    const bool has_unknown = known < object.size();
    if (!done(valid) &&
        (!rules.patterns.empty() || rules.names != nullptr || (has_unknown && rules.additional))) {
      valid = check_names(rules, object, place) && valid;
    }
    if (!done(valid))
      valid =
          check_size(rules.size_min, rules.size_max, object.size(), "Dictionary", place) && valid;
    for (const Dependency& dependency : rules.dependencies) {
      if (done(valid)) return valid;
      if (!object.contains(dependency.name)) continue;
      valid = require(dependency.required, object, place) && valid;
      if (dependency.node != nullptr && !done(valid))
        valid = check(*dependency.node, value, place) && valid;
    }
    return valid;
  }

  bool check_member(const Node& node, const json::value& value, const Place* at) {
    if (node.is_never) return fault(at, "extra_forbidden", "Extra inputs are not permitted");
    return check(node, Instance(value), at);
  }

  bool missing(const Place* at) { return fault(at, "missing", "Field required"); }

  bool require(std::span<const std::string> names, const json::object& object, const Place* place) {
    bool valid = true;
    for (const std::string& name : names) {
      if (object.contains(name)) continue;
      const Place at{.parent = place, .name = name};
      valid = missing(&at);
    }
    return valid;
  }

  // What depends on the name of a member: `propertyNames`, `patternProperties`,
  // `additionalProperties`.
  bool check_names(const ObjectRules& rules, const json::object& object, const Place* place) {
    bool valid = true;
    for (const json::key_value_pair& member : object) {
      if (done(valid)) return valid;
      const Place at{.parent = place, .name = member.key()};
      if (rules.names != nullptr) {
        const json::value name(member.key());
        valid = check_member(*rules.names, name, &at) && valid;
      }
      bool is_known = rules.declared.contains(member.key());
      for (const PatternProperty& each : rules.patterns) {
        if (!matches_pattern(each.pattern, member.key())) continue;
        is_known = true;
        valid = check_member(*each.node, member.value(), &at) && valid;
      }
      if (!is_known && rules.additional != nullptr) {
        valid = check_member(*rules.additional, member.value(), &at) && valid;
      }
    }
    return valid;
  }

  // ---- combinations

  bool check_combinations(const Combinations& all, const Instance& value, const Place* place) {
    bool valid = true;
    for (const Node* each : all.all_of) {
      if (!done(valid)) valid = check(*each, value, place) && valid;
    }
    if (!all.any_of.empty() && !done(valid))
      valid = check_any_of(all.any_of, value, place) && valid;
    if (!all.one_of.empty() && !done(valid))
      valid = check_one_of(all.one_of, value, place) && valid;
    if (all.none_of != nullptr && !done(valid) && matches(*all.none_of, value, place)) {
      valid = fault(place, kValueError, "the value is of a kind that is not allowed");
    }
    if (all.condition != nullptr && !done(valid)) {
      const Node* branch = matches(*all.condition, value, place) ? all.then : all.otherwise;
      if (branch != nullptr) valid = check(*branch, value, place) && valid;
    }
    return valid;
  }

  struct Fitting {
    std::size_t count = 0;
    bool is_open = false;  // it could be more: a text is too long for a pattern to be tried on
  };

  // Counts up to `enough` of the alternatives that the value fits.
  Fitting fitting(std::span<const Node* const> branches, std::size_t enough, const Instance& value,
                  const Place* place) {
    Fitting found;
    const bool was_full = is_full_;
    for (const Node* branch : branches) {
      const bool fits = matches(*branch, value, place);
      if (std::exchange(is_untried_, false)) {  // whatever a `not` in it made of that
        found.is_open = true;
        gave_up_ = false;
        is_full_ = was_full;
      } else if (fits && ++found.count == enough) {
        break;
      }
    }
    return found;
  }

  bool check_any_of(std::span<const Node* const> branches, const Instance& value,
                    const Place* place) {
    const Fitting found = fitting(branches, 1, value, place);
    return found.count > 0 || report_none(found, branches, value, place);
  }

  bool check_one_of(std::span<const Node* const> branches, const Instance& value,
                    const Place* place) {
    const Fitting found = fitting(branches, 2, value, place);
    if (found.count > 1)
      return fault(place, kValueError, "the value fits several alternatives, not one");
    if (found.count == 1) return !found.is_open || leave_open();
    return report_none(found, branches, value, place);
  }

  // Whether the value is valid depends on a pattern that is not tried.
  bool leave_open() {
    is_untried_ = true;
    return give_up();
  }

  bool report_none(const Fitting& found, std::span<const Node* const> branches,
                   const Instance& value, const Place* place) {
    if (found.is_open && faults_ == nullptr) return leave_open();
    return report_branches(branches, value, place);
  }

  // The faults of those alternatives that the value seems to be meant for: of its type. If there is
  // none, of all, except that it is not null.
  bool report_branches(std::span<const Node* const> branches, const Instance& value,
                       const Place* place) {
    if (faults_ == nullptr || is_full_) return false;
    std::vector<const Node*> meant;
    std::ranges::copy_if(branches, std::back_inserter(meant),
                         [&](const Node* branch) { return fits_type(*branch, value); });
    if (meant.empty()) {
      std::ranges::copy_if(branches, std::back_inserter(meant),
                           [](const Node* b) { return resolved(*b).types != kNull; });
    }
    if (meant.empty()) meant.assign(branches.begin(), branches.end());

    for (const Node* branch : meant) {
      if (!is_full_) check(*branch, value, place);
    }
    return false;
  }

  static const Node& resolved(const Node& node) {
    const Node* at = &node;
    while (at->ref != nullptr) at = at->ref;
    return *at;
  }

  static bool fits_type(const Node& branch, const Instance& value) {
    const Node& node = resolved(branch);
    return !node.is_never && (node.types == 0 || (node.types & value.types()) != 0);
  }

  const json::object& input_;
  std::vector<InputFault>* faults_;
  std::unordered_set<std::string> told_;  // names of faults: several schemas may find the same
  std::size_t steps_ = 0;
  std::size_t steps_max_ = kStepsMax;
  std::size_t loc_bytes_ = 0;
  bool is_full_ = false;
  bool gave_up_ = false;
  bool is_untried_ = false;
};

}  // namespace

std::vector<InputFault> check(const Node& root, const json::object& input) {
  // Nearly all inputs are valid, and finding that out alone is quicker.
  Checker first(input, nullptr);
  if (first.check_root(root)) return {};
  // One that names faults would give up after as many steps.
  if (first.gave_up() && !first.is_untried()) return cannot_check(kTooComplex);
  std::vector<InputFault> faults;
  Checker(input, &faults).check_root(root);
  return faults;
}

}  // namespace quern::schema
