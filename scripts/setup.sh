#!/usr/bin/env bash
# Create .venv from requirements.lock, and check that ngspice and libngspice are installed. If nothing has changed, do nothing.
# PYTHON=... selects the interpreter for .venv; NGSPICE_LIBRARY_PATH=... names a libngspice outside the usual folders.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$@" >&2; exit 1; }

# require WHAT DEBIAN FEDORA MACOS: install WHAT's Debian packages if this is permitted; otherwise print the commands to type.
require() {
  local sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo -n)
  if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then
    say "$1 is missing: installing Debian packages $2"
    # $2 is split into packages on purpose.
    # shellcheck disable=SC2086
    { "${sudo[@]}" apt-get update -qq &&
      "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $2 >/dev/null; } ||
      die "apt-get could not install $2; its message is above."
  else
    die "$1 is missing. Install it and run this again:" \
      "  Debian, Ubuntu:  sudo apt-get update && sudo apt-get install -y $2" \
      "  Fedora:          sudo dnf install $3" \
      "  macOS:           $4"
  fi
}

has_venv() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# find_python: set $python to an interpreter that is new enough and can create environments.
find_python() {
  for python in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3}; do
    ! has_venv "$python" || return 0
  done
  return 1
}

make_venv() {
  if ! find_python; then
    [ -z "${PYTHON:-}" ] || die "PYTHON=$PYTHON is not a Python 3.11 or later with its venv module."
    require 'Python 3.11 or later with its venv module' 'python3 python3-venv' python3 'brew install python'
    find_python || die "$(python3 --version 2>&1) is too old: Python 3.11 or later is needed; name one with PYTHON=..."
  fi
  say "creating .venv with $("$python" --version)"
  "$python" -m venv --clear .venv
}

# The environment depends on its absolute path and on these two files, so the stamp contains all of them.
stamp=.venv/.setup-stamp
wanted="$(cksum requirements.lock pyproject.toml) $PWD"
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
  say '.venv is up to date'
else
  make_venv
  say 'installing requirements.lock (about a minute)'
  .venv/bin/python -m pip install -qq --disable-pip-version-check --requirement requirements.lock
  say 'installing eqprop-analog itself in editable mode'
  .venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
  printf '%s\n' "$wanted" >"$stamp"
fi

has_ngspice() {
  command -v ngspice >/dev/null && { [ -e "${NGSPICE_LIBRARY_PATH:-}" ] ||
    .venv/bin/python -c 'import sys; from ctypes.util import find_library; sys.exit(not find_library("ngspice"))'; }
}

if ! has_ngspice; then
  # shellcheck disable=SC2016  # the user's shell expands it
  require 'ngspice (the program and its library)' 'ngspice libngspice0' 'ngspice libngspice' \
    'brew install ngspice libngspice && export NGSPICE_LIBRARY_PATH="$(brew --prefix)/lib/libngspice.dylib"'
  has_ngspice || die 'ngspice was installed but is not found: is it on PATH?'
fi
say "$(ngspice --version | grep -o 'ngspice-[^ ]*' | head -n 1) and its library are installed"
