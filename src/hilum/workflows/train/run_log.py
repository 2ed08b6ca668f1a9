"""What a fine-tuning logs of its training set: the sampling, the pseudo-labels."""

from __future__ import annotations

import numpy as np

from hilum.counts import counted
from hilum.listener import Listener
from hilum.training.run_folder import RunFolder
from hilum.workflows.train.training_set import TrainingSet


def log_sampling(training_set: TrainingSet, run: RunFolder, listener: Listener) -> None:
    """Log once how weighted sampling changes the findings' prevalences; nothing without it."""
    sampling = training_set.sampling
    if sampling is None or _logged(run, "sampler"):
        return
    before, after = sampling.before.tolist(), sampling.after.tolist()
    run.log(
        event="sampler",
        step=0,
        findings=list(training_set.findings),
        before=before,
        after=after,
        distinct=sampling.distinct,
    )
    known = np.where(sampling.before > 0, sampling.before, np.nan)
    rarest = 0 if np.isnan(known).all() else int(np.nanargmin(known))
    listener.note(
        f"draws films by weight: {training_set.findings[rarest]} from {before[rarest]:.2%} to "
        f"{after[rarest]:.2%} of them; {sampling.distinct:.0%} of the films come in an epoch"
    )


def log_pseudo_labels(
    training_set: TrainingSet, run: RunFolder, listener: Listener, digest: str
) -> None:
    """Log once how many cells are pseudo-labels; ``digest`` is the SHA-256 of their table."""
    if training_set.pseudo is None or _logged(run, "pseudo-labels"):
        return
    leaning = training_set.labels.targets >= 0.5
    present = (training_set.pseudo & leaning).sum(axis=0)
    absent = (training_set.pseudo & ~leaning).sum(axis=0)
    cells = {
        name: {"present": int(p), "absent": int(a)}
        for name, p, a in zip(training_set.findings, present, absent, strict=True)
    }
    films = int(training_set.pseudo.any(axis=1).sum())
    run.log(event="pseudo-labels", step=0, films=films, findings=cells, sha256=digest)
    listener.note(
        f"learns from {int(present.sum())} present and {int(absent.sum())} absent pseudo-labels of "
        f"{counted(films, 'film')}, {len(training_set.rows) - training_set.labelled} of them without a label "
        "of their own"
    )


def _logged(run: RunFolder, event: str) -> bool:
    return any(known.get("event") == event for known in run.events())
