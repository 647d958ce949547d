#pragma once
// The server of the transcripts: its keys and models.

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>

namespace quern::protocol {

/// Keys by name; a secret may hold a colon.
inline const std::map<std::string, std::string, std::less<>> kSecrets = {
    {"alice", "alice:the-first-secret"},
    {"bob", "bobs-secret"},
    {"limited", "limited-secret"},  // may use echo and e* only
    {"slow", "slow-secret"},        // two requests, then one an hour
    {"small", "small-secret"},      // one waiting task
    {"root", "root-secret"},        // an administrator
    {"stranger", "never-configured"},
};

inline constexpr std::string_view kServerKeys = R"(
body_max = "64KiB"
cors_origins = ["https://app.example"]
trusted_proxies = ["127.0.0.1"]
drain_timeout = "60s"
)";

inline constexpr std::string_view kConfig = R"(
[store]
url = "sqlite:data"
[input]
upload_max = "256KiB"

[[key]]
id = "alice"
secret = ["alice:the-first-secret", "alice:the-second-secret"]
rate = "100000/s"
[[key]]
id = "bob"
secret = "bobs-secret"
rate = "100000/s"
[[key]]
id = "limited"
secret = "limited-secret"
models = ["e*"]
rate = "100000/s"
[[key]]
id = "slow"
secret = "slow-secret"
rate = "1/h"
burst = 2
[[key]]
id = "small"
secret = "small-secret"
rate = "100000/s"
queued_max = 1
[[key]]
id = "root"
secret = "root-secret"
rate = "100000/s"
admin = true

[[model]]
id = "echo"
title = "Echo"
description = "Says what it was told."
modality = "text-to-text"
executor = { kind = "echo" }
aliases = ["acme/echo", "fal-ai/flux/dev"]
[[model]]
id = "draw"
executor = { kind = "process", command = ["/bin/sh", "run.sh"], dir = "draw" }
schema = "draw/schema.json"
attempts = 1
aliases = ["fal-ai/flux/schnell"]
# One slot; each task waits at the gate that its input names.
[[model]]
id = "gated"
executor = { kind = "process", command = ["/bin/sh", "run.sh"], dir = "gated" }
attempts = 1
grace = "1s"
[[model]]
id = "quick"
executor = { kind = "process", command = ["/bin/sh", "run.sh"], dir = "quick" }
attempts = 1
timeout = "300ms"
grace = "100ms"
[[model]]
id = "full"
executor = { kind = "process", command = ["/bin/sh", "run.sh"], dir = "gated" }
attempts = 1
queued_max = 1
)";

// Behaves as the prompt says: fails in every way, or makes outputs of every kind.
inline constexpr std::string_view kDrawScript = R"sh(
input=$(cat)
out=$(printf '%s' "$input" | sed -n 's/.*"output_dir":"\([^"]*\)".*/\1/p')
case "$input" in
  *invalid*) echo '{"error":"prompt is not drawable","error_type":"REQUEST_INVALID"}' ;;
  *blocked*) echo '{"error":"not this","error_type":"CONTENT_BLOCKED"}' ;;
  *broken*) echo '{"error":"out of paint","error_type":"INFERENCE_FAILURE"}' ;;
  *wordless*) exit 3 ;;
  *mixed*)
    printf 'a sound' > "$out/tone.bin"
    printf '<svg xmlns="http://www.w3.org/2000/svg" width="3" height="2"/>' > "$out/shape.svg"
    echo '{"log":"mixing","level":"INFO"}'
    echo 'plain words'
    echo 'a warning' >&2
    echo '{"output":{"type":"text","text":"first"}}'
    echo '{"output":{"type":"image","path":"shape.svg","metadata":{"layer":1}}}'
    echo '{"output":{"type":"file","path":"tone.bin"}}'
    echo '{"metadata":{"seed":7,"prompt":"the runner wins"}}' ;;
  *)
    # The smallest PNG, one pixel.
    printf '\211PNG\r\n\032\n\000\000\000\rIHDR\000\000\000\001\000\000\000\001\010\006\000\000\000\037\025\304\211\000\000\000\rIDATx\234c\370\377\377?\000\005\376\002\376\r\357F\270\000\000\000\000IEND\256B`\202' > "$out/picture.png"
    echo '{"output":{"type":"image","path":"picture.png"}}'
    echo '{"metadata":{"seed":42}}' ;;
esac
)sh";

inline constexpr std::string_view kDrawSchema = R"json({
  "type": "object",
  "title": "Draw",
  "description": "Draws a pixel.",
  "required": ["prompt"],
  "additionalProperties": false,
  "properties": {
    "prompt": {"type": "string"},
    "steps": {"type": "integer", "minimum": 1, "maximum": 50, "default": 4},
    "style": {"enum": ["ink", "oil"]},
    "webhook": {"type": "string", "description": "Declared, so a parameter and no webhook."}
  },
  "examples": [{"prompt": "a cat"}]
})json";

// Says that it runs, then waits at a named pipe until somebody opens it.
inline constexpr std::string_view kGatedScript = R"sh(
gate=$(sed -n 's/.*"gate":"\([a-z0-9_]*\)".*/\1/p')
echo '{"progress":0.5}'
echo "at gate $gate"
mkfifo -m 600 "$gate" 2>/dev/null
read -r word < "$gate"
echo '{"output":{"type":"text","text":"through the gate"}}'
)sh";

inline constexpr std::string_view kQuickScript = "exec sleep 60\n";

/// Writes the models' folders.
inline void write_models(const std::filesystem::path& folder) {
  for (const auto& [model, script] :
       {std::pair{"draw", kDrawScript}, std::pair{"gated", kGatedScript},
        std::pair{"quick", kQuickScript}}) {
    std::filesystem::create_directories(folder / model);
    std::ofstream(folder / model / "run.sh") << script;
  }
  std::ofstream(folder / "draw" / "schema.json") << kDrawSchema;
}

}  // namespace quern::protocol
