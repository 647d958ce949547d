#include "artifact/model_format.h"

#include <algorithm>
#include <cctype>

namespace quern {

namespace {

constexpr std::string_view kBlank = " \t\r";

std::uint32_t little_endian_u32(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 4; i-- > 0;) value = value << 8U | static_cast<unsigned char>(bytes[i]);
  return value;
}

// An 80-byte header of any content, even "solid", then the count of triangles of 50 bytes each:
// the length gives it away.
bool is_binary_stl(std::string_view head, std::uint64_t file_bytes) {
  constexpr std::uint64_t kHeaderBytes = 84;
  constexpr std::uint64_t kTriangleBytes = 50;
  if (head.size() < kHeaderBytes) return false;
  return file_bytes == kHeaderBytes + kTriangleBytes * little_endian_u32(head.substr(80, 4));
}

/// Cuts the next line off, without blanks at its ends.
std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  line.remove_prefix(std::min(line.find_first_not_of(kBlank), line.size()));
  return line.substr(0, line.find_last_not_of(kBlank) + 1);
}

std::string_view take_word(std::string_view& line) {
  const std::string_view word = line.substr(0, line.find_first_of(kBlank));
  line.remove_prefix(word.size());
  line.remove_prefix(std::min(line.find_first_not_of(kBlank), line.size()));
  return word;
}

bool is_text_stl(std::string_view head) {
  std::string_view first = take_line(head);
  if (take_word(first) != "solid") return false;
  std::string_view second = take_line(head);
  const std::string_view word = take_word(second);
  return word == "facet" || word == "endsolid";
}

bool is_number(std::string_view word) {
  return !word.empty() && std::ranges::all_of(word, [](unsigned char c) {
    return std::isdigit(c) != 0 ||
           std::string_view("+-.eE").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

// Comments, names and libraries, then a vertex of three numbers.
bool is_obj(std::string_view head) {
  while (!head.empty()) {
    std::string_view line = take_line(head);
    const std::string_view word = take_word(line);
    if (word == "v") {
      return is_number(take_word(line)) && is_number(take_word(line)) && is_number(take_word(line));
    }
    const bool may_precede = word.empty() || word.front() == '#' || word == "mtllib" ||
                             word == "o" || word == "g" || word == "usemtl";
    if (!may_precede) return false;
  }
  return false;
}

bool is_gltf_json(std::string_view head) {
  const auto has = [head](std::string_view member) {
    return head.find(member) != std::string_view::npos;
  };
  return has("\"asset\"") && has("\"version\"") &&
         (has("\"scenes\"") || has("\"meshes\"") || has("\"buffers\"") || has("\"nodes\""));
}

}  // namespace

std::string_view find_model_format(std::string_view magic_type, std::string_view head,
                                   std::uint64_t file_bytes) {
  if (head.starts_with(std::string_view("glTF\2\0\0\0", 8))) return "model/gltf-binary";
  if (head.starts_with("ply\nformat ") || head.starts_with("ply\r\nformat ")) return "model/ply";
  if (magic_type == "application/json") return is_gltf_json(head) ? "model/gltf+json" : "";
  if (is_binary_stl(head, file_bytes)) return "model/stl";
  if (!magic_type.starts_with("text/")) return "";
  if (is_text_stl(head)) return "model/stl";
  return is_obj(head) ? "model/obj" : "";
}

}  // namespace quern
