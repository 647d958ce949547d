#pragma once
// The Quern client: submit a task, wait for it, fetch what it made, or cancel it.
//
//   quern::Client client({.url = "http://127.0.0.1:8080", .key = "…"});
//   auto task = client.submit("speech", R"({"prompt":"Hello"})");
//   if (!task) return report(task.error());
//   auto result = client.wait(*task);
//   if (!result) return report(result.error());
//   for (const quern::ResultOutput& output : result->outputs) client.save(output, "out");
//
// It keeps the rules of the protocol for you: a create carries an Idempotency-Key, so repeating it
// after a broken connection cannot make a second task; the end is judged by the status alone; 5xx
// answers are repeated a limited number of times with growing, jittered waits; Retry-After is
// honoured, up to a minute; a 404 is final.
//
// Every call blocks. Threads: a Client may be used from many threads at once; each call uses a
// connection of a pool. Nothing throws but std::bad_alloc.

#include <chrono>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quern {

/// Why a call failed, by what the caller can do about it.
enum class ClientFault : std::uint8_t {
  usage,    // the call itself is wrong (empty model, input that is no JSON object, unwritable file,
            // a key that no header can hold, an address that is none)
  refused,  // the server said no: bad key, unknown model, invalid input, limits; see http_status
            // and detail
  not_found,    // no such task (or not this key's, or expired)
  failed,       // the task itself ended in failure or was canceled; see error_type
  unreachable,  // no answer, or only 5xx answers, after all repeats
  stopped,      // the stop token was triggered
};

struct ClientError {
  ClientFault fault = ClientFault::unreachable;
  std::string message;                       // one line for a person
  int http_status = 0;                       // 0: there was no answer
  std::string detail;                        // the answer's body as sent, JSON; may be empty
  std::string error_type;                    // failed: INFERENCE_FAILURE, …
  std::chrono::milliseconds retry_after{0};  // as the server asks, at most a minute
};

template <typename T>
using ClientResult = std::expected<T, ClientError>;

struct ClientOptions {
  std::string url;  // "http://host:port" or https, with or without a path before /v1
  std::string key;  // the secret, visible ASCII
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds request_timeout{90'000};  // of one exchange; above the longest wait
  std::uint32_t repeats_max = 5;               // of a call; none after request_timeout in silence
  std::chrono::milliseconds backoff_min{250};  // doubles up to backoff_max, with full jitter
  std::chrono::milliseconds backoff_max{10'000};
  std::chrono::milliseconds wait_patience{120'000};  // of wait(): with a server that is not there
  std::string user_agent = "quern-client";
};

/// A task as the create answered; enough to find it again in another process.
struct TaskHandle {
  std::string model;
  std::string request_id;
  std::uint64_t queue_position = 0;
};

struct SubmitOptions {
  std::string idempotency_key;  // visible ASCII; empty: a fresh random one
};

struct TaskLog {
  std::string message;
  std::string timestamp;  // RFC 3339
  std::string level;
  std::string source;  // "runner"; "quern" for what the server says of each attempt
};

enum class TaskStatus : std::uint8_t { in_queue, in_progress, completed };

struct StatusReport {
  TaskStatus status = TaskStatus::in_queue;
  std::optional<std::uint64_t> queue_position;
  std::optional<double> eta;             // seconds
  std::optional<double> progress;        // 0 to 1
  std::optional<double> inference_time;  // seconds; success only
  std::string error;                     // completed without success: not empty
  std::string error_type;
  std::vector<TaskLog> logs;  // if asked for
  std::string body;           // the answer as sent, JSON
};

/// Empty and 0 mean absent.
struct ResultOutput {
  std::string type;  // image, video, audio, model3d, text, file
  std::string url;
  std::string content_type;
  std::string file_name;        // fit for a local file, whatever the server sent
  std::uint64_t file_size = 0;  // bytes
  std::uint32_t width = 0;      // pixels
  std::uint32_t height = 0;
  double duration = 0;  // seconds
  std::optional<std::string> text;
};

struct TaskResult {
  std::string request_id;
  std::vector<ResultOutput> outputs;
  std::string metadata;  // a JSON object
  std::string body;      // the answer as sent, JSON
};

struct SavedFile {
  std::filesystem::path path;
  std::uint64_t size = 0;  // bytes
};

enum class CancelReply : std::uint8_t { requested, already_completed };

struct ModelInfo {
  std::string id;
  std::string title;
  std::string description;
  std::string modality;
  std::string body;  // the entry as sent, JSON, with its schema
};

class Client {
 public:
  explicit Client(ClientOptions options);
  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  /// `input`: a JSON object. The task is durable on the server when this returns.
  /// Errors: usage, refused, unreachable (the task may exist: repeat with the same idempotency
  /// key), stopped.
  ClientResult<TaskHandle> submit(std::string_view model, std::string_view input,
                                  const SubmitOptions& options = {}, std::stop_token stop = {});

  /// `hold`: the server may hold the answer that long until something changes (at most 60 s; 0:
  /// answer at once). Errors: not_found, refused (an answer that tells no status, too), unreachable,
  /// stopped.
  ClientResult<StatusReport> status(const TaskHandle& task, bool logs = false,
                                    std::chrono::seconds hold = std::chrono::seconds{0},
                                    std::stop_token stop = {});

  /// The result of a task that completed. Errors: failed, not_found, refused (not completed yet:
  /// http_status 202; an answer without outputs), unreachable, stopped.
  ClientResult<TaskResult> result(const TaskHandle& task, std::stop_token stop = {});

  /// Waits until the task has completed, telling `changed` of every status, then fetches the result. A
  /// server that is not there, such as while it restarts, is asked again for `wait_patience`. Errors: as
  /// status() and result().
  ClientResult<TaskResult> wait(const TaskHandle& task,
                                const std::function<void(const StatusReport&)>& changed = {},
                                std::stop_token stop = {});

  /// Errors: not_found, refused, unreachable.
  ClientResult<CancelReply> cancel(const TaskHandle& task);

  /// Writes the output's file into `folder`, which must be there, under the output's file name
  /// ("output" if it has none), or with the first free number in it ("a-2.png"): whoever else writes
  /// there, nothing is replaced. `progress` gets bytes so far and in all (0: unknown). Until the file
  /// is whole it has a hidden name (".quern-….part"), which no failure leaves behind.
  /// Errors: usage (no URL, folder not writable or full), refused, not_found, unreachable, stopped.
  ClientResult<SavedFile> save(
      const ResultOutput& output, const std::filesystem::path& folder,
      const std::function<void(std::uint64_t, std::uint64_t)>& progress = {},
      std::stop_token stop = {});

  /// As save(), but writes to `file`, and replaces in one step what is there; returns the size in
  /// bytes.
  ClientResult<std::uint64_t> download(
      const ResultOutput& output, const std::filesystem::path& file,
      const std::function<void(std::uint64_t, std::uint64_t)>& progress = {},
      std::stop_token stop = {});

  /// Uploads a regular file and returns a URL that any model's input may name. Errors: usage
  /// (unreadable, a folder, a fifo), refused, unreachable.
  ClientResult<std::string> upload(const std::filesystem::path& file, std::stop_token stop = {});

  /// What the key may use. Errors: refused, unreachable.
  ClientResult<std::vector<ModelInfo>> models();

  /// One exchange as it is, for verbs that have no function here: the body of a 2xx answer. GET, HEAD and
  /// PUT are repeated where that may help, others are not.
  ClientResult<std::string> call(std::string_view method, std::string_view path,
                                 std::string_view body = {}, std::stop_token stop = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern
