"""Training curves of a run, each with how to read it: loss, pace, collapse monitor and online probe."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from hilum.pages.charts.axes import NOT_AVAILABLE
from hilum.pages.charts.curves import Line, curves, is_long
from hilum.pages.read import Run

OPTION = re.compile(r"(?<!\S)--[a-z][a-z_.-]*[a-z]")
LEAST_STD, HIGHEST_COSINE, LEAST_RANK, LEAST_DEVIATION = 0.2, 0.95, 2.0, 0.1
"""Where the monitor warns of collapse, as ``hilum.training.collapse`` has it (which imports too much
for a page)."""


@dataclass(frozen=True)
class Chart:
    """A chart with its title, a sentence that says how to read it, and its curves' names if they are several."""

    title: str
    picture: Markup
    reading: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class OnlineProbe:
    """Results of the online probe: its chart, and the last AUROC of each finding by kNN and a linear layer."""

    chart: Chart
    step: int
    films: int | None
    rows: tuple[tuple[str, str, str], ...]


def training_charts(run: Run) -> list[Chart]:
    """Return the charts of loss, validation and pace; what the log lacks is left out."""
    reading, chance = "Mean loss of the steps since the last point; lower is better. ", run.chance
    if chance is None:
        reading += "Losses of different methods or options cannot be compared."
    else:
        reading += (
            f"The broken line is chance: the loss of guessing, {chance:.2f}. A curve that falls "
            "below it and goes on falling is a good sign, one that stays there a bad one. A collapse can have a low "
            "loss too: the collapse monitor would show it."
        )
    level = None if chance is None else ("chance", chance)
    picture = curves([Line("loss", 0, run.curve("loss"))], "step", "loss", level)
    charts = [Chart("Loss", picture, reading)]
    if scores := run.curve("score", "validation"):
        lines, level = [Line("validation", 0, scores)], ("guessing", 0.5)
        picture = curves(lines, "step", "mean AUROC, validation", level, step=0.1, shown=(0.4,))
        reading = (
            "Mean AUROC on validation films after each epoch; 0.5 is guessing. "
            "The best model is kept, not the last."
        )
        charts.append(Chart("Validation", picture, reading))
    for key, title, y_title, reading, form, shown in PACE:
        if points := run.curve(key):
            picture = curves([Line(title, 0, points)], "step", y_title, form=form, shown=shown)
            charts.append(Chart(title, picture, reading))
    if deviations := run.curve("deviation", "health"):
        charts.append(_deviation(deviations))
    return charts


def monitor_charts(run: Run) -> list[Chart]:
    """Return the charts of the collapse monitor's measures of the embeddings; none where it never ran."""
    charts = []
    if spread := run.curve("embedding_std", "health"):
        charts.append(_spread(spread))
    if cosines := run.curve("mean_cosine", "health"):
        lines, level = [Line("cosine", 0, cosines)], ("warns above", HIGHEST_COSINE)
        picture = curves(lines, "step", "mean cosine", level, shown=(0.0, 1.0))
        reading = (
            "Mean cosine of the embeddings of two different films: about 0 where films differ, "
            "1 where they all get the same embedding (collapse)."
        )
        charts.append(Chart("Similarity of different films", picture, reading))
    ranks = {
        "embeddings": run.curve("effective_rank", "health"),
        "features": run.curve("feature_rank", "health"),
    }
    if any(ranks.values()):
        lines = [Line(name, index, points) for index, (name, points) in enumerate(ranks.items())]
        level = ("warns below", LEAST_RANK)
        picture = curves(lines, "step", "effective rank", level, shown=(0.0,))
        reading = (
            "Number of directions that the vectors use: the embeddings that the loss compares, and the backbone's "
            "features, which are what is kept. More is richer; near 1 all films lie along one line (collapse)."
        )
        charts.append(Chart("Effective rank", picture, reading, tuple(ranks)))
    if used := run.curve("prototypes_used", "health"):
        charts.append(_prototypes(used, run.options.get("method", {}).get("prototypes")))
    return charts


def online_probe(run: Run) -> OnlineProbe | None:
    """Return the results of the online probe, None where it never ran."""
    results = run.named("online-probe")
    if not results:
        return None
    lines = [
        Line(name, index, run.curve(name, "online-probe"))
        for index, name in enumerate(("knn", "linear"))
    ]
    chart = Chart(
        "AUROC of the frozen features",
        curves(lines, "step", "mean AUROC", ("guessing", 0.5), step=0.1, shown=(0.4,)),
        "Mean AUROC over the findings, read from the frozen backbone's features by nearest neighbours (kNN) and by a "
        "linear classifier. 0.5 is guessing; a curve that rises says that the findings become easier to tell apart.",
        ("kNN", "linear"),
    )
    last = results[-1]
    findings = last.get("findings")
    rows = tuple(
        (str(name), _auroc(finding, "knn"), _auroc(finding, "linear"))
        for name, finding in (findings.items() if isinstance(findings, dict) else ())
    )
    return OnlineProbe(chart, last["step"], last.get("films"), rows)


def warnings(run: Run) -> list[Markup]:
    """Return the monitor's warnings in the order of the steps, with options as code."""
    lines = [str(escape(event["line"])) for event in run.named("warning") if "line" in event]
    return [Markup(OPTION.sub(r"<code>\g<0></code>", line)) for line in lines]


def has_band(run: Run) -> bool:
    """Whether the curves of the steps' lines are drawn as a band and their means."""
    return is_long(run.curve("loss"))


def continued(run: Run) -> list[str]:
    """Return the steps at which an interrupted run was taken up again."""
    return [f"{event['step']:,}" for event in run.named("resumed")]


PACE = (
    (
        "lr",
        "Learning rate",
        "learning rate",
        "It rises during the warm-up and falls to the end. A loss that leaps while the rate is highest asks for a "
        "lower one.",
        "",
        (0.0,),
    ),
    (
        "gradient_norm",
        "Gradient norm",
        "gradient norm",
        "Norm of the gradient before clipping, which should keep its order of magnitude. Leaps go with a rate that is "
        "too high; near 0 nothing is learnt any more.",
        "",
        (0.0,),
    ),
    (
        "images_per_second",
        "Pace",
        "films a second",
        "Films trained on in a second. A dip means that something else used the machine.",
        "",
        (0.0,),
    ),
    (
        "waiting",
        "Waiting for films",
        "fraction of the time",
        "Fraction of the time in which training waited for films to be read. Near 0% the network is the bottleneck; "
        "above about 10% the disk is.",
        "{:.0%}",
        (0.0, 0.2),
    ),
)
"""Value of a step's line, title, name of the axis, how to read it, how its numbers are written,
what the axis shows."""


def _spread(points: Sequence[tuple[float, float]]) -> Chart:
    picture = curves(
        [Line("spread", 0, points)],
        "step",
        "embedding std",
        ("warns below", LEAST_STD),
        shown=(0.0, 1.0),
    )
    return Chart(
        "Spread of the embeddings",
        picture,
        "Standard deviation of the unit-length embeddings, times the root of their length: 1 where they point evenly "
        "in all directions, 0 where all films get the same one (collapse).",
    )


def _prototypes(points: Sequence[tuple[float, float]], there_are: Any) -> Chart:
    of = f" of the {there_are:,}" if isinstance(there_are, int) else ""
    return Chart(
        "Prototypes used",
        curves([Line("prototypes", 0, points)], "step", "prototypes", shown=(0.0,)),
        f"Effective number{of} of prototypes that films are assigned to. A handful "
        "means that all films fall into the same few groups.",
    )


def _deviation(points: Sequence[tuple[float, float]]) -> Chart:
    level = ("warns below", LEAST_DEVIATION)
    return Chart(
        "Deviation of the embeddings",
        curves([Line("deviation", 0, points)], "step", "deviation", level, shown=(0.0, 1.0)),
        "Standard deviation of a dimension of the embeddings over films, mean: VICReg holds it at 1; near 0 the films "
        "all come to one point (collapse).",
    )


def _auroc(finding: Any, probe: str) -> str:
    value = finding.get(probe) if isinstance(finding, dict) else None
    return f"{value:.3f}" if isinstance(value, float | int) else NOT_AVAILABLE
