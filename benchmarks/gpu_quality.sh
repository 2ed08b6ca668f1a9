#!/usr/bin/env bash
# What does long pretraining on a GPU give? MoCo (ResNet-18) for some 300 epochs over the films of a store at 64 px,
# then fine-tuning on 10 % of the labels from it and from scratch, three draws, measured on the test films.
#
#   python benchmarks/gpu_data.py nih14-64.tar.xz --data ../shared/data/nih14   # beforehand, anywhere: one file
#   benchmarks/gpu_quality.sh --data nih14-64.tar.xz                            # 6 minutes at most
#   benchmarks/gpu_quality.sh --phantoms 60 --tiny                              # on any machine, to see that it runs
#
# See docs/gpu.md.
set -uo pipefail
for argument in "$@"; do arguments+=("$([ -e "$argument" ] && realpath "$argument" || echo "$argument")"); done
source "$(dirname "${BASH_SOURCE[0]}")/gpu_setup.sh"
case " $* " in *" --tiny "*) seconds=1800 ;; *) seconds=360 ;; esac
exec timeout -k 5 "$seconds" "$PYTHON" benchmarks/gpu_quality.py "${arguments[@]}"
