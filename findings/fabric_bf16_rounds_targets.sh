#!/usr/bin/env bash
# Lightning Fabric 2.6.6: what a model gets as targets under precision="bf16-mixed".
#
# Guess: mixed precision is torch.autocast, which chooses the type of each operation: targets and weights of a loss
#        that go through forward arrive in float32, as they do with torch.autocast alone.
# What happens: Fabric turns every floating-point tensor among the arguments of forward into bfloat16 first, in
#        tuples and dictionaries too. Of a target 8 bits are left: an age of 257 days becomes 256, 0.9 becomes 0.8984.
# Why it matters: losses that are computed in forward see rounded targets, soft labels and weights of cells; and an
#        operation that autocast does not know stops where it meets a float32 tensor of the model's own.
#
# Installs torch, which with its libraries is about 3 GB.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/python" -m pip install --quiet --no-compile numpy==2.4.6 torch==2.15.0 lightning-fabric==2.6.6 || exit 2
cat >"$folder/targets.py" <<'PY'
import sys

import lightning_fabric
import torch
from lightning_fabric import Fabric

GIVEN = torch.tensor([257.0, 0.9])


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen = []

    def forward(self, inputs, batch):
        self.seen.append(batch["targets"])
        return self.layer(inputs)


plain = Model()
with torch.autocast("cpu", torch.bfloat16):
    plain(torch.ones(1, 1), {"targets": GIVEN})
fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
model = Model()
fabric.setup(model)(torch.ones(1, 1), {"targets": GIVEN})
print(f"lightning-fabric {lightning_fabric.__version__}, torch {torch.__version__}")
print(f"given to forward: {GIVEN.tolist()} {GIVEN.dtype}")
for name, (seen,) in (("torch.autocast", plain.seen), ("Fabric bf16-mixed", model.seen)):
    print(f"{name}: {[round(value, 4) for value in seen.tolist()]} {seen.dtype}")
holds = plain.seen[0].dtype == torch.float32 and model.seen[0].tolist() == [256.0, 0.8984375]
print("the finding holds" if holds else "this has changed")
sys.exit(0 if holds else 1)
PY
"$folder/venv/bin/python" "$folder/targets.py"
