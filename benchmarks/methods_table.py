"""What each self-supervised method's frozen features know, beside random weights and ImageNet's, on one patient split.

Prepares the films once (NIH ChestX-ray14 by default; ``--source chexpert`` for phantoms), splits
them by patient (seed 0, 20 % test, 10 % validation), then for each method pretrains by ``--config
small`` and probes its features on the test
patients: nearest neighbours and a linear layer, mean AUROC with 95 % intervals over patients, and
the difference to random weights of the same network, paired on the same films. Every row is the
``hilum`` commands that a user would type; they are kept in the row's file. A finished row is
skipped, an unfinished one goes on where it was.

Run: ``python benchmarks/methods_table.py --data ../shared/data/nih14 --out methods [--write
docs/methods.md]``. About two hours on 2 cores. Research use only, not a medical device.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EPOCHS = {"moco": 12, "simclr": 8, "byol": 8, "swav": 7}
"""Passes over the films by method: what about half an hour on 2 cores allows."""
BEGIN, END = "<!-- table of benchmarks/methods_table.py -->", "<!-- end of table -->"
HEADER = (
    "| features | epochs | seconds | films/s | kNN: mean AUROC | linear: mean AUROC "
    "| kNN minus random | linear minus random |\n|---|---|---|---|---|---|---|---|"
)


@dataclass
class Row:
    """One line of the table, kept in a JSON file."""

    name: str
    commands: list[str]
    training: dict[str, Any] | None = None
    probe: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """Return the row in Markdown."""
        cells = [
            self.name,
            *self._training(),
            *(_estimate(self.probe, name) for name in ("knn", "linear")),
        ]
        return (
            "| "
            + " | ".join([*cells, *(_difference(self.probe, name) for name in ("knn", "linear"))])
            + " |"
        )

    def _training(self) -> list[str]:
        if self.training is None:
            return ["", "", ""]
        seconds = self.training["films_seen"] / self.training["images_per_second"]
        return [
            str(self.training["epochs"]),
            f"{seconds:.0f}",
            f"{self.training['images_per_second']:.0f}",
        ]


def _estimate(probe: dict[str, Any], name: str) -> str:
    value, ends = probe[f"{name}_auroc_macro"], probe[f"{name}_auroc_macro_interval"]
    return "not available" if ends is None else f"{value:.3f} ({ends[0]:.3f} to {ends[1]:.3f})"


def _difference(probe: dict[str, Any], name: str) -> str:
    against = probe["against"]
    if against is None:
        return ""
    value, ends = against[f"{name}_auroc_macro"], against[f"{name}_auroc_macro_interval"]
    if ends is None:
        return "not available"
    shown = "" if ends[0] > 0 or ends[1] < 0 else ", no difference shown"
    return f"{value:+.3f} ({ends[0]:+.3f} to {ends[1]:+.3f}){shown}"


class Table:
    """Makes the rows one after the other below one folder."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen, self.out = chosen, Path(chosen.out)
        self.store = self.out / "store"
        self.commands: list[str] = []

    def make(self) -> list[Row]:
        """Prepare, split, and return all rows."""
        if not (self.store / "manifest.json").is_file():
            self._hilum(
                "prepare",
                self.chosen.source,
                self.chosen.data,
                "--size",
                self.chosen.size,
                "--out",
                self.store,
            )
        self._hilum("split", self.store, "--seed", 0, "--test", 0.2, "--val", 0.1)
        rows = [self._method(name) for name in self.chosen.methods]
        backbone = ("--backbone", self.chosen.backbone)
        rows.append(self._probed(f"random, {self.chosen.backbone}", "random", *backbone))
        if self.chosen.imagenet:
            imagenet = ("--backbone", self.chosen.imagenet_backbone)
            name = f"ImageNet, {self.chosen.imagenet_backbone}"
            rows.append(self._probed(name, self.chosen.imagenet, *imagenet, "--against", "random"))
            rows.append(
                self._probed(f"random, {self.chosen.imagenet_backbone}", "random", *imagenet)
            )
        return rows

    def _method(self, name: str) -> Row:
        kept = self.out / f"{name}.json"
        if kept.is_file():
            return Row(**json.loads(kept.read_text()))
        run, epochs = self.out / name, self.chosen.epochs or EPOCHS[name]
        self.commands = []
        asked = ("--config", "small", "--backbone", self.chosen.backbone, "--train.epochs", epochs)
        result = self._hilum(
            "pretrain", name, "--data", self.store, "--out", run, *asked, *self.chosen.more
        )
        result |= {"epochs": epochs, "films_seen": epochs * result["films"]}
        row = Row(name, self.commands, result)
        return self._finish(kept, row, str(run), "--against", "random")

    def _probed(self, name: str, *subject: Any) -> Row:
        kept = self.out / f"{name.replace(', ', '-')}.json"
        if kept.is_file():
            return Row(**json.loads(kept.read_text()))
        self.commands = []
        return self._finish(kept, Row(name, self.commands), *subject)

    def _finish(self, kept: Path, row: Row, *subject: Any) -> Row:
        asked = ("--split", self.chosen.split, "--fraction", self.chosen.fraction)
        row.probe = self._hilum("probe", *subject, "--data", self.store, *asked)
        row.commands = list(self.commands)
        kept.write_text(json.dumps(vars(row), indent=1))
        return row

    def _hilum(self, *words: Any) -> dict[str, Any]:
        """Run a command as a user would and return its JSON line."""
        command = [sys.executable, "-m", "hilum", *map(str, words), "--json"]
        self.commands.append(shlex.join(["hilum", *command[3:-1]]))
        print(self.commands[-1], file=sys.stderr, flush=True)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.returncode)
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result


def markdown(rows: list[Row], chosen: argparse.Namespace) -> str:
    """Return the table and what it was measured on."""
    probe = rows[0].probe
    measured = (
        f"{probe['films']:,} films of {probe['patients']:,} patients of the `{chosen.split}`, "
        f"{probe['training_films']:,} labelled films for the probes; means over "
        f"{len(probe['findings_scored'])} findings with at least 20 positive patients."
    )
    return "\n".join([measured, "", HEADER, *(row.line() for row in rows)])


def write_into(page: Path, text: str) -> None:
    """Put the table between its marks in a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        raise SystemExit(f"{page} has no place for the table: a line {BEGIN!r} and a line {END!r}")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="root of the data set")
    parser.add_argument("--source", default="nih14")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the store, the runs and the rows"
    )
    parser.add_argument("--methods", nargs="+", default=list(EPOCHS), choices=list(EPOCHS))
    parser.add_argument(
        "--epochs", type=int, help="passes over the films; the method's own unless given"
    )
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--split", default="test", choices=("val", "test"))
    parser.add_argument("--fraction", type=float, default=1.0)
    parser.add_argument(
        "--imagenet", help="'imagenet' or a file with published weights; left out unless given"
    )
    parser.add_argument("--imagenet-backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--write", type=Path, help="page to put the table into")
    parser.add_argument("more", nargs="*", help="after --: further options of every pretraining")
    return parser.parse_args()


def main() -> None:
    """Make the table and print it."""
    chosen = parse()
    text = markdown(Table(chosen).make(), chosen)
    print(text)
    if chosen.write:
        write_into(chosen.write, text)


if __name__ == "__main__":
    main()
