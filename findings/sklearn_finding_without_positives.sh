#!/usr/bin/env bash
# scikit-learn: a multi-label test set in which one finding never occurs.
#
# Guess: roc_auc_score raises a ValueError (it did for years), or all averages treat the finding
#        alike; average_precision_score is undefined for it too, or leaves it out.
# What happens: macro AUROC is nan with a warning; weighted AUROC is a usual number, since the
#        finding weighs 0; macro average precision counts the finding as 0.0 and falls by a third.
# Why it matters: rare findings are missing from small test sets and single hospitals. A mean
#        average precision is then lower for no fault of the model, and "best so far" is never
#        beaten by nan.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/python" -m pip install --quiet scikit-learn==1.9.1 numpy==2.4.6 || exit 2
cd "$folder" && "$folder/venv/bin/python" - <<'PY'
import sys
import warnings

import numpy as np
import sklearn
from sklearn.metrics import average_precision_score, roc_auc_score

print("scikit-learn", sklearn.__version__, "Python", sys.version.split()[0])
rng = np.random.default_rng(0)
labels = np.stack([rng.random(400) < 0.3, rng.random(400) < 0.1, np.zeros(400, bool)], axis=1)
scores = labels + rng.normal(size=labels.shape)
present = labels[:, :2], scores[:, :2]  # the two findings that occur

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    auroc = {how: roc_auc_score(labels, scores, average=how) for how in ("macro", "weighted")}
    precision = average_precision_score(labels, scores, average="macro")
auroc_present = {how: roc_auc_score(*present, average=how) for how in ("macro", "weighted")}
precision_present = average_precision_score(*present, average="macro")
for how in auroc:
    print(f"AUROC, {how}: {auroc[how]:.3f}; of the two that occur {auroc_present[how]:.3f}")
print(f"average precision, macro: {precision:.3f}; of the two that occur {precision_present:.3f}")
print("warnings:", *sorted({str(each.message) for each in caught}), sep="\n  ")
holds = (
    np.isnan(auroc["macro"])
    and np.isclose(auroc["weighted"], auroc_present["weighted"])
    and np.isclose(precision, precision_present * 2 / 3)
)
print("the finding holds" if holds else "the behaviour has changed")
sys.exit(0 if holds else 1)
PY
