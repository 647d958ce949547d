#pragma once
// Command line flags of the small programs here: `--name value`, all given by bench/main.mjs.

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

namespace bench {

class Flags {
 public:
  Flags(int argc, char** argv) {
    for (int i = 1; i + 1 < argc; i += 2) values_[argv[i]] = argv[i + 1];
  }

  [[nodiscard]] std::string text(const std::string& name) const {
    const auto found = values_.find(name);
    if (found == values_.end()) {
      std::fprintf(stderr, "missing flag %s\n", name.c_str());
      std::exit(2);
    }
    return found->second;
  }
  [[nodiscard]] double number(const std::string& name) const {
    const std::string written = text(name);
    char* end = nullptr;
    const double value = std::strtod(written.c_str(), &end);
    if (end == written.c_str() || *end != '\0') {
      std::fprintf(stderr, "%s: not a number: %s\n", name.c_str(), written.c_str());
      std::exit(2);
    }
    return value;
  }
  [[nodiscard]] double number(const std::string& name, double otherwise) const {
    return values_.contains(name) ? number(name) : otherwise;
  }

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace bench
