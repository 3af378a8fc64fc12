#!/usr/bin/env bash
# Installs the wheel and the source distribution of $DIST, which `make wheel` makes, in new environments on the oldest and
# the newest torch that they support, and tries each in an empty folder. The wheel is one build for all of them; a source
# distribution builds in the isolation of pip, must find the environment's torch and must leave it as it is. The tests of
# operators and injection run on the wheel. Each torch is downloaded, with gigabytes of CUDA unless pip is pointed at CPU
# builds (PIP_INDEX_URL).
#
# TEST_TORCHES names other versions, PYTHON another Python, of which the wheel must be; TEST_SDIST=0 leaves out the source
# distribution, whose build takes minutes.
set -euo pipefail
PYTHON=${PYTHON:-python3} DIST=${DIST:-dist} TEST_TORCHES=${TEST_TORCHES:-"torch==2.10.* torch>=2.10"}
TEST_SDIST=${TEST_SDIST:-1}
newest() { # newest WHAT PATTERN
  local found
  found=$(find "$DIST" -maxdepth 1 -name "$2" -printf '%T@ %p\n' 2>/dev/null | sort -n | tail -n 1 | cut -d' ' -f2-)
  [ -n "$found" ] || { echo "test_install: no $1 ($2) in $DIST; run: make wheel" >&2; exit 1; }
  realpath "$found"
}
tag=$("$PYTHON" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
wheel=$(newest "wheel" "eden_dram-*-$tag-*.whl")
sdist=$(newest "source distribution" "eden_dram-*.tar.gz")
cuda=
if "$PYTHON" -m zipfile -l "$wheel" | grep -q _ops_cuda.so; then cuda=CUDA; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r tests benchmarks pyproject.toml tools/smoke.py "$work/"
# Each build unpacks the sources in a folder of another name, which ccache would take for other sources.
export CCACHE_BASEDIR=${CCACHE_BASEDIR:-${TMPDIR:-/tmp}} CCACHE_NOHASHDIR=1
# The checkout must not be what is tested.
unset PYTHONPATH
read -ra torches <<< "$TEST_TORCHES"

smoke() { # smoke WHAT [CUDA]
  local empty
  empty=$(mktemp -d "$work/empty.XXXX")
  echo "== $1"
  (cd "$empty" && "$work/venv/bin/python" -P "$work/smoke.py" "${@:2}")
}
torch_at() { "$work/venv/bin/python" -P -c 'import os, torch; print(torch.__version__, os.stat(torch.__file__).st_mtime_ns)'; }

for torch in "${torches[@]}"; do
  rm -rf "$work/venv"
  "$PYTHON" -m venv "$work/venv"
  pip=("$work/venv/bin/python" -m pip --quiet --disable-pip-version-check install)
  "${pip[@]}" "$torch" numpy
  before=$(torch_at)
  "${pip[@]}" "$wheel" 'pytest>=8,<10' 'pytest-timeout>=2.3,<3' 'hypothesis>=6.100,<7' 'expecttest>=0.2,<1'
  smoke "$(basename "$wheel") on $torch" $cuda
  (cd "$work" && venv/bin/python -P -m pytest -q -p no:cacheprovider tests/memory/test_operators.py tests/faults/test_inject.py tests/memory/test_library.py)
  if [ "$TEST_SDIST" != 0 ]; then
    "$work/venv/bin/python" -m pip --quiet uninstall --yes eden-dram
    "${pip[@]}" "$sdist"
    smoke "$(basename "$sdist") on $torch"
  fi
  after=$(torch_at)
  [ "$before" = "$after" ] || { echo "test_install: torch was $before, is $after; allowed is no change" >&2; exit 1; }
done
echo "test_install: passed on ${torches[*]}"
