#pragma once
// A file that is written under a name of its own in the folder it is meant for, and moved to its
// place when it is whole.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/random.h"
#include "base/result.h"

namespace quern::client {

inline constexpr int kSameNamesMax = 100'000;  // files of one name in a folder

/// Threads: one at a time.
class PartFile {
 public:
  /// An empty file in `folder`, under a hidden random name. Errors: unavailable.
  static Result<PartFile> make(const std::filesystem::path& folder, Random& random);
  PartFile(PartFile&& other) noexcept;
  PartFile& operator=(PartFile&&) = delete;
  /// Removes the file unless it was moved to its place.
  ~PartFile();

  /// False: it could not be written, and the moves below say why.
  bool write(const char* bytes, std::size_t size);
  /// Empties the file.
  bool restart();
  [[nodiscard]] std::uint64_t size() const { return size_; }

  /// Moves the file to `file`, in the place of what is there. Errors: unavailable.
  Result<void> move_to(const std::filesystem::path& file);
  /// Moves the file to `name` in `folder`, or to the first of name-2, name-3, … that nothing has,
  /// whoever else makes files there: nothing is replaced. Errors: unavailable.
  Result<std::filesystem::path> move_to_free_name(const std::filesystem::path& folder,
                                                  const std::string& name);

 private:
  PartFile(int descriptor, std::filesystem::path path)
      : descriptor_(descriptor), path_(std::move(path)) {}
  bool note(bool fine);
  // Errors: what failed since make().
  Result<void> close(const std::filesystem::path& file);

  int descriptor_ = -1;
  std::filesystem::path path_;  // empty: moved to its place
  std::uint64_t size_ = 0;
  int error_ = 0;  // errno of the first failure
};

/// Renames `from` to `to` unless something is there. 0, or an errno: EEXIST.
int rename_to_free(const std::filesystem::path& from, const std::filesystem::path& to);
/// The same for file systems that cannot do it in one step.
int rename_to_free_in_steps(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace quern::client
