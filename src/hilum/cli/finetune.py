"""``hilum finetune``: train a classifier."""

from typing import Annotated

from hilum.cli.shared import FLAT, UNSHARED, Shared, answer, speaks, training_text
from hilum.cli.terminal.console import listening
from hilum.workflows.train.options import FinetuneOptions


def finetune(*, options: Annotated[FinetuneOptions, FLAT], shared: Shared = UNSHARED) -> None:
    """Train a classifier of findings on all or a fraction of the labels, from random or pretrained weights.

    Validation films choose the epoch, each finding's calibration and its threshold; with --validation
    within, films of the labelled patients themselves do. Research use only, not a medical device.

    Examples:
      hilum finetune --data store --out runs/scratch --backbone resnet18
      hilum finetune --data store --out runs/moco-10 --init runs/moco --fraction 0.1
      hilum finetune --config few-labels --data store --init runs/moco --out few
      hilum finetune --data store --out runs/ones --labels.per-finding.Edema ones
      hilum finetune --data store --out runs/rare --sampler weighted
    """
    from hilum.workflows.train.finetune import finetune as run

    with listening() as listener:
        result = run(options, listener)
    if speaks():
        answer(shared, result, training_text(result))
