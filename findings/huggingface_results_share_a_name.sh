#!/usr/bin/env bash
# huggingface_hub: two results of one model on two sets of films, in the head of a model card.
#
# Guess: results with different dataset names (validation and test films of one data set) are written as two
#        entries, and read back as they were given.
# What happens: results are grouped by task, dataset type, configuration, split and revision, and not by name: the
#        second is written below the first one's name. Read back, both have that name, and nothing warns.
# Why it matters: the figure on films that chose a model, or on an easier set, is published as that of another. Give
#        each result its own dataset_split.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/python" -m pip install --quiet --no-compile huggingface_hub==2.4.0 || exit 2
cd "$folder" && "$folder/venv/bin/python" -W error - <<'PY'
import sys

import huggingface_hub
from huggingface_hub import EvalResult, ModelCard, ModelCardData

print("huggingface_hub", huggingface_hub.__version__, "Python", sys.version.split()[0])


def read_back(split: bool) -> list[tuple[str, float]]:
    """Write a card with two results, read it, and return what it says."""
    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type="films",
            dataset_name=name,
            dataset_split=name if split else None,
            metric_type="roc_auc",
            metric_value=value,
        )
        for name, value in (("validation", 0.93), ("test", 0.71))
    ]
    head = ModelCardData(model_name="model", eval_results=results).to_yaml()
    card = ModelCard(f"---\n{head}\n---\n", ignore_metadata_errors=False)
    return [(result.dataset_name, result.metric_value) for result in card.data.eval_results]


by_name, by_split = read_back(False), read_back(True)
print("by name:", by_name)
print("with a split each:", by_split)
right = [("validation", 0.93), ("test", 0.71)]
holds = by_split == right and [name for name, _ in by_name] == ["validation"] * 2
print("the finding holds" if holds else "the behaviour has changed")
sys.exit(0 if holds else 1)
PY
