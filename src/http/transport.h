#pragma once
// What a connection needs of its byte stream, so that its rules are the same over TCP, TLS and a
// test's hands.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace quern::http {

class Connection;

enum class ReadOutcome : std::uint8_t {
  data,
  ended,   // the peer has ended its side in an orderly way
  failed,  // the connection is lost
};

/// Each of handshake, read, write and shutdown ends in one call of the owner's on_… function, on
/// its I/O thread and never from within the call that began it; after close() soon, or never.
/// Lifetime: while none of them is called, the owner has to be kept alive by others, as IoThread
/// does until it is closed. Concurrency: the owner's I/O thread. One read at a time, one write at a
/// time.
class Transport {
 public:
  virtual ~Transport() = default;

  void attach(Connection& owner) { owner_ = &owner; }

  [[nodiscard]] virtual bool is_tls() const = 0;
  /// Our end's address, "127.0.0.1:8080" or "[::1]:8080"; empty where there is none.
  [[nodiscard]] virtual std::string local_address() { return {}; }
  virtual void handshake() = 0;                 // → on_handshake
  virtual void read(std::span<char> into) = 0;  // → on_read
  /// Reads what the peer still sends after shutdown(), to be thrown away.
  virtual void read_raw(std::span<char> into) = 0;  // → on_read
  /// Writes what can be taken at once, without a callback: how many bytes, 0 if none.
  virtual std::size_t try_write(std::string_view bytes) = 0;
  virtual void write(std::string_view bytes) = 0;  // at least one of them → on_written
  /// Says that no more bytes will come.
  virtual void shutdown() = 0;  // → on_shutdown
  virtual void close() = 0;

 protected:
  Connection* owner_ = nullptr;
};

}  // namespace quern::http
