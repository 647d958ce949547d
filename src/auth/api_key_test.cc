#include "auth/api_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <thread>

#include "testing/seeded_random.h"

namespace quern {
namespace {

using ::testing::HasSubstr;

ApiKey make_key(std::string id, const std::vector<std::string_view>& secrets) {
  ApiKey key;
  key.id = std::move(id);
  for (const std::string_view secret : secrets) key.secrets.push_back(sha256(secret));
  return key;
}

std::shared_ptr<const KeyRing> make_ring(std::vector<ApiKey> keys) {
  return KeyRing::make(std::move(keys)).value();
}

std::string fault_of(std::vector<ApiKey> keys) {
  const auto ring = KeyRing::make(std::move(keys));
  if (ring) return "accepted";
  EXPECT_EQ(ring.error().code, ErrorCode::invalid_argument);
  return ring.error().message;
}

TEST(Sha256, AgreesWithThePublishedVectors) {
  EXPECT_EQ(to_hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(KeyRing, OpensForEitherSchemeInAnyCase) {
  const auto ring = make_ring({make_key("a", {"s3cret"})});

  for (const std::string_view header :
       {"Key s3cret", "Bearer s3cret", "key s3cret", "BEARER s3cret", "kEy  \t s3cret",
        " Key s3cret ", "Key\ts3cret"}) {
    const AuthAnswer answer = ring->authenticate(header);
    ASSERT_NE(answer.key, nullptr) << header;
    EXPECT_EQ(answer.key->id, "a");
  }
}

TEST(KeyRing, CallsACredentialMalformedOrUnknown) {
  const auto ring = make_ring({make_key("a", {"s3cret"})});

  for (const std::string_view header :
       {"", " ", "Key", "Key ", "Bearer \t", "s3cret", "Basic s3cret", "Keys3cret", "Key: s3cret",
        "Key s3 cret", "Key s3cret\x01", "Key s3cret\xC3\xA9", "Ke y"}) {
    const AuthAnswer answer = ring->authenticate(header);
    EXPECT_EQ(answer.key, nullptr) << header;
    EXPECT_EQ(answer.fault, AuthFault::missing_or_malformed) << header;
  }
  for (const std::string_view header :
       {"Key s3cre", "Key s3crett", "Key S3CRET", "Key x", "Key sha256:abc"}) {
    const AuthAnswer answer = ring->authenticate(header);
    EXPECT_EQ(answer.key, nullptr) << header;
    EXPECT_EQ(answer.fault, AuthFault::unknown_key) << header;
  }
}

TEST(KeyRing, NeverOpensForTheDigestInPlaceOfTheSecret) {
  const auto ring = make_ring({make_key("a", {"s3cret"})});
  EXPECT_EQ(ring->authenticate("Key " + secret_digest_text("s3cret")).key, nullptr);
  EXPECT_EQ(ring->authenticate("Key " + to_hex(sha256("s3cret"))).key, nullptr);
}

TEST(KeyRing, TakesASecretWithColonsWhole) {
  const auto ring = make_ring({make_key("a", {"id:part:more"}), make_key("b", {"id"})});

  EXPECT_EQ(ring->authenticate("Key id:part:more").key->id, "a");
  EXPECT_EQ(ring->authenticate("Key id").key->id, "b");
  EXPECT_EQ(ring->authenticate("Key id:part").key, nullptr);
}

TEST(KeyRing, OpensForEachSecretWhileRotating) {
  const auto ring = make_ring({make_key("a", {"old", "new", "new"})});

  EXPECT_EQ(ring->authenticate("Key old").key, ring->find("a"));
  EXPECT_EQ(ring->authenticate("Key new").key, ring->find("a"));
}

TEST(KeyRing, WithoutKeysOpensForNobody) {
  const auto ring = make_ring({});

  EXPECT_EQ(ring->authenticate("Key x").fault, AuthFault::unknown_key);
  EXPECT_EQ(ring->find(""), nullptr);
  EXPECT_EQ(make_ring({make_key("a", {})})->authenticate("Key x").key, nullptr);
}

TEST(KeyRing, RefusesKeysThatCannotBeToldApart) {
  EXPECT_EQ(fault_of({make_key("a", {"1"}), make_key("a", {"2"})}), "two keys have the id \"a\"");
  EXPECT_EQ(fault_of({make_key("a", {"1"}), make_key("b", {"2", "1"})}),
            "the keys \"a\" and \"b\" have the same secret");
  EXPECT_EQ(fault_of({make_key("", {"1"})}), "a key has no id");
}

TEST(KeyRing, RefusesLimitsOfNoUse) {
  const auto with = [](auto change) {
    ApiKey key = make_key("a", {"1"});
    change(key);
    return fault_of({key});
  };

  EXPECT_THAT(with([](ApiKey& k) { k.rate = 0; }), HasSubstr("rate"));
  EXPECT_THAT(with([](ApiKey& k) { k.burst = 0.5; }), HasSubstr("burst"));
  EXPECT_THAT(with([](ApiKey& k) { k.weight = -1; }), HasSubstr("weight"));
  EXPECT_THAT(with([](ApiKey& k) { k.rate = std::numeric_limits<double>::quiet_NaN(); }),
              HasSubstr("rate"));
  EXPECT_EQ(with([](ApiKey& k) { k.burst = 1; }), "accepted");
}

TEST(KeyRing, FindsEachOfTenThousandKeysFromManyThreads) {
  std::vector<ApiKey> keys;
  for (int i = 0; i < 10'000; ++i)
    keys.push_back(make_key(std::to_string(i), {"secret-" + std::to_string(i)}));
  const auto ring = make_ring(std::move(keys));

  const auto work = [&](int begin) {
    for (int i = begin; i < 10'000; i += 2) {
      const AuthAnswer answer = ring->authenticate("Key secret-" + std::to_string(i));
      ASSERT_NE(answer.key, nullptr);
      ASSERT_EQ(answer.key->id, std::to_string(i));
      ASSERT_EQ(ring->find(std::to_string(i)), answer.key);
      ASSERT_EQ(ring->authenticate("Key secret-x" + std::to_string(i)).key, nullptr);
    }
  };
  const std::jthread one(work, 0);
  const std::jthread other(work, 1);
}

TEST(ApiKey, MayUseTheModelsThatItsGlobsName) {
  ApiKey key;
  EXPECT_TRUE(key.may_use("anything"));
  key.models = {"flux-*", "echo"};
  EXPECT_TRUE(key.may_use("flux-dev"));
  EXPECT_TRUE(key.may_use("echo"));
  EXPECT_FALSE(key.may_use("echo2"));
  EXPECT_FALSE(key.may_use("my-flux-dev"));
  key.models = {};
  EXPECT_FALSE(key.may_use("echo"));
}

// The definition, word for word.
bool matches_slowly(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern[0] == '*') {
    return matches_slowly(pattern.substr(1), text) ||
           (!text.empty() && matches_slowly(pattern, text.substr(1)));
  }
  return !text.empty() && (pattern[0] == '?' || pattern[0] == text[0]) &&
         matches_slowly(pattern.substr(1), text.substr(1));
}

TEST(Glob, AgreesWithItsDefinition) {
  std::mt19937 random(1);
  const auto draw = [&](std::string_view letters) {
    std::string text;
    for (std::size_t n = random() % 8; n > 0; --n) text += letters[random() % letters.size()];
    return text;
  };
  int matches = 0;
  for (int i = 0; i < 100'000; ++i) {
    const std::string pattern = draw("ab*?");
    const std::string text = draw("ab");
    const bool expected = matches_slowly(pattern, text);
    ASSERT_EQ(matches_glob(pattern, text), expected) << pattern << " " << text;
    matches += expected ? 1 : 0;
  }
  EXPECT_GT(matches, 10'000);
}

TEST(Glob, DoesNotBlowUp) {
  std::string pattern;
  for (int i = 0; i < 60; ++i) pattern += "a*";
  EXPECT_FALSE(matches_glob(pattern + "b", std::string(10'000, 'a')));
}

TEST(Secret, FreshOnesHaveTheirFormAndNeverRepeat) {
  SystemRandom random;
  std::set<std::string> seen;
  for (int i = 0; i < 1'000; ++i) {
    const std::string secret = make_secret(random);
    ASSERT_EQ(secret.size(), 46U);
    ASSERT_TRUE(secret.starts_with("qk_"));
    ASSERT_EQ(secret.find_first_not_of(
                  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
              std::string::npos);
    ASSERT_TRUE(seen.insert(secret).second);
  }
}

TEST(Secret, IsWrittenAsBase64Url) {
  class Fixed final : public Random {
    void fill(std::span<std::byte> bytes) override {
      unsigned next = 0;
      for (std::byte& b : bytes) b = static_cast<std::byte>(next++ * 8 + 3);
    }
  } random;
  EXPECT_EQ(make_secret(random), "qk_AwsTGyMrMztDS1NbY2tze4OLk5ujq7O7w8vT2-Pr8_s");
}

TEST(Secret, IsReadAsDigestOrPlain) {
  const Digest digest = sha256("s3cret");
  std::string upper = to_hex(digest);
  for (char& c : upper) c = static_cast<char>(std::toupper(c));

  EXPECT_EQ(parse_secret("s3cret").value(), digest);
  EXPECT_EQ(parse_secret(secret_digest_text("s3cret")).value(), digest);
  EXPECT_EQ(parse_secret("sha256:" + upper).value(), digest);
  EXPECT_EQ(parse_secret(std::string(256, 'x')).value(), sha256(std::string(256, 'x')));
}

TEST(Secret, IsRefusedWhenNobodyCouldPresentIt) {
  for (const std::string& text :
       {std::string(), std::string("with space"), std::string("tab\t"), std::string("\xC3\xA9"),
        std::string(257, 'x'), std::string("sha256:"), std::string("sha256:abcd"),
        "sha256:" + std::string(63, 'a') + "g", "sha256:" + std::string(65, 'a')}) {
    EXPECT_FALSE(parse_secret(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace quern
