#!/usr/bin/env bash
# onnxruntime: the mean of an image, ReduceMean over its two axes, in float32 on a CPU.
#
# Guess: as exact as NumPy's or PyTorch's float32 mean, which is right to about 1e-7 at any size.
# What happens: the pixels are added one after the other in a few running sums. Where many neighbours are alike, as in
#        the background of a radiograph, the same rounding repeats: the mean of an even grey of 0.7 is off by
#        2e-6 at 64 px, 1e-4 at 512 px and 3e-3 at 2048 px. The mean along rows, then of these means, is far nearer.
# Why it matters: a model that standardises each image inside its graph (minus its mean, over its deviation) computes
#        something else than it was trained with. Deep networks magnify it: at 64 px the logits of an Inception V3
#        were ten times as far from PyTorch's. A global average pooling of large maps is touched too.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/python" -m pip install --quiet --no-compile numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 || exit 2
cat >"$folder/trial.py" <<'PY'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper


def runs(*steps):
    """Return a model that takes the means over the given axes, one after the other."""
    nodes, names = [], ["image", *(f"step{number}" for number in range(len(steps)))]
    for number, axes in enumerate(steps):
        nodes.append(
            helper.make_node("ReduceMean", [names[number]], [names[number + 1]], axes=list(axes), keepdims=1)
        )
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, None, None])],
        [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, [1, 1, 1, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda image: float(session.run(None, {"image": image[None, None]})[0].ravel()[0])


print("onnxruntime", onnxruntime.__version__, "numpy", np.__version__)
at_once, by_rows = runs((2, 3)), runs((3,), (2,))
errors = {}
for side in (64, 224, 512, 1024, 2048):
    image = np.full((side, side), 179 / 255, np.float32)
    right = image.astype(np.float64).mean()
    errors[side] = [abs(mean - right) for mean in (at_once(image), by_rows(image), float(image.mean()))]
    print("  {} px: at once {:.1e}, along rows first {:.1e}, NumPy {:.1e}".format(side, *errors[side]))
holds = errors[512][0] > 3e-5 and errors[2048][0] > 3e-4
holds = holds and all(rows < 5e-5 and numpy < 1e-6 for _, rows, numpy in errors.values())
print("the finding holds" if holds else "the behaviour has changed")
sys.exit(0 if holds else 1)
PY
OMP_NUM_THREADS=1 "$folder/venv/bin/python" "$folder/trial.py"
