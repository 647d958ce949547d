#include "artifact/content_type.h"

#include <magic.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "artifact/file_ops.h"
#include "artifact/model_format.h"

namespace quern {

namespace {

constexpr std::size_t kHeadBytes = 64U << 10U;  // what our own corrections look at
constexpr std::string_view kUnknown = "application/octet-stream";
constexpr std::string_view kPlainText = "text/plain";

constexpr std::size_t kBlanksMax = 32;

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// As libmagic sees it: "\a", "\b" and escapes may be in a text as well.
bool is_of_text(char c) {
  return static_cast<unsigned char>(c) >= ' ' || is_blank(c) || c == '\a' || c == '\b' ||
         c == '\x1b';
}

struct CloseMagic {
  void operator()(magic_set* cookie) const { ::magic_close(cookie); }
};
using Magic = std::unique_ptr<magic_set, CloseMagic>;

/// libmagic's cookies are for one thread at a time and take a while to load: they are kept for
/// reuse.
class MagicPool {
 public:
  /// Null if libmagic cannot find its database.
  Magic take() {
    {
      const std::scoped_lock lock(mutex_);
      if (!idle_.empty()) {
        Magic magic = std::move(idle_.back());
        idle_.pop_back();
        return magic;
      }
    }
    Magic magic(::magic_open(MAGIC_MIME_TYPE | MAGIC_NO_CHECK_COMPRESS | MAGIC_NO_CHECK_ELF));
    if (magic && ::magic_load(magic.get(), nullptr) != 0) magic.reset();
    return magic;
  }

  void give_back(Magic magic) {
    const std::scoped_lock lock(mutex_);
    if (idle_.size() < kIdleMax) idle_.push_back(std::move(magic));
  }

 private:
  static constexpr std::size_t kIdleMax = 8;
  std::mutex mutex_;  // guards idle_
  std::vector<Magic> idle_;
};

std::string ask_magic(std::string_view whole_head) {
  static MagicPool pool;
  const std::string head = squeeze_blanks(whole_head);
  Magic magic = pool.take();
  if (!magic) return std::string(kUnknown);
  const char* type = ::magic_buffer(magic.get(), head.data(), head.size());
  std::string found = type != nullptr ? type : std::string(kUnknown);
  pool.give_back(std::move(magic));
  return found;
}

using Renaming = std::pair<std::string_view, std::string_view>;
constexpr auto kRenamings = std::to_array<Renaming>({
    {"application/x-empty", kUnknown},
    {"application/x-wine-extension-ini", kPlainText},
    {"audio/x-aiff", "audio/aiff"},
    {"audio/x-flac", "audio/flac"},
    {"audio/x-hx-aac-adts", "audio/aac"},
    {"audio/x-m4a", "audio/mp4"},
    {"audio/x-wav", "audio/wav"},
    {"application/ogg", "video/ogg"},
    {"image/x-ms-bmp", "image/bmp"},
    {"text/xml", "application/xml"},
    {"video/x-m4v", "video/mp4"},
});

bool is_svg(std::string_view head) {
  // A document whose root is svg, after white space, a declaration, comments and a document type.
  while (true) {
    head.remove_prefix(std::min(head.find_first_not_of(" \t\r\n"), head.size()));
    if (head.starts_with("<svg") && head.size() > 4 &&
        std::string_view(" \t\r\n>/").find(head[4]) != std::string_view::npos) {
      return true;
    }
    const bool is_comment = head.starts_with("<!--");
    if (!is_comment && !head.starts_with("<?") && !head.starts_with("<!DOCTYPE")) return false;
    const std::size_t end = head.find(is_comment ? "-->" : ">");
    if (end == std::string_view::npos) return false;
    head.remove_prefix(end + (is_comment ? 3 : 1));
  }
}

/// libmagic knows JSON by parsing it, which fails where the head ends before the file does.
/// Brackets, then a member's name and its colon, are enough then.
bool is_head_of_json(std::string_view head) {
  constexpr std::string_view kBlank = " \t\r\n";
  head.remove_prefix(std::min(head.find_first_not_of(" \t\r\n["), head.size()));
  if (!head.starts_with('{')) return false;
  const std::size_t open = head.find_first_not_of(kBlank, 1);
  if (open == std::string_view::npos || head[open] != '"') return false;
  const std::size_t close = head.find('"', open + 1);
  if (close == std::string_view::npos) return false;
  const std::size_t colon = head.find_first_not_of(kBlank, close + 1);
  return colon != std::string_view::npos && head[colon] == ':';
}

/// libmagic guesses at programming languages from single words, which prose has too.
bool is_guessed_language(std::string_view type) { return type.starts_with("text/x-"); }

/// libmagic does not look at a single byte: an answer of "7" is a text all the same.
bool is_one_letter(std::string_view head) {
  return head.size() == 1 && head.front() >= ' ' && head.front() <= '~';
}

std::string correct(std::string type, std::string_view head, std::uint64_t file_bytes) {
  const bool is_cut = file_bytes > head.size();
  if (is_cut && type.starts_with("text/") && is_head_of_json(head)) type = "application/json";
  if (const std::string_view model = find_model_format(type, head, file_bytes); !model.empty()) {
    return std::string(model);
  }
  if (type == kUnknown && is_one_letter(head)) return std::string(kPlainText);
  if (is_guessed_language(type)) return std::string(kPlainText);
  const bool may_be_svg = type == kPlainText || type == "text/xml" || type == "text/html";
  if (may_be_svg && is_svg(head)) return "image/svg+xml";
  const auto* renamed = std::ranges::find(kRenamings, std::string_view(type), &Renaming::first);
  if (renamed != kRenamings.end()) return std::string(renamed->second);
  return type;
}

Result<std::string> read_head(int fd) {
  std::string head(kHeadBytes, '\0');
  std::size_t have = 0;
  while (have < head.size()) {
    const ssize_t got =
        ::pread(fd, head.data() + have, head.size() - have, static_cast<off_t>(have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_failure(errno, "reading a file");
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  head.resize(have);
  return head;
}

using Extension = std::pair<std::string_view, std::string_view>;
constexpr auto kExtensions = std::to_array<Extension>({
    {"application/gzip", ".gz"},  {"application/json", ".json"},
    {"application/pdf", ".pdf"},  {"application/x-ndjson", ".jsonl"},
    {"application/xml", ".xml"},  {"application/zip", ".zip"},
    {"audio/aac", ".aac"},        {"audio/aiff", ".aiff"},
    {"audio/flac", ".flac"},      {"audio/midi", ".mid"},
    {"audio/mp4", ".m4a"},        {"audio/mpeg", ".mp3"},
    {"audio/ogg", ".ogg"},        {"audio/wav", ".wav"},
    {"audio/webm", ".weba"},      {"audio/x-matroska", ".mka"},
    {"image/avif", ".avif"},      {"image/bmp", ".bmp"},
    {"image/gif", ".gif"},        {"image/heic", ".heic"},
    {"image/jpeg", ".jpg"},       {"image/jxl", ".jxl"},
    {"image/png", ".png"},        {"image/svg+xml", ".svg"},
    {"image/tiff", ".tiff"},      {"image/webp", ".webp"},
    {"model/gltf+json", ".gltf"}, {"model/gltf-binary", ".glb"},
    {"model/obj", ".obj"},        {"model/ply", ".ply"},
    {"model/stl", ".stl"},        {"text/csv", ".csv"},
    {"text/html", ".html"},       {"text/plain", ".txt"},
    {"video/mp4", ".mp4"},        {"video/mpeg", ".mpg"},
    {"video/ogg", ".ogv"},        {"video/quicktime", ".mov"},
    {"video/webm", ".webm"},      {"video/x-matroska", ".mkv"},
    {"video/x-msvideo", ".avi"},
});

}  // namespace

std::string squeeze_blanks(std::string_view head) {
  if (!std::ranges::all_of(head, is_of_text)) return std::string(head);
  std::string squeezed;
  squeezed.reserve(head.size());
  std::size_t blanks = 0;
  for (const char c : head) {
    blanks = is_blank(c) ? blanks + 1 : 0;
    if (blanks <= kBlanksMax) squeezed += c;
  }
  return squeezed;
}

Result<std::string> find_content_type(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return io_failure(errno, "reading a file");
  Result<std::string> head = read_head(fd);
  if (!head) return head;
  return correct(ask_magic(*head), *head, static_cast<std::uint64_t>(status.st_size));
}

std::string_view extension_of(std::string_view content_type) {
  const auto* found = std::ranges::find(kExtensions, content_type, &Extension::first);
  return found != kExtensions.end() ? found->second : std::string_view();
}

std::string with_extension(std::string name, std::string_view content_type) {
  const std::size_t dot = name.rfind('.');
  const bool has_one = dot != std::string::npos && dot > 0 && dot + 1 < name.size();
  if (has_one) return name;
  if (name.ends_with('.')) name.pop_back();
  return name.append(extension_of(content_type));
}

}  // namespace quern
