#include "api/routes.h"

#include <gtest/gtest.h>

#include <set>

#include "api/handlers.h"

namespace quern::api {
namespace {

using enum http::Method;

// Keeps the path that a match points into.
struct Matched {
  SplitPath path;
  RouteMatch match;

  Matched(http::Method method, std::string_view text) {
    const bool valid = path.assign(text);
    match = match_route(method, path, valid);
  }
  [[nodiscard]] RouteHandler handler() const {
    return match.route == nullptr ? nullptr : match.route->handler;
  }
};

TEST(Routes, FindTheFourVerbsOnBothQueueMounts) {
  for (const std::string mount : {"/v1/queue", "/model/v1/queue"}) {
    EXPECT_EQ(Matched(post, mount + "/echo").handler(), &create_task);
    EXPECT_EQ(Matched(get, mount + "/echo/requests/x/status").handler(), &get_status);
    EXPECT_EQ(Matched(get, mount + "/echo/requests/x/response").handler(), &get_result);
    EXPECT_EQ(Matched(get, mount + "/echo/requests/x").handler(), &get_result);
    EXPECT_EQ(Matched(get, mount + "/echo/requests/x/response/status").handler(), &get_status);
    EXPECT_EQ(Matched(put, mount + "/echo/requests/x/cancel").handler(), &cancel_task);
  }
}

TEST(Routes, DecodeSegmentsAfterSplittingThem) {
  const Matched found(get, "/v1/queue/a%2Fb/requests/%78/status");

  ASSERT_EQ(found.handler(), &get_status);
  EXPECT_EQ(found.match.params[0].text, "a/b");
  EXPECT_EQ(found.match.params[0].raw, "a%2Fb");
  EXPECT_EQ(found.match.params[1].text, "x");
}

TEST(Routes, TakeAnEndpointUpToTheWordRequests) {
  const Matched found(get, "/fal/fal-ai/flux/dev/requests/id/status");

  ASSERT_EQ(found.handler(), &get_status);
  EXPECT_EQ(found.match.endpoint.size(), 3U);
  EXPECT_EQ(found.match.params[0].text, "id");
}

TEST(Routes, ReachBelowTheLongestAlias) {
  std::string path = "/fal";
  for (std::size_t i = 0; i < kAliasSegmentsMax; ++i) path += "/a";

  EXPECT_EQ(Matched(post, path).handler(), &create_task);
  EXPECT_EQ(Matched(get, path + "/requests/x/status/stream").handler(), &stream_status);
  EXPECT_EQ(Matched(get, path + "/requests/x/response/status").handler(), &get_status);
}

TEST(Routes, KeepProxyStorageAndRequestsForThemselves) {
  EXPECT_EQ(Matched(post, "/fal/proxy").handler(), &serve_proxied);
  EXPECT_EQ(Matched(delete_, "/fal/proxy").handler(), &serve_proxied);
  EXPECT_EQ(Matched(post, "/fal/proxy/app").handler(), nullptr);
  EXPECT_EQ(Matched(post, "/fal/storage/app").handler(), nullptr);
  EXPECT_EQ(Matched(post, "/fal/requests/app").handler(), nullptr);
  EXPECT_EQ(Matched(post, "/fal/storage/upload/initiate").handler(), &initiate_upload);
  EXPECT_EQ(Matched(put, "/fal/storage/upload/token/name").match.access, Access::open);
  EXPECT_EQ(Matched(get, "/fal/storage/upload/token/name").match.access, Access::key);
}

TEST(Routes, RefuseEmptyAndExtraSegments) {
  for (const char* path : {"", "/", "//", "/v1/queue/", "/v1/queue/echo/", "/v1//queue/echo",
                           "/v1/queue/echo/requests", "/v1/queue/echo/requests/x/status/y",
                           "/v1/queue/echo/%zz", "/v1/queue/echo/%4", "v1/queue/echo"})
    EXPECT_EQ(Matched(get, path).handler(), nullptr) << path;
}

TEST(Routes, AskForAKeyUnderEveryMountWhateverFollows) {
  for (const char* path : {"/v1/queue", "/v1/queue/", "/v1/queue//", "/model/v1/queue/x/y", "/fal",
                           "/fal/", "/fal/%zz", "/admin/unknown"})
    EXPECT_NE(Matched(get, path).match.access, Access::open) << path;
  for (const char* path : {"/", "/v1", "/v1/unknown", "/model/v1", "/falx", "/healthz"})
    EXPECT_EQ(Matched(get, path).match.access, Access::open) << path;
}

TEST(Routes, NameTheMethodsThatAPathKnows) {
  EXPECT_EQ(Matched(get, "/v1/queue/echo").match.allow, "POST");
  EXPECT_EQ(Matched(post, "/v1/queue/echo/requests/x").match.allow, "GET, HEAD");
  EXPECT_EQ(Matched(put, "/admin/tasks/x").match.allow, "GET, HEAD, DELETE");
  EXPECT_EQ(Matched(get, "/nowhere").match.allow, "");
}

TEST(Routes, AnswerHeadWhereverThereIsAGet) {
  for (const Route& route : all_routes()) {
    if (route.method != get || route.mount != Mount::none) continue;
    if (route.pattern.find('{') != std::string_view::npos) continue;
    EXPECT_EQ(Matched(head, route.pattern).handler(), route.handler) << route.pattern;
  }
}

TEST(Routes, AreEachInTheTableOnce) {
  std::set<std::tuple<int, int, std::string_view>> seen;
  for (const Route& route : all_routes()) {
    const int method = route.method ? static_cast<int>(*route.method) : -1;
    EXPECT_TRUE(seen.emplace(static_cast<int>(route.mount), method, route.pattern).second)
        << route.pattern;
  }
}

TEST(Routes, BoundTheNumberOfSegments) {
  std::string path;
  for (int i = 0; i < 1000; ++i) path += "/a";
  EXPECT_EQ(Matched(get, path).handler(), nullptr);
}

}  // namespace
}  // namespace quern::api
