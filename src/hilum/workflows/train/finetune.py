"""Fine-tuning: a classifier learns from a fraction of the labels."""

from __future__ import annotations

from hilum.listener import SILENT, Listener
from hilum.workflows.train.classifier import train_classifier
from hilum.workflows.train.labelling_options import PseudoOptions
from hilum.workflows.train.options import FinetuneOptions
from hilum.workflows.train.run import TrainingResult
from hilum.workflows.train.self_training import self_train, self_trains


def finetune(options: FinetuneOptions, listener: Listener = SILENT) -> TrainingResult:
    """Fine-tune a classifier into a run folder; an unfinished run continues, a finished one is left alone.

    The validation films choose the epoch (mean AUROC), each finding's temperature and shift, and
    then its threshold (Youden's index). Under the policy self-train a first model labels the
    uncertain cells, see ``workflows.train.self_training``.

    Raises:
        HilumError: The user can mend it; see the line.
        Interrupted: SIGINT or SIGTERM came; all is saved.
        SystemExit: In a rank other than 0; rank 0 reports the reason.
    """
    uncertain = self_trains(options.labels)
    if options.self_train != PseudoOptions() and not uncertain:
        listener.note(
            "--self-train.* changes nothing here: no finding has --labels.uncertain self-train"
        )
    if uncertain and options.pseudo_labels is None:
        return self_train(options, listener)
    return train_classifier(options, options.pseudo_labels, listener)
