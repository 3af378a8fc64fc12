#!/usr/bin/env bash
# Makes the virtual environment $VENV and installs the package in it in editable form, built without isolation so that the
# torch it runs on is the torch it was built against. What the system itself lacks is installed where apt-get may be used,
# and named otherwise.
set -euo pipefail
PYTHON=${PYTHON:-python3} TORCH=${TORCH:-torch==2.13.0} VENV=${VENV:-.venv}

need() { # need "what it is" "Debian packages" test-command...
  local what=$1 packages=$2
  shift 2
  if "$@" >/dev/null 2>&1; then return; fi
  echo "setup: ${what} is missing, installing: ${packages}"
  local apt=(apt-get)
  if [ "$(id -u)" -ne 0 ]; then apt=(sudo -n apt-get); fi
  # shellcheck disable=SC2086
  if ! { "${apt[@]}" update -qq && DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y -qq ${packages}; } >/dev/null; then
    echo "setup: ${what} could not be installed; run: sudo apt-get install ${packages}" >&2
    [ "$what" = "Catch2" ] || [ "$what" = "nlohmann/json" ] || exit 1
  fi
}

has_catch2() { compgen -G '/usr/*/cmake/Catch2' || compgen -G '/usr/lib/*/cmake/Catch2' || compgen -G '/usr/local/*/cmake/Catch2'; }
has_json() { echo '#include <nlohmann/json.hpp>' | c++ -std=c++20 -x c++ -fsyntax-only -; }
has_python() { "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; }
has_headers() { "$PYTHON" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'; }

need "a C++20 compiler" "g++" bash -c 'echo "#include <span>" | c++ -std=c++20 -x c++ -fsyntax-only -'
need "Python 3.11 or later" "python3" has_python
need "Python's venv" "python3-venv" "$PYTHON" -c 'import ensurepip, venv'
need "Python's headers" "python3-dev" has_headers
need "Catch2" "catch2" has_catch2
# eden-profile is built with it, and left out without.
need "nlohmann/json" "nlohmann-json3-dev" has_json

[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
pip=("$VENV/bin/python" -m pip install --quiet --disable-pip-version-check)
# An installed torch is kept: replacing it would replace what the user's own code runs on.
"$VENV/bin/python" -c 'import torch' 2>/dev/null || "${pip[@]}" "$TORCH" numpy
"${pip[@]}" 'setuptools>=77' wheel 'ninja>=1.11' 'pybind11>=2.13,<4' 'cmake>=3.24,<5'
"${pip[@]}" --no-build-isolation --editable '.[dev,demo]'
