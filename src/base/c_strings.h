#pragma once
// Texts as exec wants them.

#include <span>
#include <string>
#include <vector>

namespace quern {

/// Each of `texts`, and a nullptr behind the last. Valid as long as they are, unchanged; exec does not write to them.
inline std::vector<char*> c_strings(std::span<const std::string> texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace quern
