# Shared by the scripts here: where we are, how we speak, how packages get installed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# The cores to build with: no more than memory allows (the heaviest file takes about 1.5 GiB).
jobs() {
  local cores memory_gib
  cores=$(nproc)
  memory_gib=$(awk '/MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
  local by_memory=$((memory_gib * 2 / 3))
  ((by_memory >= 1)) || by_memory=1
  ((cores < by_memory)) && echo "$cores" || echo "$by_memory"
}

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Reads apt's chatter and shows how many packages were unpacked: as a running count on a terminal, else once.
count_unpacked() {
  local live=0
  [ -t 1 ] && live=1
  awk -v live=$live '/^Unpacking/ {n++; if (live) {printf "\r  unpacked %d", n; fflush()}}
    END {if (n) print (live ? "" : "  unpacked " n " packages")}'
}

# apt_install PACKAGE…: installs those that are missing, as root or by sudo.
apt_install() {
  local missing=() package
  for package in "$@"; do is_installed "$package" || missing+=("$package"); done
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || die "these packages are missing and there is no apt-get here: ${missing[*]}"
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "not root and no sudo: ask an administrator to install: ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  local log
  log=$(mktemp)
  if ! { "${as_root[@]}" apt-get update -qq &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 install -y \
      --no-install-recommends "${missing[@]}"; } 2>&1 | tee "$log" | count_unpacked; then
    tail -n 20 "$log" >&2
    die "apt-get failed (its last lines are above)"
  fi
  rm -f "$log"
}

# npm_install FOLDER: `npm ci` there, unless its lock file was installed already.
npm_install() {
  local folder=$1 stamp="$1/node_modules/.quern-lock"
  cmp -s "$folder/package-lock.json" "$stamp" && return
  say "installing npm packages in $folder"
  (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error)
  cp "$folder/package-lock.json" "$stamp"
}

# Debian's npm finds its parts with Debian's Node only, so it runs as if ours were not there.
export QUERN_MACHINE_PATH=${QUERN_MACHINE_PATH:-$PATH}
npm() { PATH=$QUERN_MACHINE_PATH command npm "$@"; }

# node_is_at_least MAJOR MINOR
node_is_at_least() {
  command -v node >/dev/null || return 1
  local version
  version=$(node --version) && version=${version#v}
  local major=${version%%.*} rest=${version#*.}
  ((major > $1 || (major == $1 && ${rest%%.*} >= $2)))
}

# The clients and the benchmarks need Node 20.11; Debian 12 has 18. Where the machine's is too old, one from the npm
# registry is kept in tools/node, for this project alone; cmake/Node.cmake finds it there too.
use_own_node() {
  local folder=$root/tools/node/node_modules/.bin
  if ! node_is_at_least 20 11 && [ -x "$folder/node" ]; then export PATH=$folder:$PATH; fi
}
use_own_node

# need_node [MAJOR MINOR]: npm, and a Node of at least this version; 18 is enough for the example models.
need_node() {
  command -v node >/dev/null || apt_install nodejs
  command -v npm >/dev/null || apt_install npm
  node_is_at_least "${1:-18}" "${2:-0}" && return
  npm_install tools/node
  use_own_node
  node_is_at_least "${1:-18}" "${2:-0}" || die "tools/node has no Node for $(uname -m): install one of 20.11 or newer"
}
