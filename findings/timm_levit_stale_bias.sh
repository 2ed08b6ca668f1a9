#!/usr/bin/env bash
# timm: loading weights into a LeViT, TinyViT, EfficientFormer or EfficientViT that is in use.
#
# Guess: after model.load_state_dict(new) the model computes with the new weights, as every module does.
# What happens: in evaluation mode these networks keep the attention biases, looked up in their table, from
#        the first film on. load_state_dict, and any change in place, leaves the copy: the model computes
#        with the new weights and the old biases, without a word, until eval(), train() or to() is
#        called again. state_dict() shows the new ones.
# Why it matters: comparing checkpoints, averaging weights, a moving average used as a teacher, a model
#        server that loads an update: the result belongs to no checkpoint.
#
# Installs torch, which with its libraries is about 3 GB.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/python" -m pip install --quiet --no-compile timm==1.0.31 torch==2.15.0 torchvision==0.29.2 || exit 2
cd "$folder" && "$folder/venv/bin/python" - <<'PY'
import sys

import timm
import torch

print("timm", timm.__version__, "torch", torch.__version__, "Python", sys.version.split()[0])
stale, unequal = {}, {}
for name in ("levit_128s", "tiny_vit_5m_224", "efficientformer_l1", "efficientvit_m0", "vit_tiny_patch16_224"):
    torch.manual_seed(0)
    model, other = (timm.create_model(name, num_classes=3).eval() for _ in range(2))
    _, *size = model.default_cfg["input_size"]
    films = torch.nn.functional.interpolate(torch.randn(2, 3, 8, 8), size, mode="bicubic")
    with torch.no_grad():
        for network in (model, other):  # as after training: no branch weighs 0, no bias is 0
            for key, parameter in network.named_parameters():
                if "attention_biases" in key:
                    parameter.normal_(std=3.0)
                elif parameter.ndim == 1:
                    parameter.normal_(mean=float(key.endswith("weight")), std=0.3)
        model(films)
        model.load_state_dict(other.state_dict())
        expected = other(films)
        stale[name] = ((model(films) - expected).norm() / expected.norm()).item()
        unequal[name] = ((model.eval()(films) - expected).norm() / expected.norm()).item()
    print(f"{name:22} off by {stale[name]:.5f} of the output after loading, by {unequal[name]:.5f} after eval()")
control = stale.pop("vit_tiny_patch16_224")
holds = min(stale.values()) > 1e-4 and control == 0 and not any(unequal.values())
print("the finding holds" if holds else "the behaviour has changed")
sys.exit(0 if holds else 1)
PY
