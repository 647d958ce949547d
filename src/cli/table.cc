#include "cli/table.h"

#include <algorithm>

namespace quern {
namespace {

constexpr std::size_t kGap = 2;

// Characters, not bytes: continuation bytes of UTF-8 take no room.
std::size_t width_of(std::string_view text) {
  const auto begins = [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; };
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), begins));
}

std::vector<std::size_t> widths_of(const std::vector<TableRow>& rows) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const TableRow& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  return widths;
}

}  // namespace

std::string one_line(std::string_view text) {
  std::string line;
  line.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F, which some terminals take for an escape and what follows it.
    const bool is_c1 = byte == 0xc2U && i + 1 < text.size() &&
                       (static_cast<unsigned char>(text[i + 1]) & 0xe0U) == 0x80U;
    line += is_c1 || byte < 0x20U || byte == 0x7fU ? ' ' : text[i];
    if (is_c1) ++i;
  }
  return line;
}

std::string format_table(const std::vector<TableRow>& rows) {
  if (rows.empty()) return {};
  std::vector<TableRow> clean = rows;
  for (TableRow& row : clean) {
    for (std::string& cell : row) cell = one_line(cell);
  }
  const std::vector<std::size_t> widths = widths_of(clean);
  std::string out;
  for (const TableRow& row : clean) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      line.append(widths[i] - width_of(row[i]) + kGap, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  return out;
}

}  // namespace quern
