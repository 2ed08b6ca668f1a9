"""Training curves of a study: pretraining losses, validation scores, the learning rates tried."""

from __future__ import annotations

from typing import Any

from hilum.pages.charts.curves import Line, curves
from hilum.pages.study.read import Study
from hilum.pages.tables import Table, number, numbers, share, table, word, words


def training_sections(study: Study) -> dict[str, Any]:
    """Return what the page says of the trainings, by the names that its template uses."""
    # Pretrainings' losses are of different kinds: each has axes of its own.
    pretraining = []
    for cell in study.record.cells:
        run = study.run(cell)
        if cell.kind == "pretrain" and run is not None:
            colour = study.names.index(cell.model) % 7 if cell.model in study.names else 0
            chance = ("chance", run.chance) if run.chance is not None else None
            lines = [Line(cell.model, colour, run.curve("loss"))]
            pretraining.append((cell.model, curves(lines, "step", "loss", chance)))
    # The validation AUROC of each model's first chosen run.
    finetuning = []
    for fraction in study.fractions:
        lines = []
        for index, name in enumerate(study.names):
            cells = study.record.chosen(model=name, fraction=fraction, group="main")
            run = study.run(cells[0]) if cells and cells[0].kind == "finetune" else None
            if run:
                lines.append(Line(name, index % 7, run.curve("score", "validation")))
        title, guessing = "mean AUROC, validation", ("chance", 0.5)
        finetuning.append((fraction, curves(lines, "step", title, guessing, step=0.1)))
    return {
        "pretraining": pretraining,
        "finetuning": finetuning,
        "tuning": tuning_table(study),
        "pretrainings": pretraining_table(study),
    }


def pretraining_table(study: Study) -> Table | None:
    """Return the films, epochs and steps of every pretraining."""
    columns = [
        words("model", "model"),
        words("method", "method"),
        words("network", "backbone"),
        numbers("films", "films"),
        numbers("epochs", "epochs"),
        numbers("batch", "batch_size"),
        numbers("steps", "steps"),
        numbers("seconds", "seconds"),
    ]
    rows = []
    for cell in study.record.cells:
        run = study.run(cell)
        if cell.kind == "pretrain" and run is not None:
            train = run.options.get("train", {})
            rows.append(
                [
                    word(cell.model),
                    word(str(cell.method)),
                    word(cell.backbone),
                    number(run.training.films if run.training else None),
                    number(train.get("epochs")),
                    number(train.get("batch_size")),
                    number(run.training.steps if run.training else None),
                    number(cell.seconds, "{:,.0f}"),
                ]
            )
    return table("pretrainings", "Pretrainings", columns, rows) if rows else None


def tuning_table(study: Study) -> Table | None:
    """Return every finished fine-tuning with its rate and its validation AUROC, by which the rate was chosen."""
    columns = [
        words("model", "model"),
        numbers("labels", "fraction"),
        words("policy", "policy"),
        numbers("seed", "seed"),
        numbers("learning rate", "lr"),
        numbers("validation AUROC", "validation_auroc"),
        words("counts", "chosen"),
        numbers("seconds", "seconds"),
    ]
    cells = [
        cell for cell in study.record.cells if cell.kind == "finetune" and cell.state == "done"
    ]
    rows = [
        [
            word(cell.model),
            share(cell.fraction or 1.0),
            word(str(cell.policy)),
            number(cell.seed),
            number(cell.lr, "{:g}"),
            number(cell.validation_auroc, "{:.3f}"),
            word("yes" if cell.chosen else "no"),
            number(cell.seconds, "{:,.0f}"),
        ]
        for cell in cells
    ]
    return table("fine-tunings", "Every fine-tuning", columns, rows) if rows else None
