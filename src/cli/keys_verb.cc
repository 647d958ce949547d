#include "cli/keys_verb.h"

#include <fmt/format.h>

#include "auth/api_key.h"
#include "base/random.h"
#include "cli/session.h"

namespace quern {

ExitCode keys_new_verb(bool json) {
  SystemRandom random;
  const std::string secret = make_secret(random);
  const std::string digest = secret_digest_text(secret);
  if (json) {
    print_json(fmt::format(R"({{"secret":"{}","digest":"{}"}})", secret, digest));
  } else {
    print_line("secret, for the caller (shown only now):  " + secret);
    print_line("digest, for the configuration:            secret = \"" + digest + "\"");
  }
  return ExitCode::done;
}

}  // namespace quern
