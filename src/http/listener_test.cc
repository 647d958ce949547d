// Connections that cannot be served.

#include "http/listener.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>

#include "http/asio_ssl.h"
#include "http/io_thread_fixture.h"
#include "http/raw_client.h"

namespace quern::http {
namespace {

/// A context of which no session can be made.
std::shared_ptr<TlsContext> make_spent_context() {
  auto context = std::make_shared<TlsContext>(TlsContext::tls_server);
  const TlsContext taken(std::move(*context));
  return context;
}

class ListenerTest : public testing::Test {
 protected:
  ListenerTest() { EXPECT_TRUE(listener_.open(*resolve_listen_address("127.0.0.1:0"), false)); }

  [[nodiscard]] RawClient connect() const { return RawClient(listener_.local_endpoint().port()); }
  /// Runs the I/O thread's work here until `condition` holds.
  template <typename Condition>
  bool poll_until(Condition condition) {
    return eventually([&] {
      io_->poll();
      return condition();
    });
  }
  [[nodiscard]] std::size_t connections() const { return state_->connections.get(); }

  Metrics metrics_;
  std::shared_ptr<IoThread> io_ = make_io_thread();
  std::shared_ptr<ServerState> state_ =
      std::make_shared<ServerState>(ServerOptions{}, ignore, metrics_);
  Listener listener_{io_, state_, make_spent_context()};
};

TEST_F(ListenerTest, GoesOnAcceptingWhenAConnectionCouldNotBeServed) {
  listener_.start();
  for (std::uint64_t i = 1; i <= 2; ++i) {
    RawClient client = connect();
    EXPECT_TRUE(poll_until([&] { return state_->accept_failures.value() == i; })) << i;
    EXPECT_TRUE(client.is_ended());
  }
  EXPECT_EQ(connections(), 0U);

  listener_.set_tls(nullptr);
  RawClient client = connect();
  client.send(get("/"));
  EXPECT_TRUE(poll_until([&] { return connections() == 1; }));
  client.close();
  EXPECT_TRUE(poll_until([&] { return connections() == 0; }));
}

TEST_F(ListenerTest, TakesAllThatWaitWhenItStopsServedOrNot) {
  RawClient first = connect();
  RawClient second = connect();

  listener_.stop();

  EXPECT_EQ(state_->accept_failures.value(), 2U);
  EXPECT_EQ(connections(), 0U);
  EXPECT_TRUE(first.is_ended());
  EXPECT_TRUE(second.is_ended());
}

}  // namespace
}  // namespace quern::http
