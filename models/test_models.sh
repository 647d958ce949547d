#!/usr/bin/env bash
# Runs each example model by its protocol, as the server does, and checks what it makes.
set -u
models=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
examples=$models/../examples
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

# check NAME COMMAND...: passes when the command succeeds.
check() {
  local name=$1
  shift
  if "$@" >"$work/check.log" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED %s\n' "$name"
    sed 's/^/    /' "$work/check.log" "$work/stdout" "$work/stderr" | tail -n 20
  fi
}

# make_task MODEL INPUT: the task as the server sends it, with the schema's defaults filled in.
make_task() {
  jq -nc --arg model "$1" --argjson input "$2" --arg dir "$work/out" --slurpfile schema "$models/$1/schema.json" '
    {request_id: "mmsu_test", model: $model, attempt: 1, output_dir: $dir, deadline: "2100-01-01T00:00:00Z",
     input: (($schema[0].properties | map_values(.default) | map_values(select(. != null))) + $input)}'
}

# run MODEL INPUT: leaves the answer in $work/stdout, files in $work/out, the exit code in $status.
run() {
  rm -rf "$work/out" && mkdir "$work/out"
  make_task "$1" "$2" >"$work/task"
  (cd "$models/$1" && timeout 120 "./$1.mjs" <"$work/task" >"$work/stdout" 2>"$work/stderr")
  status=$?
  file=$work/out/$(jq -r '.output.path // empty' "$work/stdout")
}

# says FILTER: some answer line satisfies the jq filter.
says() { jq -se "any(.[]; $1)" "$work/stdout"; }
succeeded() { [ "$status" = 0 ] && says .output && ! says .error && all_lines_are_json; }
all_lines_are_json() { jq -e 'type == "object"' "$work/stdout"; }
# refuses FIELD: one REQUEST_INVALID error that names the field, no crash.
refuses() {
  [ "$status" = 1 ] && [ ! -s "$work/stderr" ] && ! says .output &&
    says "(.error // \"\" | startswith(\"$1: \")) and .error_type == \"REQUEST_INVALID\""
}
# probe FILE ENTRIES: one line of values, such as "h264,320,240".
probe() { ffprobe -v error -show_entries "$2" -of csv=p=0 "$1" | head -n 1; }
probes_as() { [ "$(probe "$1" "$2")" = "$3" ] || { probe "$1" "$2"; false; }; }
is_between() { awk -v x="$1" -v low="$2" -v high="$3" 'BEGIN { exit !(x >= low && x <= high) }'; }
duration() { probe "$1" format=duration; }
lasts() { is_between "$(duration "$1")" "$2" "$3" || { duration "$1"; false; }; }

## Inputs

image_input() { jq -nc --arg image "$1" --argjson rest "${2:-null}" '{image: $image} + $rest'; }
head -c 20000 "$examples/coffee.jpg" >"$work/torn.jpg"
head -c 20000 "$examples/coffee_128.png" >"$work/torn.png"
echo "/etc/hostname" >"$work/text.png"
ffmpeg -v error -f lavfi -i color=c=white:s=1100x1000 -frames:v 1 "$work/white.png"
ffmpeg -v error -f lavfi -i color=c=red@0.5:s=20x10,format=rgba -frames:v 1 "$work/clear.png"

## Schemas

for model in speech pan_zoom upscale solid read_text; do
  schema=$models/$model/schema.json
  check "$model: the schema describes every property" jq -e '
    .title and .description and .additionalProperties == false and all(.properties[]; .title and .description)' "$schema"
  check "$model: every property is required or has a default" jq -e '
    (.required // []) as $required | all(.properties | to_entries[]; (.value | has("default")) != (.key | IN($required[])))' "$schema"
  check "$model: the examples use declared properties" jq -e '
    . as $schema | (.examples | length > 0) and all(.examples[] | keys[]; in($schema.properties))' "$schema"
done
for model in upscale solid; do
  check "$model: npm packages are installed (npm ci)" test -d "$models/$model/node_modules"
done

## speech

text="The upper stone turns, and the lower one keeps still."
run speech "$(jq -nc --arg text "$text" '{prompt: $text}')"
check "speech: speaks" succeeded
check "speech: MP3 by default" probes_as "$file" stream=codec_name mp3
check "speech: takes the time that speaking takes" lasts "$file" 2 6
normal=$(duration "$file")
run speech "$(jq -nc --arg text "$text" '{prompt: $text, speed: 330, format: "wav"}')"
check "speech: WAV" probes_as "$file" stream=codec_name,channels pcm_s16le,1
check "speech: speed shortens it" lasts "$file" 0.5 "$(awk -v d="$normal" 'BEGIN { print d * 0.7 }')"
run speech '{"prompt": "Доброе утро", "voice": "ru", "format": "opus"}'
check "speech: Opus, Russian" probes_as "$file" stream=codec_name opus
run speech '{"prompt": "--help"}'
check "speech: a text is never an option" succeeded
run speech '{"prompt": "Доброе утро"}'
check "speech: refuses letters that the voice cannot read" refuses prompt
run speech '{"prompt": " ... "}'
check "speech: refuses a text without words" refuses prompt
run speech '{"prompt": "a\u0000b"}'
check "speech: refuses control characters" refuses prompt

## pan_zoom

small='{"width": 320, "height": 240, "duration": 1.5, "fps": 20}'
for direction in in out left right up down; do
  run pan_zoom "$(image_input "$examples/coffee.jpg" "$small" | jq -c --arg d "$direction" '. + {direction: $d}')"
  check "pan_zoom $direction: H.264 in the size asked for" \
    probes_as "$file" stream=codec_name,width,height,pix_fmt,nb_frames h264,320,240,yuv420p,30
done
check "pan_zoom: succeeds" succeeded
check "pan_zoom: lasts as long as asked for" lasts "$file" 1.45 1.55
check "pan_zoom: plays while it loads" sh -c 'head -c 4096 "$1" | grep -q moov' - "$file"
check "pan_zoom: reports progress" says ".progress == 1"
run pan_zoom "$(image_input "$work/torn.jpg")"
check "pan_zoom: refuses a torn JPEG" refuses image
run pan_zoom "$(image_input "$work/text.png")"
check "pan_zoom: refuses a file that is no image" refuses image
run pan_zoom "$(image_input "$work/missing.png")"
check "pan_zoom: refuses a missing file" refuses image
run pan_zoom "$(image_input "$examples/coffee.jpg" '{"duration": 30, "fps": 60}')"
check "pan_zoom: refuses too many frames" refuses duration

## upscale

# psnr_from FILE: how close it is to the small photo once it is scaled down to it, in dB.
psnr_from() {
  ffmpeg -i "$1" -i "$examples/coffee_128.png" -lavfi "[0]scale=128:128:flags=area,format=rgb24[a];[1]format=rgb24[b];[a][b]psnr" \
    -f null - 2>&1 | sed -n 's/.*average:\([0-9.]*\).*/\1/p'
}
for scale in 2 3 4; do
  side=$((128 * scale))
  run upscale "$(image_input "$examples/coffee_128.png" "{\"scale\": $scale}")"
  check "upscale x$scale: succeeds" succeeded
  check "upscale x$scale: a PNG of the right size" probes_as "$file" stream=codec_name,width,height "png,$side,$side"
  check "upscale x$scale: shows the same picture" is_between "$(psnr_from "$file")" 28 99
done
run upscale "$(image_input "$examples/coffee.jpg" '{"scale": 2, "format": "jpeg"}')"
check "upscale: JPEG, not square" probes_as "$file" stream=codec_name,width,height mjpeg,1200,800
check "upscale: reports progress by tiles" says ".progress == 0.5"
run upscale "$(image_input "$work/clear.png")"
check "upscale: keeps transparency" probes_as "$file" stream=width,height,pix_fmt 80,40,rgba
run upscale "$(image_input "$work/white.png")"
check "upscale: refuses too many pixels" refuses image
check "upscale: says how many there may be" says '.error | contains("1100x1000") and contains("1048576")'
run upscale "$(image_input "$work/torn.png")"
check "upscale: refuses a torn PNG" refuses image

## solid

for shape in box gear bracket bolt nut; do
  for format in glb stl; do
    run solid "{\"shape\": \"$shape\", \"format\": \"$format\"}"
    check "solid: makes a $shape" succeeded
    check "solid: a closed $shape as $format" node "$models/test_mesh.mjs" "$file"
  done
done
run solid '{"shape": "bolt", "thread": "M3", "length": 36}'
check "solid: the longest M3 bolt" succeeded
check "solid: measures it" says '.output.metadata.size_mm == [6.35, 5.5, 38]'
run solid '{"thickness": 30}'
check "solid: refuses walls thicker than the box" refuses thickness
run solid '{"shape": "gear", "hole": 100}'
check "solid: refuses a hole wider than the gear" refuses hole
run solid '{"shape": "bolt", "thread": "M3", "length": 100}'
check "solid: refuses a bolt too long for its thread" refuses length

## read_text

run read_text "$(image_input "$examples/page.jpg")"
check "read_text: succeeds" succeeded
check "read_text: reads the page" says '.output.text // "" | contains("Alice was beginning to get very tired") and contains("White Rabbit")'
check "read_text: keeps paragraphs" says '.output.text // "" | split("\n\n") | length == 3'
check "read_text: is confident" says '.output.metadata.confidence // 0 | . > 80 and . <= 100'
run read_text "$(image_input "$work/white.png")"
check "read_text: an empty page has no text" says '.output.text == "" and .output.metadata.words == 0'
run read_text "$(image_input "$work/torn.png")"
check "read_text: refuses a torn image" refuses image
run read_text "$(image_input "$work/text.png")"
check "read_text: does not take a text for a list of files" refuses image

## Stopping

# stops MODEL INPUT: after its first progress a SIGTERM ends it and its children within two seconds.
stops() {
  make_task "$1" "$2" >"$work/task"
  coproc PROGRAM { cd "$models/$1" && exec "./$1.mjs" <"$work/task"; }
  local program=$PROGRAM_PID children child started
  exec 3<&"${PROGRAM[0]}"
  read -r -t 60 <&3 || return 1
  children=$(cat "/proc/$program/task/$program/children")
  started=$(date +%s%N)
  kill -TERM "$program"
  wait "$program"
  [ $? = 143 ] || return 1
  # The pipe closes when the last child is gone, too.
  cat <&3 >/dev/null
  [ $((($(date +%s%N) - started) / 1000000)) -lt 2000 ] || return 1
  for child in $children; do
    ! kill -0 "$child" 2>/dev/null || return 1
  done
}
rm -rf "$work/out" && mkdir "$work/out"
check "pan_zoom: SIGTERM ends it and ffmpeg" \
  stops pan_zoom "$(image_input "$examples/coffee.jpg" '{"width": 1920, "height": 1080, "duration": 30, "fps": 30}')"
check "upscale: SIGTERM ends it in the middle of a tile" stops upscale "$(image_input "$examples/coffee.jpg")"

echo "no task" >"$work/task"
(cd "$models/speech" && ./speech.mjs <"$work/task" >"$work/stdout" 2>"$work/stderr")
status=$?
check "a broken task ends with an error line" says '.error_type == "INFERENCE_FAILURE"'
check "a broken task ends with exit code 1" [ "$status" = 1 ]

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
