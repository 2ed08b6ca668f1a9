#!/usr/bin/env bash
# PyTorch: training a 3 x 3 convolution of many channels over a map of 2 x 2 on a CPU.
#
# Guess: a convolution is what oneDNN is best at; writing it as a matrix product by hand (copying each place's
#        neighbourhood into a row) costs the copies on top, and counts zeros of the border as work too.
# What happens: by hand it is several times faster: forward and both gradients of 512 to 512 channels, batch 64, take
#        oneDNN 1.7 to 4 times as long in float32 and 4 to 8 times in bfloat16 (with AMX), in either memory layout.
#        At 12 x 12 and 64 channels it is the other way round, as one would think.
# Why it matters: these are the last stages of every ResNet at 48 to 64 px, the sizes that are trained on without
#        a GPU; they hold most of the weights and half of the time of a step.
#
# Depends on the processor (seen with AVX-512 and AMX). Installs torch, which with its libraries is about 3 GB.
set -euo pipefail
if ! grep -q -m1 -w avx512f /proc/cpuinfo 2>/dev/null; then
    echo "skipped: this processor has no AVX-512"
    exit 2
fi
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/python" -m pip install --quiet --no-compile numpy==2.4.6 torch==2.15.0 || exit 2
cat >"$folder/trials.py" <<'PY'
import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(0)


def by_hand(films, kernel):
    side = films.shape[-1]
    padded = F.pad(films.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    rows = [padded[:, y : y + side, x : x + side] for y in range(3) for x in range(3)]
    weights = kernel.permute(0, 2, 3, 1).reshape(len(kernel), -1)
    return F.linear(torch.cat(rows, -1), weights).permute(0, 3, 1, 2)


def by_torch(films, kernel):
    return F.conv2d(films, kernel, padding=1)


def seconds(way, films, kernel):
    best = float("inf")
    for _ in range(12):
        began = time.process_time()
        maps = way(films, kernel)
        maps.backward(torch.ones_like(maps))
        best = min(best, time.process_time() - began)
        films.grad = kernel.grad = None
    return best


ratios = {}
for dtype in (torch.float32, torch.bfloat16):
    for layout in (torch.contiguous_format, torch.channels_last):
        for channels, side in ((512, 2), (64, 12)):
            films, kernel = (
                torch.randn(shape).to(dtype).to(memory_format=layout).requires_grad_()
                for shape in ((64, channels, side, side), (channels, channels, 3, 3))
            )
            gap = (by_torch(films, kernel) - by_hand(films, kernel)).abs().max().item()
            torchs, ours = (seconds(way, films, kernel) for way in (by_torch, by_hand))
            ratios[dtype, layout, side] = torchs / ours
            print(
                f"  {dtype}, {layout}, {channels} channels over {side} x {side}: conv2d {torchs * 1e3:.1f} ms, "
                f"by hand {ours * 1e3:.1f} ms, {torchs / ours:.2f} times; outputs within {gap:.2g}"
            )
small = [ratio for (*_, side), ratio in ratios.items() if side == 2]
large = [ratio for (*_, side), ratio in ratios.items() if side == 12]
sys.exit(0 if min(small) > 1.3 and max(large) < 1 else 1)
PY
cd "$folder"
"$folder/venv/bin/python" -c 'import sys, torch; print("torch", torch.__version__, "Python", sys.version.split()[0])'
if "$folder/venv/bin/python" trials.py; then
    echo "the finding holds"
else
    echo "the behaviour has changed" && exit 1
fi
