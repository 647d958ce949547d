#pragma once
// One connection: the rules of HTTP/1.1 from its first byte to its last. Private to this module.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "http/body_decoder.h"
#include "http/byte_budget.h"
#include "http/deadlines.h"
#include "http/file_handle.h"
#include "http/head_parser.h"
#include "http/read_buffer.h"
#include "http/server.h"
#include "http/transport.h"

namespace quern::http {

class IoThread;
struct ServerState;

inline constexpr std::size_t kReadBufferBytes = 4 * 1024;  // what an idle connection keeps
inline constexpr std::size_t kReadBytesMin = 512;          // free bytes worth a read
inline constexpr std::size_t kBodyBufferBytes =
    64 * 1024;  // for bodies that outgrow the read buffer
inline constexpr std::size_t kSinkPieceBytes = 64 * 1024;     // handed to a BodySink at a time
inline constexpr std::size_t kFileChunkBytes = 64 * 1024;     // read from a file at a time
inline constexpr std::size_t kCoalesceBytesMax = 64 * 1024;   // answers gathered into one write
inline constexpr std::uint64_t kSkipBytesMax = 64 * 1024;     // of a body nobody reads
inline constexpr std::uint64_t kLingerBytesMax = 32U << 20U;  // thrown away after the last answer
inline constexpr std::uint64_t kLingerDeclaredBytesMax =
    1U << 30U;  // more of them, where the head declared them

/// How a stream's writer leaves it. After one that is cut short the peer misses the last chunk.
enum class StreamEnd : std::uint8_t { whole, cut_short };

/// Operation: open(); then events of the transport and calls of the exchange move it through its
/// phases:
///
///   head → handling → (body → handling) → file | streaming → skipping → head …, or → closing →
///   lingering → closed
///
/// Every event enters through enter(), which steps as far as can be gone without waiting, writes
/// all answers that gathered in one go, and only then waits for input. Concurrency: its IoThread,
/// but for what says otherwise. IoThread holds it while it is open. Limits: one request at a time;
/// those behind it wait in the read buffer, or in the peer's.
class Connection final : public std::enable_shared_from_this<Connection>, public DeadlineEntry {
 public:
  Connection(std::shared_ptr<IoThread> io, std::shared_ptr<ServerState> state,
             std::unique_ptr<Transport> transport, std::string peer_ip);
  ~Connection();

  void open();
  /// Ends an idle connection; others end with their answer, since the server's state says that it
  /// stops.
  void begin_drain();
  void close();

  // From Exchange and StreamWriter. Threads: any, one at a time.
  [[nodiscard]] const Request& request() const { return head_.request; }
  void read_body(std::unique_ptr<BodySink> sink, std::uint64_t bytes_max, Exchange::BodyThen then,
                 Account account);
  void send(Response response);
  void begin_stream(Response head);
  bool write_stream(std::string bytes);
  [[nodiscard]] bool is_stream_open() const;
  void end_stream(StreamEnd end);
  void on_disconnect(std::move_only_function<void()> gone);
  [[nodiscard]] IoThread& io() const { return *io_; }
  [[nodiscard]] ByteBudget& memory() const;

  // From the transport and the deadlines.
  void on_handshake(bool ok);
  void on_read(std::size_t bytes, ReadOutcome outcome);
  void on_written(std::size_t bytes, bool ok);
  void on_shutdown();
  void on_deadline(Deadline kind);

  // The place in IoThread::connections().
  [[nodiscard]] std::size_t slot() const { return slot_; }
  void set_slot(std::size_t slot) { slot_ = slot; }

 private:
  enum class Phase : std::uint8_t {
    setup,      // the TLS handshake
    head,       // waits for a request, or for the rest of its head
    handling,   // the handler has the exchange
    body,       // the handler waits for the body
    file,       // the answer's body comes from a file
    streaming,  // the answer's body comes from a StreamWriter
    skipping,   // answered; the rest of the request's body is thrown away
    closing,    // the last answer is on its way
    lingering,  // our side has ended; the peer's is awaited, so that it reads the answer before any
                // reset
    closed,
  };

  /// A body on its way to whoever asked for it.
  struct BodyJob {
    std::uint64_t bytes_max = 0;
    std::unique_ptr<BodySink> sink;
    bool to_sink = false;  // also while the sink is at work elsewhere
    Exchange::BodyThen then;
    Account account = 0;
    std::uint64_t received = 0;
    std::string gathered;  // the body so far; for a sink: what it was not given yet
  };
  /// What threads write to before the I/O thread sends it.
  struct Stream {
    std::string pending;
    bool open = false;
    std::optional<StreamEnd> ended;
    bool overrun = false;
    bool scheduled = false;  // a flush is on its way
    bool peer_gone = false;
  };

  // connection.cc: the frame.
  template <typename Work>
  void enter(Work&& work);
  template <typename Work>
  void dispatch(Work work);
  void advance();
  bool step();
  bool flush();
  void settle();
  void start_write();
  void start_read();
  [[nodiscard]] bool wants_input() const;
  bool make_room();
  void pin_head(std::size_t bytes_free);
  void arm_for_input();
  bool step_head();
  bool step_end_of_input();
  bool handle_request();
  void tell_local_address();
  void call_handler();
  bool salvage_refused_head();
  bool refuse(const Fault& fault);
  void drop_job();
  bool step_close();
  [[nodiscard]] std::uint64_t declared_bytes_left() const;
  void on_lingering_bytes(std::size_t bytes);
  void linger_on();
  void notify_gone();

  // connection_body.cc
  void begin_body(BodyJob job);
  bool step_body();
  bool gather_body();
  bool step_body_in_place();
  [[nodiscard]] bool is_body_in_place() const;
  [[nodiscard]] bool is_body_skippable() const;
  bool await_body_bytes();
  bool finish_body(Result<void> result);
  bool write_to_sink();
  void on_sink_written(std::unique_ptr<BodySink> sink, std::string piece, Result<void> result);
  bool step_skip();

  // connection_answer.cc
  void answer();
  void answer_stream();
  void append_head(const Response& response, std::optional<std::uint64_t> length, bool chunked);
  void decide_close(bool wanted);
  void end_answer();
  void drop_file(Response& response);
  void close_file(FileHandle file);
  void begin_file(const FileBody& file);
  bool step_file();
  void read_file_chunk();
  void on_file_chunk(FileHandle file, std::string chunk);
  void schedule_stream(std::unique_lock<std::mutex> lock);
  bool step_stream();
  void append_stream_bytes(std::string_view bytes);
  void lose_stream();

  const std::shared_ptr<IoThread> io_;
  const std::shared_ptr<ServerState> state_;
  const std::unique_ptr<Transport> transport_;
  const std::string peer_ip_;
  std::string local_;  // our end, once a request asked for it
  std::size_t slot_ = 0;

  Phase phase_ = Phase::setup;
  bool running_ = false;
  bool reading_ = false;
  bool writing_ = false;
  bool peer_ended_ = false;
  bool served_any_ = false;
  // Of the current request:
  bool views_live_ = false;  // the exchange may look into in_, or pinned_
  bool continue_sent_ = false;
  bool body_failed_ = false;  // given up half-way
  bool close_after_ = false;
  bool linger_ = false;  // the peer may still be sending
  bool is_head_only_ = false;
  bool sink_busy_ = false;
  bool file_busy_ = false;
  std::uint64_t request_number_ = 0;

  ReadBuffer in_;
  ReadBuffer pinned_;  // holds the head's bytes once in_ had to grow under a live request
  HeadScanner scanner_;
  RequestHead head_;
  BodyDecoder body_;
  std::optional<BodyJob> job_;
  std::string body_text_;
  ByteHold body_hold_;         // of what job_ gathers, then of body_text_
  std::uint64_t skipped_ = 0;  // bytes thrown away

  std::string outbox_;  // borrowed from IoThread::scratch while active
  std::string inflight_;
  ByteHold answer_hold_;  // of a large answer in outbox_ or inflight_
  std::size_t inflight_sent_ = 0;
  Response response_;  // on its way from the exchange's thread to ours
  FileHandle file_;
  std::uint64_t file_offset_ = 0;
  std::uint64_t file_left_ = 0;
  std::move_only_function<void()> gone_;

  mutable std::mutex stream_mutex_;  // guards stream_
  Stream stream_;
};

}  // namespace quern::http
