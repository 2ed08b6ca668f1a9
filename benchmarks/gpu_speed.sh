#!/usr/bin/env bash
# How fast is pretraining on a GPU: pipeline against bare step, bare step against the step compiled as a whole (CUDA
# graphs)? Two methods; ResNet-50 at 224 px and ResNet-18 at 64 px, in bf16, on films of noise: no data is needed.
#
#   benchmarks/gpu_speed.sh [OUT]        # 6 minutes at most; OUT (default gpu-speed) gets a JSON file for each part
#   TINY=1 benchmarks/gpu_speed.sh OUT   # the same on any machine with tiny numbers, to see that it runs
#
# A part that does not end in time is named and the next begins. See docs/gpu.md.
set -uo pipefail
out=$(realpath -m "${1:-gpu-speed}")
source "$(dirname "${BASH_SOURCE[0]}")/gpu_setup.sh"
mkdir -p "$out"
missing=0
part() {  # NAME SECONDS OPTIONS...
  local name=$1 seconds=$2; shift 2
  echo "== $name: $*"
  if ! timeout -k 5 "$seconds" "$PYTHON" benchmarks/pretrain_speed.py --without-lightly --compiled --json "$@" >"$out/$name.json"; then
    echo "$name: not measured: it failed or did not end within $seconds s"; rm -f "$out/$name.json"; missing=1
  fi
}
if [ -n "${TINY:-}" ]; then
  tiny="--methods moco --backbone test_resnet --size 32 --batch 4 --pairs 1 --block-seconds 0 --threads 1 --device cpu --noise 32 --compile-backend aot_eager"
  part tiny 900 $tiny
else
  both="--methods moco simclr --precision bf16-mixed --pairs 3 --block-seconds 2"
  part resnet18-64 150 $both --backbone resnet18 --size 64 --batch 512 --noise 8192
  part resnet50-224 200 $both --backbone resnet50 --size 224 --batch 128 --noise 2048
fi
exit $missing
