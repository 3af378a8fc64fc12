#!/usr/bin/env bash
# Makes the virtual environment $VENV and installs the package in it in editable form, built without isolation so that the
# torch it runs on is the torch it was built against. What the system itself lacks is named first, then installed where
# apt-get may be used.
set -euo pipefail
PYTHON=${PYTHON:-python3} TORCH=${TORCH:-torch==2.13.0} VENV=${VENV:-.venv}
LOG=$(mktemp)
trap 'rm -f "$LOG"' EXIT

step() { # step "what it does" command...: says what begins, and how long it took; a command's output is seen if it fails
  local what=$1 begin=$SECONDS
  shift
  echo "setup: ${what} ..."
  if ! "$@" >"$LOG" 2>&1; then
    cat "$LOG" >&2
    echo "setup: failed after $((SECONDS - begin)) s: ${what}" >&2
    exit 1
  fi
  echo "setup:   done in $((SECONDS - begin)) s"
}

compiles() { echo "$1" | "${CXX:-c++}" -std=c++20 -x c++ -fsyntax-only -; }
has_header() { compiles "#if !__has_include(<$1>)
#error
#endif"; }
has_catch2() { compgen -G '/usr/*/cmake/Catch2' || compgen -G '/usr/lib/*/cmake/Catch2' || compgen -G '/usr/local/*/cmake/Catch2'; }
has_python() { "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; }
has_headers() { "$PYTHON" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'; }

needed="" optional=""
lack() { # lack needed|optional "what it is" debian-package test-command...: names the package if the test fails
  local kind=$1 what=$2 package=$3
  shift 3
  if "$@" >/dev/null 2>&1; then return; fi
  echo "setup:   ${package}: ${what}"
  if [ "$kind" = needed ]; then needed+=" $package"; else optional+=" $package"; fi
}
look() {
  needed="" optional=""
  lack needed "a C++20 compiler" g++ compiles '#include <span>'
  lack needed "Python 3.11 or later; found: $("$PYTHON" --version 2>&1 || true)" python3 has_python
  lack needed "Python's venv" python3-venv "$PYTHON" -c 'import ensurepip, venv'
  lack needed "Python's headers" python3-dev has_headers
  lack optional "for eden-profile alone, which is left out without it" nlohmann-json3-dev has_header nlohmann/json.hpp
  lack optional "for eden-profile alone, which is left out without it" libcli11-dev has_header CLI/CLI.hpp
  lack optional "for eden-profile alone, which is left out without it" zlib1g-dev has_header zlib.h
  lack optional "for the C++ tests of make test alone" catch2 has_catch2
}

apt=()
if command -v apt-get >/dev/null; then
  if [ "$(id -u)" -eq 0 ]; then
    apt=(env DEBIAN_FRONTEND=noninteractive apt-get)
  elif sudo -n true 2>/dev/null; then
    apt=(sudo -n env DEBIAN_FRONTEND=noninteractive apt-get)
  fi
fi
apt_install() { "${apt[@]}" update -qq && "${apt[@]}" install -y -qq "$@"; }

echo "setup: what the system lacks:"
look
# shellcheck disable=SC2086
if [ -z "$needed$optional" ]; then
  echo "setup:   nothing"
elif [ ${#apt[@]} -eq 0 ]; then
  echo "setup: apt-get may not be used here; run: sudo apt-get install$needed$optional"
else
  if [ -n "$needed" ] && ! (step "install$needed" apt_install $needed); then
    echo "setup: to install by hand: sudo apt-get install$needed" >&2
    exit 1
  fi
  for package in $optional; do
    # Not every system has each of them, and none is worth stopping for.
    if ! (step "install $package" apt_install "$package"); then
      echo "setup: going on without; to try again: sudo apt-get install $package"
    fi
  done
fi
look >/dev/null
if [ -n "$needed" ]; then
  echo "setup: cannot go on without:$needed (PYTHON=... names another Python, CXX=... another compiler)" >&2
  exit 1
fi

make_environment() { [ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"; }
pip=("$VENV/bin/python" -m pip install --quiet --disable-pip-version-check)
step "make the virtual environment $VENV" make_environment
# An installed torch is kept: replacing it would replace what the user's own code runs on.
if ! "$VENV/bin/python" -c 'import torch' 2>/dev/null; then
  step "download and install $TORCH, which may take minutes" "${pip[@]}" "$TORCH" numpy
fi
step "download and install what the build needs" "${pip[@]}" 'setuptools>=77' wheel 'ninja>=1.11' 'pybind11>=2.13,<4' 'cmake>=3.24,<5'

# Outside of pip, which would show nothing of it until it ends.
export PATH="$(cd "$VENV/bin" && pwd):$PATH"
begin=$SECONDS
echo "setup: compile the operators and the C++ core ..."
shown=0
if ! "$VENV/bin/python" setup.py --quiet build_ext --inplace 2>&1 | tee "$LOG" | while IFS= read -r line; do
  if [[ $line == "-- eden: "* ]]; then
    echo "setup:   ${line#-- eden: }"
  elif [[ $line =~ ^\[([0-9]+)/([0-9]+)\] ]] && ((BASH_REMATCH[1] * 10 / BASH_REMATCH[2] > shown)); then
    shown=$((BASH_REMATCH[1] * 10 / BASH_REMATCH[2]))
    echo "setup:   $((shown * 10))% (${BASH_REMATCH[1]} of ${BASH_REMATCH[2]} steps, $((SECONDS - begin)) s)"
  fi
done; then
  cat "$LOG" >&2
  echo "setup: the compilation failed after $((SECONDS - begin)) s" >&2
  exit 1
fi
echo "setup:   done in $((SECONDS - begin)) s"
step "install eden and what it needs in $VENV" "${pip[@]}" --no-build-isolation --editable '.[dev,demo]'
echo "setup: ready after $SECONDS s"
