"""Does the watch's alarm fire on networks that collapse, and keep quiet over those that learn?

Draws phantoms once and pretrains on them as users do (`hilum.workflows.train.pretrain`): for each
method five runs with a collapse planted, by an option that a user could give or by a slip that code
could hold, and five healthy ones of other seeds and options. A run's state is told without the
alarm: by the margin, how much nearer (mean cosine) the two crops of a film lie than those of two
films. Where it is below 0.05 at most looks after the warm-up the network cannot tell films apart; a
healthy one must end above 0.1, with its loss below 0.95 of chance. A run that is not what it was
meant to be is named, and not counted.

Prints a line a run: whether the alarm fired, its kind and step, the steps since the warm-up ended
and since the first look at which the collapse was there; then the counts. ``--json`` ends with one
line of JSON that holds every look. Exits 1 unless the alarm fired on every planted run and on no
healthy one.

Run: ``python benchmarks/collapse_check.py``. About ten minutes on one core. Research use only, not
    a medical device.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from hilum.errors import RunError
from hilum.methods import load_method
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.training.collapse import quiet_steps
from hilum.training.monitor_options import MonitorOptions
from hilum.training.options import TrainOptions
from hilum.training.run_folder import read_log
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.train.options import PretrainOptions
from hilum.workflows.train.pretrain import pretrain
from planted_collapses import register
from said import say

COLLAPSED, LEARNT = 0.05, 0.1
"""Margin below which a network has collapsed, and above which it has learnt. Untrained networks
have about 0.01."""
BELOW_CHANCE = 0.95
"""Share of the loss at chance that a healthy run ends below."""


@dataclass(frozen=True)
class Plan:
    """A run to make: the class that is trained, and what differs from the defaults."""

    method: str
    words: str
    planted: bool
    learner: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    seed: int = 0


METHOD_NAMES = ("moco", "simclr", "byol", "swav", "vicreg")
RATE, DECAY = 10.0, 1000.0
"""What plants a collapse in every method: a rate, or a weight decay, ten thousand and more times
the usual."""


def planted() -> list[Plan]:
    """Return five collapses a method."""
    plans = [
        Plan(method, f"--train.weight-decay {DECAY:g}", True, train={"weight_decay": DECAY})
        for method in METHOD_NAMES
    ]
    plans.append(Plan("simclr", "black crops", True, "SimCLRWithBlackCrops"))
    # With batch norm in the head a network recovers from this rate as the schedule lowers it;
    # MoCo's head has none.
    plans += [
        Plan(
            method,
            f"--train.lr {RATE:g} --method.no-batch_norm",
            True,
            "",
            {"batch_norm": False},
            {"lr": RATE},
        )
        for method in ("byol", "swav")
    ]
    sgd = {"optimiser": "sgd", "lr": 100.0, "clip": 0.0}
    plans += [
        Plan("moco", f"--train.lr {RATE:g}", True, train={"lr": RATE}),
        Plan("moco", "no negatives: twins are only drawn together", True, "MoCoWithoutNegatives"),
        Plan("moco", "stale queue: keys are never pushed", True, "MoCoWithStaleQueue"),
        Plan("moco", "wrong twins: keys left in shuffled order", True, "MoCoWithWrongTwins"),
        Plan(
            "simclr", "no negatives: twins are only drawn together", True, "SimCLRWithoutNegatives"
        ),
        Plan("simclr", "wrong twins: the next film's crop", True, "SimCLRWithWrongTwins"),
        Plan("simclr", "--train.optimiser sgd --train.lr 100 --train.clip 0", True, train=sgd),
        Plan("byol", "no predictor", True, "BYOLWithoutPredictor"),
        Plan(
            "byol",
            "no predictor and no batch norm",
            True,
            "BYOLWithoutPredictor",
            {"batch_norm": False},
        ),
        Plan(
            "byol", "no predictor, no slow copy, gradient on both sides", True, "BYOLWithoutTarget"
        ),
        Plan("swav", "no Sinkhorn: codes are a softmax of scores", True, "SwAVWithoutSinkhorn"),
        Plan("swav", "codes averaged over the batch", True, "SwAVWithOneCode"),
        Plan("swav", "black crops", True, "SwAVWithBlackCrops"),
        Plan(
            "vicreg",
            "--method.variance 0.001: hardly anything keeps films apart",
            True,
            options={"variance": 0.001},
        ),
        Plan("vicreg", "black crops", True, "VICRegWithBlackCrops"),
        Plan("vicreg", "no variance term", True, "VICRegWithoutVariance"),
        Plan(
            "vicreg",
            "no variance term and no batch norm",
            True,
            "VICRegWithoutVariance",
            {"batch_norm": False},
        ),
    ]
    return _seeded(plans)


def healthy() -> list[Plan]:
    """Return five healthy runs a method: the defaults, the values of the `small` preset, and what users change.

    SwAV is mostly given no local crops: with them it is often still near chance after so few steps,
    and does not count.
    """
    slow = {"lr": 5e-4}
    plans = [
        Plan("moco", "defaults", False),
        Plan("moco", "small preset", False, options={"queue_size": 2048}),
        Plan("moco", "--method.key-splits 1", False, options={"key_splits": 1}),
        Plan("moco", "--method.symmetric", False, options={"symmetric": True}),
        Plan(
            "moco",
            "--train.optimiser sgd --train.lr 0.03",
            False,
            train={"optimiser": "sgd", "lr": 0.03},
        ),
        Plan("simclr", "defaults", False),
        Plan("simclr", "defaults, another seed", False),
        Plan("simclr", "--method.temperature 0.1", False, options={"temperature": 0.1}),
        Plan("simclr", "--train.lr 0.0005", False, train=slow),
        Plan(
            "simclr",
            "--train.optimiser sgd --train.lr 0.03",
            False,
            train={"optimiser": "sgd", "lr": 0.03},
        ),
        Plan("byol", "defaults", False),
        Plan("byol", "defaults, another seed", False),
        Plan(
            "byol",
            "small preset",
            False,
            options={"hidden_size": 512, "embedding_size": 128},
            train=slow,
        ),
        Plan("byol", "--method.ema-decay 0.9", False, options={"ema_decay": 0.9}),
        Plan("byol", "--train.warmup 0.3", False, train={"warmup": 0.3}),
        Plan("vicreg", "defaults", False),
        Plan("vicreg", "defaults, another seed", False),
        Plan("vicreg", "--method.embedding-size 64", False, options={"embedding_size": 64}),
        Plan("vicreg", "--method.covariance 0.2", False, options={"covariance": 0.2}),
        Plan("vicreg", "--train.lr 0.0005", False, train=slow),
        Plan("swav", "defaults", False),
        Plan("swav", "--method.local-crops 0", False, options={"local_crops": 0}),
        Plan("swav", "--method.queue-size 0", False, options={"queue_size": 0}),
        Plan(
            "swav",
            "no local crops, --method.queue-size 0",
            False,
            options={"local_crops": 0, "queue_size": 0},
        ),
        Plan(
            "swav",
            "no local crops, --method.iterations 5",
            False,
            options={"local_crops": 0, "iterations": 5},
        ),
    ]
    return _seeded(plans)


def _seeded(plans: Sequence[Plan]) -> list[Plan]:
    """Return the plans by method, each with a seed of its own."""
    ordered = sorted(plans, key=lambda plan: METHOD_NAMES.index(plan.method))
    return [replace(plan, seed=seed) for seed, plan in enumerate(ordered)]


def short_form() -> list[Plan]:
    """Return one planted and one healthy run a method, for a quick trial: the likeliest slips, and the defaults."""
    slips = {plan.method: plan for plan in reversed(planted()) if plan.learner in SHORT}
    whole = {plan.method: plan for plan in reversed(healthy())}
    return [*slips.values(), *whole.values()]


SHORT = (
    "MoCoWithoutNegatives",
    "SimCLRWithoutNegatives",
    "BYOLWithoutPredictor",
    "SwAVWithoutSinkhorn",
    "VICRegWithoutVariance",
)


@dataclass(frozen=True)
class Told:
    """What a run's log tells."""

    plan: Plan
    quiet: int
    looks: list[dict[str, Any]]
    warnings: list[dict[str, Any]]
    loss: float
    chance: float
    stopped: str | None

    @property
    def judged(self) -> list[dict[str, Any]]:
        """The looks after the warm-up."""
        return [look for look in self.looks if look["step"] > self.quiet]

    @property
    def as_meant(self) -> bool:
        """Whether the run was collapsed at most looks, as planted, or learnt as a healthy one should."""
        if self.plan.planted:
            return median(look["margin"] for look in self.judged) < COLLAPSED
        return (
            self.looks[-1]["margin"] > LEARNT
            and self.loss < BELOW_CHANCE * self.chance
            and self.stopped is None
        )

    @property
    def began(self) -> int:
        """The first judged look at which the margin says that the network has collapsed."""
        return next(int(look["step"]) for look in self.judged if look["margin"] < COLLAPSED)

    def record(self) -> dict[str, Any]:
        """Return the run as JSON holds it; delays are in steps."""
        plan, first = self.plan, self.warnings[0] if self.warnings else None
        told = {
            "method": plan.method,
            "words": plan.words,
            "planted": plan.planted,
            "seed": plan.seed,
        }
        told |= {
            "as_meant": self.as_meant,
            "fired": first is not None,
            "kinds": [w["kind"] for w in self.warnings],
        }
        told |= {
            "loss": self.loss,
            "chance": self.chance,
            "margin": self.looks[-1]["margin"],
            "stopped": self.stopped,
        }
        if first is not None:
            told |= {"step": first["step"], "after_warmup": first["step"] - self.quiet}
            told |= (
                {"after_collapse": first["step"] - self.began}
                if plan.planted and self.as_meant
                else {}
            )
        return {**told, "looks": self.looks}


def draw(count: int, folder: Path) -> Path:
    """Draw phantoms, prepare them and return the store."""
    write_phantoms(folder / "films", PhantomOptions(count, 64, prevalence="even"))
    prepare(
        read_source("chexpert", folder / "films"), folder / "store", PrepareOptions(64, workers=1)
    )
    return folder / "store"


def make(plan: Plan, store: Path, out: Path, chosen: argparse.Namespace) -> Told:
    """Make a run and return what its log tells."""
    name = plan.learner or f"Measured{load_method(plan.method).__name__}"
    train = {
        "epochs": chosen.epochs,
        "batch_size": chosen.batch,
        "size": chosen.size,
        "seed": plan.seed,
    }
    options = TrainOptions(**{**train, "accelerator": "cpu", "log_every": 3, **plan.train})
    monitor = MonitorOptions(probe_films=0)
    given = PretrainOptions(
        data=(store,), out=out, backbone=chosen.backbone, train=options, monitor=monitor
    )
    stopped = None
    try:
        pretrain(name, load_method(name).Options(**plan.options), given)
    except RunError as error:
        stopped = str(error)
    log = list(read_log(out))
    return _told(plan, log, options, chosen, stopped)


def _told(
    plan: Plan,
    log: Sequence[dict[str, Any]],
    options: TrainOptions,
    chosen: argparse.Namespace,
    stopped: str | None,
) -> Told:
    kinds = ("health", "warning", "chance")
    looks, warnings, chance = (
        [line for line in log if line.get("event") == kind] for kind in kinds
    )
    losses = [line["loss"] for line in log if "loss" in line]
    recent = losses[-max(len(losses) // chosen.epochs, 1) :]
    steps = max(line["step"] for line in log)
    quiet = quiet_steps(options.warmup, steps)
    return Told(
        plan, quiet, looks, warnings, sum(recent) / len(recent), chance[0]["value"], stopped
    )


def counts(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how many of how many runs the alarm fired on, planted and healthy, and the delays after the warm-up."""
    meant = [record for record in records if record["as_meant"]]
    groups = {
        name: [record for record in meant if record["planted"] is (name == "planted")]
        for name in GROUPS
    }
    found: dict[str, Any] = {
        "not_as_meant": [record["words"] for record in records if not record["as_meant"]]
    }
    for name, group in groups.items():
        found[name] = {"runs": len(group), "fired": sum(record["fired"] for record in group)}
    fired = [record for record in groups["planted"] if record["fired"]]
    for key in ("after_warmup", "after_collapse"):
        delays = sorted(record[key] for record in fired)
        found[key] = {"median": delays[len(delays) // 2], "longest": delays[-1]} if delays else None
    return found


GROUPS = ("planted", "healthy")
HEADER = (
    "| method | run | alarm | step | steps after warm-up | after collapse | margin | loss (chance) |\n"
    + "|---" * 8
    + "|"
)


def row(record: dict[str, Any]) -> str:
    """Return a run's line of the table in Markdown."""
    words = ("planted: " if record["planted"] else "healthy: ") + record["words"]
    meant = "" if record["as_meant"] else " (NOT AS MEANT)"
    places = [str(record.get(key, "")) for key in ("step", "after_warmup", "after_collapse")]
    alarm = ", ".join(dict.fromkeys(record["kinds"])) or "quiet"
    cells = [record["method"], words + meant, alarm, *places, f"{record['margin']:.3f}"]
    return "| " + " | ".join([*cells, f"{record['loss']:.2f} ({record['chance']:.2f})"]) + " |"


def measure(plans: Sequence[Plan], chosen: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Draw phantoms, make the runs one after the other and yield each one's record."""
    with tempfile.TemporaryDirectory() as folder:
        store = draw(chosen.films, Path(folder))
        for number, plan in enumerate(plans):
            yield make(plan, store, Path(folder) / f"run-{number}", chosen).record()


def asked() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in {"films": 400, "size": 32, "batch": 32, "epochs": 16, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--backbone", default="test_resnet")
    parser.add_argument("--methods", nargs="+", default=list(METHOD_NAMES))
    parser.add_argument(
        "--short", action="store_true", help="one planted and one healthy run a method"
    )
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> int:
    """Make the runs, print a line each and the counts; return the exit status."""
    chosen = asked()
    torch.set_num_threads(chosen.threads)
    register()
    plans = short_form() if chosen.short else [*planted(), *healthy()]
    records, began = [], time.perf_counter()
    say(HEADER)
    for record in measure([plan for plan in plans if plan.method in chosen.methods], chosen):
        records.append(record)
        say(row(record))
    found = counts(records) | {"seconds": round(time.perf_counter() - began)}
    for name in GROUPS:
        say(f"{name}: the alarm fired on {found[name]['fired']} of {found[name]['runs']}")
    say(
        f"delays in steps: {found['after_warmup']} after warm-up, {found['after_collapse']} after collapse"
    )
    if chosen.json:
        say(json.dumps({**found, "runs": records}))
    missed = found["planted"]["fired"] < found["planted"]["runs"]
    return int(missed or found["healthy"]["fired"] > 0 or bool(found["not_as_meant"]))


if __name__ == "__main__":
    sys.exit(main())
