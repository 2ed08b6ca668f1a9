#!/usr/bin/env bash
# onnxruntime: its wheel for Linux reports its use.
#
# Guess: only the Windows builds report to Microsoft; on Linux a session reads a model and computes.
# What happens: the wheel of 1.32 from PyPI holds Microsoft's uploader (1DS), and making one session
#        leaves a file .ses with an identifier in the temporary folder. With ORT_DISABLE_TELEMETRY=1
#        set before the import there is none; disable_telemetry_events() after it comes too late.
# Why it matters: a service that reads patients' films in a hospital has to answer for every
#        connection to the outside, and for every file that it leaves.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 || exit 2
cd "$folder"
cat > session.py <<'PY'
import sys

import onnx
import onnxruntime
from onnx import TensorProto, helper

if "late" in sys.argv:
    onnxruntime.disable_telemetry_events()
value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "ab"]
graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "g", value[:1], value[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
onnxruntime.InferenceSession(model.SerializeToString())
print("onnxruntime", onnxruntime.__version__, end=": ")
PY
seen=""
for how in usual late off; do
  mkdir "tmp-$how"
  off=""; [ $how = off ] && off=1
  TMPDIR="$folder/tmp-$how" ${off:+env ORT_DISABLE_TELEMETRY=1} venv/bin/python session.py $how
  files=$(ls -A "tmp-$how" | tr '\n' ' ')
  echo "$how leaves: ${files:-nothing}"
  [ -n "$files" ] && seen="$seen$how "
done
[ "$seen" = "usual late " ] && echo "the finding holds" && exit 0
echo "the behaviour has changed"; exit 1
