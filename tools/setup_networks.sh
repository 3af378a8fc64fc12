#!/usr/bin/env bash
# Installs the libraries of tests/networks beside torch, which stays as it is, into a folder of their own.
set -euo pipefail
folder=$1 required=tests/networks/requirements.txt
cmp --silent "$required" "$folder/installed.txt" && exit 0

"$PYTHON" -m pip install --quiet --no-deps --upgrade --target "$folder" --requirement "$required"
export PYTHONPATH=$folder
# torchvision's operators are built for one build of torch; beside another one its import fails. timm needs none of
# them: where they do not load, the two that are missed are declared.
if ! "$PYTHON" -c 'import torchvision' 2>/dev/null; then
  cat >>"$folder/torchvision/extension.py" <<'DECLARE'


if not _has_ops():
    for _name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{_name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
DECLARE
fi
"$PYTHON" -c 'import peft, timm, torchvision, transformers'
cp "$required" "$folder/installed.txt"
