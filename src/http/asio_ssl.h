#pragma once
// Asio's TLS streams. Private to this module's .cc files.

#include "http/asio.h"

// After what configures Asio.
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream.hpp>
