#!/usr/bin/env bash
# PyTorch: the weight's gradient of a strided 3 x 3 convolution over a map of 1 x 1, in bfloat16 on a CPU.
#
# Guess: under autocast the gradient is that of float32, a little coarser. Of the nine entries of each kernel
#        only the middle one meets the single place; the gradient of the eight others is 0.
# What happens: on a processor with AVX-512 the eight others are not written at all: they hold whatever was in
#        that memory before, not-a-number included. In float32, with a stride of 1, on AVX2, they are 0.
# Why it matters: the last stage of a ResNet meets 1 x 1 where small crops are trained on (32 px, the local
#        crops of self-supervised learning): the loss becomes nan "by itself", or training is a
#        little wrong and another each time.
#
# Depends on the processor: without AVX-512 it cannot be tried (exit 2). Installs torch, which with its
# libraries is about 3 GB.
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

import torch

bad = {}
for stride, side, dtype in ((2, 1, torch.bfloat16), (1, 1, torch.bfloat16), (2, 1, torch.float32)):
    bad[stride, side, dtype] = 0
    for trial in range(20):
        torch.manual_seed(trial)
        convolution = torch.nn.Conv2d(64, 64, 3, stride=stride, padding=1, bias=False)
        films = torch.randn(8, 64, side, side)
        # What the gradient's memory may have held before: the allocator hands it out again.
        junk = [torch.full((64, 64, 3, 3), float("nan"), dtype=dtype) for _ in range(4)]
        del junk
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            maps = convolution(films)
        maps.float().sum().backward()
        outer = convolution.weight.grad.clone()
        outer[:, :, 1, 1] = 0
        bad[stride, side, dtype] += bool((outer != 0).any())
for (stride, side, dtype), count in bad.items():
    print(f"  {dtype}, stride {stride}, map {side} x {side}: {count} of 20 gradients wrong")
sys.exit(0 if bad[2, 1, torch.bfloat16] and sum(bad.values()) == bad[2, 1, torch.bfloat16] else 1)
PY
cd "$folder"
"$folder/venv/bin/python" -c 'import sys, torch; print("torch", torch.__version__, "Python", sys.version.split()[0])'
echo "with this processor's instructions:"
wrong=0 && OMP_NUM_THREADS=1 "$folder/venv/bin/python" trials.py || wrong=$?
echo "with AVX2 at most:"
right=0 && OMP_NUM_THREADS=1 ONEDNN_MAX_CPU_ISA=AVX2 "$folder/venv/bin/python" trials.py || right=$?
if [ "$wrong" = 0 ] && [ "$right" = 1 ]; then
    echo "the finding holds"
else
    echo "the behaviour has changed" && exit 1
fi
