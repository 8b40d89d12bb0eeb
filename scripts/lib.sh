# What the scripts have in common; sourced, not run.
# shellcheck shell=bash

say() { echo "${0##*/}: $*" >&2; }
die() { say "$@"; exit 1; }

# Installs packages of Debian or Ubuntu; says so, because it changes the machine.
install_packages() { # WHAT-FOR PACKAGE...
  local as_root=() what_for=$1
  shift
  ((EUID == 0)) || as_root=(sudo)
  say "installs with apt-get: $* ($what_for)"
  "${as_root[@]}" apt-get -qq update >&2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install --yes --no-install-recommends "$@" </dev/null >/dev/null
}

# Rust needs a linker, and on a fresh machine there is none.
require_toolchain() {
  PATH=$PATH:$HOME/.cargo/bin # rustup has put it there, but this shell may be older
  command -v cargo >/dev/null || die "cargo is missing: install Rust as https://rustup.rs says"
  command -v cc >/dev/null && return
  command -v apt-get >/dev/null || die "a C compiler is missing, which Rust links with: install gcc"
  install_packages "Rust links with them" gcc libc6-dev
}

# About what the programs in debug form and the servers take together.
require_space() {
  local free
  free=$(df --output=avail --block-size=1G . | tail -n 1)
  ((free >= 6)) || die "only $free GB are free here, about 6 GB are needed to build and run: free some, or move the checkout"
}

port_open() { (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null; }

step() { printf '\n== %s\n' "$*"; }

# Makes a Python with packages of fixed versions from PyPI, once per user, and prints the folder of its programs.
python_with() { # PACKAGE==VERSION...
  local name="${*//==/-}"
  local home=${XDG_CACHE_HOME:-$HOME/.cache}/weir/${name// /-}
  if [[ ! -e $home/complete ]]; then
    say "installs $* into $home (once)"
    rm -rf "$home"
    if ! { python3 -m venv "$home" && "$home/bin/pip" install --quiet "$@"; } >&2; then
      say "cannot install $*: what needs it is left out"
      return 1
    fi
    touch "$home/complete"
  fi
  printf '%s' "$home/bin"
}

# Where packages of npm are, in the versions that the tests are for: their folder node_modules.
node_with() { # PACKAGE@VERSION...
  local home
  home=${XDG_CACHE_HOME:-$HOME/.cache}/weir/node-$(printf '%s\n' "$@" | sha256sum | cut -c -12)
  if [[ ! -e $home/complete ]]; then
    say "installs $* into $home (once)"
    rm -rf "$home"
    mkdir -p "$home"
    if ! npm install --prefix "$home" --no-audit --no-fund --ignore-scripts --loglevel error "$@" >&2; then
      say "cannot install $*: what needs it is left out"
      return 1
    fi
    touch "$home/complete"
  fi
  printf '%s' "$home/node_modules"
}
