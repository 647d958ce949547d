#!/usr/bin/env bash
# client_example.sh BUILD SOURCE QUERN: installs the client library from BUILD into a folder, compiles examples/client.cc by the CMake
# package and by pkg-config, and runs both against a server of its own.
set -euo pipefail
build=$1 source=$2 quern=$3
work=$(mktemp -d)
server=
finish() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null && wait "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap finish EXIT

cmake --install "$build" --prefix "$work/usr" --component sdk >/dev/null
cmake -S "$source/tests/install/consumer" -B "$work/build" -DEXAMPLE="$source/examples/client.cc" -DCMAKE_PREFIX_PATH="$work/usr" >/dev/null
cmake --build "$work/build" >/dev/null

libdir=$(dirname "$(find "$work/usr" -name quern.pc)")
# shellcheck disable=SC2046  # several flags
PKG_CONFIG_PATH=$libdir g++ -std=c++23 "$source/examples/client.cc" -o "$work/by_pkg_config" \
  $(PKG_CONFIG_PATH=$libdir pkg-config --define-variable=prefix="$work/usr" --cflags --libs quern)

mkdir "$work/run"
cd "$work/run"
: >"$work/out"  # there, however late the server starts
"$quern" serve --listen 127.0.0.1:0 --data "$work/data" >"$work/out" 2>"$work/log" &
server=$!
for ((i = 0; i < 300; i++)); do
  QUERN_URL=$(sed -n 's/^listening on //p' "$work/out")
  [ -n "$QUERN_URL" ] && break
  kill -0 "$server" || { cat "$work/log"; exit 1; }
  sleep 0.1
done
QUERN_KEY=$(cat "$work/data/first-key")
export QUERN_URL QUERN_KEY
LD_LIBRARY_PATH=$(dirname "$(find "$work/usr" -name 'libquern.so')")
export LD_LIBRARY_PATH
for program in "$work/build/consumer" "$work/by_pkg_config"; do
  "$program"
  [ -s speech.mp3 ] || { echo "no file was saved"; exit 1; }
  rm speech.mp3
done
