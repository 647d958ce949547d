#pragma once
// Asio, as this module uses it. Private to this module's .cc files; the only way to include it.

// Fences order what handlers of several threads see; ours each run on one thread, and work comes to it through a
// mutex. (ThreadSanitizer does not know fences, either.)
#define BOOST_ASIO_DISABLE_FENCED_BLOCK

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>
