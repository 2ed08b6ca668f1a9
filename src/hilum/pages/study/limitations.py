"""What a study does not show: limitations drawn from its own facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hilum.counts import counted
from hilum.findings import COMPETITION
from hilum.pages.study.data_checks import data_limits
from hilum.pages.study.per_finding import positive_patients
from hilum.pages.study.pseudo_label_limits import self_training_limits
from hilum.pages.study.read import Study
from hilum.pages.study.results import percent
from hilum.pages.wording import listed

FEW_SEEDS, FEW_PATIENTS, FEW_EPOCHS, SMALL = 5, 50, 100, 224
"""Below which seeds, positive patients, pretraining's epochs and pixels are named as limits."""
MINED = ("nih14", "chexpert", "mimic", "chestmnist")
"""Sources whose training labels programs took from reports."""

Limit = tuple[str, str]


def limits(study: Study) -> list[Limit]:
    """Return each limitation: its first words, and the sentence that gives the study's own numbers."""
    own = [
        *_status(study),
        *_data(study),
        *_seeds(study),
        *_few(study),
        *self_training_limits(study),
        *_budget(study),
        *data_limits(study),
    ]
    return [*own, *ALWAYS]


ALWAYS: tuple[Limit, ...] = (
    (
        "One source.",
        "Every test film comes from the source that the models were trained on. Nothing here says how they do on films "
        "of another hospital, machine or time.",
    ),
    (
        "Heatmaps suggest, they do not prove.",
        "A map shows what moved the score, not why, and each is scaled to its own maximum.",
    ),
)


def _status(study: Study) -> Iterator[Limit]:
    left = [cell for cell in study.record.cells if cell.state in ("waiting", "running")]
    if left:
        yield (
            "Not finished.",
            f"{counted(len(left), 'run')} of {len(study.record.cells)} had not ended when this page was built.",
        )
    if study.record.failed:
        yield (
            "Runs failed.",
            f"{counted(len(study.record.failed), 'run')} ended with an error, named above, and gave no numbers.",
        )


def _data(study: Study) -> Iterator[Limit]:
    size = study.store.preparation.size
    if study.is_drawn:
        yield (
            "Phantoms are drawings.",
            "They check that the program works and that a model must look to answer. Nothing here says how well a "
            "model reads real radiographs.",
        )
    elif study.store.source.startswith(MINED):
        yield (
            "Labels mined from reports.",
            "Programs took the labels from what radiologists wrote: some are wrong, and what a report leaves out is "
            "not seen. The scores say how well a model agrees with these labels.",
        )
    if size < SMALL:
        yield (
            f"{size} px.",
            f"Films were brought to {size} x {size} px. Small findings, such as nodules and fractures, are hardly to "
            "be seen at that size, and results at larger sizes may rank the models otherwise.",
        )


def _seeds(study: Study) -> Iterator[Limit]:
    counts = [len(row.seeds) for row in study.rows]
    if counts and min(counts) < FEW_SEEDS:
        many = (
            f"{min(counts)} to {max(counts)} seeds"
            if min(counts) != max(counts)
            else counted(min(counts), "seed")
        )
        yield (
            f"{many[:1].upper()}{many[1:]}.",
            "Each model was trained that often at each fraction of the labels"
            + (
                ", each time on another labelled subset: their spread holds both."
                if max(counts) > 1
                else ". Another seed would give other numbers, often by a few hundredths."
            ),
        )
    if any(cell.kind == "pretrain" for cell in study.record.cells):
        yield (
            "One pretraining a model.",
            "All seeds of a model start from the same pretraining: their spread does not hold what another would give.",
        )
    if study.rows:
        yield (
            "The intervals cover patients, not training seeds.",
            "They say how the result of these very models would vary over other patients of the same kind. “No "
            "difference shown” means that the corrected test does not tell the models apart, not that they are equal.",
        )


def _few(study: Study) -> Iterator[Limit]:
    """Yield findings with few positive patients, and means over fewer findings."""
    counts = positive_patients(study)
    few = [f"{name} ({count})" for name, count in counts.items() if count < FEW_PATIENTS]
    if few:
        yield (
            "Few positive patients.",
            f"Fewer than {FEW_PATIENTS} test patients have {listed(few)}: their numbers are uncertain.",
        )
    scored = study.analysis.test.findings_scored if study.analysis else ()
    fewer = [
        f"{row.model} on {percent(row.fraction)}"
        for row in study.rows
        if row.findings_scored is not None and row.findings_scored != tuple(scored)
    ]
    if fewer:
        yield (
            "Means over fewer findings.",
            f"{listed(fewer)} of the labels had no label "
            "of some finding to learn from and cannot call it: that mean is over the others. Differences are over the "
            "findings that both models call.",
        )
    five = next((row.competition.findings for row in study.rows if row.competition), ())
    if 0 < len(five) < len(COMPETITION):
        yield (
            "Not all of the five.",
            f"Of CheXpert's five findings only {listed(list(five))} had enough positive test patients to be scored.",
        )
    out = [name for name in counts if name not in scored]
    if out and study.analysis:
        least = study.analysis.test.min_positives
        yield (
            "Findings left out.",
            f"The means leave out {listed(out)}: fewer than {least} positive test patients, or no score.",
        )


def _budget(study: Study) -> Iterator[Limit]:
    """Yield how few learning rates and epochs were tried."""
    cells = study.record.cells
    rates = sorted({cell.lr for cell in cells if cell.kind == "finetune" and cell.lr is not None})
    if rates:
        tried = listed([f"{rate:g}" for rate in rates])
        models: Any = study.record.plan.get("models")
        models = models if isinstance(models, dict) else {}
        own_epochs = [name for name, options in models.items() if options.get("epochs")]
        frozen = [name for name, options in models.items() if options.get("freeze")]
        but = [f"the epochs of {listed(own_epochs)}"] * bool(own_epochs)
        but += [f"that of {listed(frozen)} only the output layer learns"] * bool(frozen)
        exceptions = f", but for {' and '.join(but)}" if but else ""
        yield (
            "A small tuning budget.",
            f"The first seed of every model tried {counted(len(rates), 'learning rate')} ({tried}); all other options "
            f"of fine-tuning are the same for all{exceptions}. A model may do better with options of its own.",
        )
    fewest, trainings = FEW_EPOCHS, []
    for cell in cells:
        run = study.run(cell)
        epochs: Any = run.options.get("train", {}).get("epochs") if run else None
        if cell.kind == "pretrain" and run is not None and isinstance(epochs, int):
            films = run.training.films if run.training else 0
            fewest = min(fewest, epochs)
            trainings.append(
                f"{cell.model} {counted(epochs, 'epoch')} over {counted(films, 'film')}"
            )
    if fewest < FEW_EPOCHS:
        yield (
            "Short pretraining.",
            f"{listed(trainings)}: published pretraining takes hundreds of epochs over far more films.",
        )


def fractions_in_words(fractions: Sequence[float]) -> str:
    """Return fractions of the labels as a sentence has them."""
    return listed([percent(fraction) for fraction in fractions])
