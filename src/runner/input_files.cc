#include "runner/input_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <string_view>

#include "artifact/content_type.h"
#include "artifact/file_descriptor.h"
#include "artifact/file_ops.h"
#include "artifact/stored_file_url.h"
#include "base/units.h"
#include "runner/data_uri.h"
#include "runner/runner_lines.h"

namespace quern {

namespace {

constexpr std::string_view kFileExpected =
    "expected an http or https URL, a data: URI or the URL of an uploaded file";

constexpr std::string_view kFileGone = "this file is not there any more: it has expired";

constexpr std::size_t kPlaceBytesMax = 200;  // in an error: the caller chose the names in it

/// Where a value stands in the input: "images[2].url". Grows and shrinks on the way through.
class Place {
 public:
  class Step {
   public:
    Step(Place& place, std::string_view name) : place_(place), before_(place.text_.size()) {
      if (before_ > 0) place.text_ += '.';
      place.text_ += name;
    }
    Step(Place& place, std::size_t index) : place_(place), before_(place.text_.size()) {
      place.text_ += fmt::format("[{}]", index);
    }
    ~Step() { place_.text_.resize(before_); }
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

   private:
    Place& place_;
    std::size_t before_;
  };

  /// For an error.
  [[nodiscard]] std::string text() const {
    if (text_.size() <= kPlaceBytesMax) return text_;
    return fmt::format("{}…", log_text(text_, kPlaceBytesMax));
  }

 private:
  std::string text_;
};

/// Goes through one input, and puts files where URLs were.
class Preparation {
 public:
  Preparation(const AttemptFolders& folders, const ArtifactStore& store,
              const InputFileOptions& options, std::stop_token stop)
      : folders_(folders), store_(store), options_(options), stop_(std::move(stop)) {}

  Result<void> prepare(json::object& input, std::span<const std::string> file_properties) {
    for (auto& [name, value] : input) {
      const Place::Step step(place_, name);
      const bool holds_files =
          std::ranges::find(file_properties, std::string_view(name)) != file_properties.end();
      auto done = holds_files ? replace_files(value) : replace_known(value);
      if (!done) return done;
    }
    return {};
  }

 private:
  /// In a property for files: a string, or an array of strings.
  Result<void> replace_files(json::value& value) {
    if (!value.is_array()) return replace_file(value);
    std::size_t index = 0;
    for (json::value& element : value.get_array()) {
      const Place::Step step(place_, index++);
      if (auto done = replace_file(element); !done) return done;
    }
    return {};
  }

  /// A schema need not say what kinds it takes, and a runner may open whatever string it finds.
  Result<void> replace_file(json::value& value) {
    if (value.is_string()) return replace_string(value.get_string(), true);
    if (!value.is_null()) return refuse(std::string(kFileExpected));
    return {};
  }

  /// Anywhere: only what can be nothing but a file. The depth is bounded by the parser.
  Result<void> replace_known(json::value& value) {
    if (value.is_string()) return replace_string(value.get_string(), false);
    if (value.is_object()) {
      for (auto& [name, member] : value.get_object()) {
        const Place::Step step(place_, name);
        if (auto done = replace_known(member); !done) return done;
      }
    }
    if (value.is_array()) {
      std::size_t index = 0;
      for (json::value& element : value.get_array()) {
        const Place::Step step(place_, index++);
        if (auto done = replace_known(element); !done) return done;
      }
    }
    return {};
  }

  Result<void> replace_string(json::string& text, bool must_be_file) {
    const std::string_view view(text);
    if (is_data_uri(view)) return replace(text, [&](int fd) { return write_data(view, fd); });
    const std::optional<StoredFileUrl> named = parse_stored_file_url(view);
    if (named) {
      const auto stored = store_.find_path(named->file_key, named->file_name);
      if (stored) return replace(text, [&](int fd) { return copy_stored(*stored, fd); });
      if (stored.error().code != ErrorCode::not_found) return at_place(stored.error());
      if (is_own(view)) return refuse(std::string(kFileGone));
    }
    if (!must_be_file) return {};
    if (is_http_url(view)) {
      return replace(text, [&](int fd) { return fetch(view, fd, named.has_value()); });
    }
    return refuse(std::string(kFileExpected));
  }

  /// Makes the next file, lets `fill` write it, names it by its content, and puts its path in place
  /// of `text`.
  template <typename Fill>
  Result<void> replace(json::string& text, Fill fill) {
    if (stop_.stop_requested()) return at_place(stopped().error());
    if (count_ == options_.files_max) {
      return refuse(fmt::format("more than {} files in one input", options_.files_max));
    }
    const std::filesystem::path path = folders_.input / fmt::format("input-{}", ++count_);
    const FileDescriptor file(
        ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR));
    if (!file.is_open()) return at_place(io_failure(errno, "making an input file").error());
    Result<void> filled = fill(file.get());
    if (filled && stop_.stop_requested()) filled = stopped();
    Result<std::string> type = filled ? find_content_type(file.get()) : fail(std::move(filled));
    if (!type) {
      ::unlink(path.c_str());
      return at_place(type.error());
    }
    const std::string named = path.string() + std::string(extension_of(*type));
    if (::rename(path.c_str(), named.c_str()) != 0) {
      return at_place(io_failure(errno, "naming an input file").error());
    }
    text = named;
    return {};
  }

  static std::unexpected<Error> stopped() { return fail(ErrorCode::unavailable, "stopped"); }

  /// A small input may name a large stored file many times: not only what one file may hold is
  /// bounded.
  Result<void> take(std::uint64_t bytes) {
    if (bytes > options_.input_bytes_max - bytes_) {
      return fail(ErrorCode::invalid_argument, fmt::format("more than {} of files in one input",
                                                           format_bytes(options_.input_bytes_max)));
    }
    bytes_ += bytes;
    return {};
  }

  Result<void> write_data(std::string_view uri, int fd) {
    Result<std::string> bytes = decode_data_uri(uri, options_.file_bytes_max);
    if (!bytes) return fail(std::move(bytes));
    if (Result<void> taken = take(bytes->size()); !taken) return taken;
    return write_all(fd, *bytes);
  }

  /// Of a URL that has the form of a stored file's.
  [[nodiscard]] bool is_own(std::string_view url) const {
    return !options_.own_url.empty() && url.starts_with(options_.own_url) &&
           url.substr(options_.own_url.size()).starts_with('/');
  }

  // A copy and not a link: what a runner does to its input must not change the stored file.
  Result<void> copy_stored(const std::filesystem::path& path, int fd) {
    const FileDescriptor from(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!from.is_open() && is_passing(errno)) return io_failure(errno, "reading a stored file");
    if (!from.is_open()) return fail(ErrorCode::invalid_argument, std::string(kFileGone));
    struct stat status{};
    if (::fstat(from.get(), &status) != 0) return io_failure(errno, "reading a stored file");
    if (Result<void> taken = take(static_cast<std::uint64_t>(status.st_size)); !taken) return taken;
    return copy_all(from.get(), fd, stop_);
  }

  Result<void> fetch(std::string_view url, int fd, bool may_be_own) {
    UrlFetchOptions fetch = options_.fetch;
    fetch.bytes_max = options_.file_bytes_max;
    Result<std::uint64_t> bytes = fetch_url(std::string(url), fd, fetch, stop_);
    if (bytes) return take(*bytes);
    bytes.error().message.insert(0, "could not fetch: ");
    if (may_be_own) bytes.error().message += "; if it was a file of this server, it has expired";
    return fail(std::move(bytes));
  }

  [[nodiscard]] std::unexpected<Error> refuse(std::string message) const {
    return at_place(Error{.code = ErrorCode::invalid_argument, .message = std::move(message)});
  }

  /// The error for the caller: named by its place, and either the input's fault or a passing
  /// trouble.
  [[nodiscard]] std::unexpected<Error> at_place(Error error) const {
    error.message.insert(0, place_.text() + ": ");
    if (error.code == ErrorCode::too_large) error.code = ErrorCode::invalid_argument;
    return std::unexpected(std::move(error));
  }

  const AttemptFolders& folders_;
  const ArtifactStore& store_;
  const InputFileOptions& options_;
  std::stop_token stop_;
  Place place_;
  std::size_t count_ = 0;
  std::uint64_t bytes_ = 0;  // of all files so far
};

}  // namespace

Result<json::object> prepare_input(json::object input, std::span<const std::string> file_properties,
                                   const AttemptFolders& folders, const ArtifactStore& store,
                                   const InputFileOptions& options, std::stop_token stop) {
  Preparation preparation(folders, store, options, std::move(stop));
  if (auto done = preparation.prepare(input, file_properties); !done) return fail(std::move(done));
  return input;
}

}  // namespace quern
