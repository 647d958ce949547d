#pragma once
// Rows of text in columns as wide as they need to be.

#include <string>
#include <string_view>
#include <vector>

namespace quern {

using TableRow = std::vector<std::string>;

/// One line a row, the first one being the heading; every row has as many cells as it.
/// Cells are brought onto one line: what moves a terminal's cursor becomes a space.
std::string format_table(const std::vector<TableRow>& rows);

/// `text` on one line, without control characters.
std::string one_line(std::string_view text);

}  // namespace quern
