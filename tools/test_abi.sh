#!/usr/bin/env bash
# Builds one wheel, on the torch of $VENV, and runs the tests of operators and injection with it on the oldest and the
# newest torch that it claims to support. Both are downloaded, with gigabytes of CUDA unless pip is pointed at CPU builds
# (PIP_INDEX_URL). ABI_TORCHES names other versions.
set -euo pipefail
VENV=${VENV:-.venv} PYTHON=${PYTHON:-python3} ABI_TORCHES=${ABI_TORCHES:-"torch==2.10.* torch>=2.10"}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$VENV/bin/python" -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir "$work" .
wheel=$(ls "$work"/*.whl)
echo "built $(basename "$wheel") on torch $("$VENV/bin/python" -c 'import torch; print(torch.__version__)')"
cp -r tests benchmarks pyproject.toml "$work/"
for torch in $ABI_TORCHES; do
  rm -rf "$work/venv"
  "$PYTHON" -m venv "$work/venv"
  "$work/venv/bin/python" -m pip install --quiet --upgrade "$torch" "$wheel" 'pytest>=8,<10' 'pytest-timeout>=2.3,<3' \
    'hypothesis>=6.100,<7' 'expecttest>=0.2,<1'
  # From outside the checkout, so that the wheel is what is tested.
  (cd "$work" && venv/bin/python -c 'import eden, torch; print("on torch", torch.__version__, eden.__file__)' &&
    venv/bin/python -m pytest -q -p no:cacheprovider tests/test_ops.py tests/test_inject.py tests/test_library.py)
done
