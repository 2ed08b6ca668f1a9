"""Do a trained model's heatmaps point at the findings? On phantoms, where masks say what was drawn.

Draws phantoms at even prevalence, fine-tunes a network from random weights on them as users do, and
scores its Grad-CAM maps on films of other patients against the masks: pointing game without
tolerance and IoU at Otsu's threshold, for every finding that is there, called or not. Beside it
stand the same network with random weights and head (the mean of three draws, on the same films, so
that differences are paired) and the share of a film that a finding covers, which a point drawn by
lot would hit. Random weights like edges and may do worse than chance, so both are compared with.
``habit`` is what the map of another patient with the same finding hits: findings have their usual
places.

``passes`` is true where the hit rate over findings is at least twice the control's and at least
twice chance, and the 95 % intervals over patients are apart from each. ``learnt`` counts the
findings whose validation AUROC is shown to be above 0.5: a network cannot point at what it has not
learnt.

``--backbone`` chooses the network and with it how long it learns: ResNet-10t, unless given, whose
maps have channels first; ``small_vit`` (tokens) and ``small_swin`` (channels last), which are made
here, as timm has none that one core could train; any other name of timm learns like the ResNet.
Transformers know nothing of neighbours at first and need more films, passes and a longer warm-up.

Everything lies below ``--out``, phantoms and store for all networks of the same count; what is
finished there is not made again, and a training that was stopped goes on. The ResNet takes six
minutes on one core of its own, the others about half an hour.
Run: ``python benchmarks/localisation_check.py --out looks [--backbone small_vit] [--json]``.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import timm
import torch
from torch import nn

from hilum.annotations.known import MaskAnnotations, shown_findings
from hilum.bundle.predictor import Predictor
from hilum.heatmaps.localisation import Located
from hilum.images.films import Films
from hilum.images.store import MANIFEST
from hilum.metrics.above_chance import CHANCE
from hilum.metrics.results import Estimate
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.workflows.evaluate.localisation import Judge, Localisation, control_scores, model_scores
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.study.localisation import unseen_rows
from hilum.workflows.train.finetune import finetune
from hilum.workflows.train.options import FinetuneOptions, FinetuneTrainOptions

SIDE = 64
"""Rows and columns of the films, unless given."""


def sized(network: nn.Module) -> nn.Module:
    """Return a network of this file, which takes films of 64 px and no others."""
    network.pretrained_cfg = {"input_size": (1, SIDE, SIDE), "fixed_input_size": True}
    return network


@timm.models.register_model
def small_vit(*, in_chans: int, num_classes: int, **_: Any) -> nn.Module:
    """A ViT with a class token that one core can train: 8 x 8 places, 4 blocks.

    Its patches are embedded by four small convolutions instead of one large: it then learns from
    thousands of films instead of millions (arXiv 2106.14881).
    """
    shape: dict[str, Any] = {"img_size": SIDE, "patch_size": 8, "embed_dim": 64}
    layers: dict[str, Any] = {"depth": 4, "num_heads": 4, "mlp_ratio": 3}
    network = timm.models.VisionTransformer(
        **shape, **layers, in_chans=in_chans, num_classes=num_classes
    )
    channels = (in_chans, 16, 32, 48)
    steps = [
        nn.Sequential(
            nn.Conv2d(one, other, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(other),
            nn.ReLU(),
        )
        for one, other in pairwise(channels)
    ]
    network.patch_embed.proj = nn.Sequential(*steps, nn.Conv2d(channels[-1], 64, 1))
    return sized(network)


@timm.models.register_model
def small_swin(*, in_chans: int, num_classes: int, **_: Any) -> nn.Module:
    """A Swin that one core can train: stages of 16 x 16 and 8 x 8 places."""
    shape: dict[str, Any] = {"img_size": SIDE, "patch_size": 4, "window_size": 4, "embed_dim": 32}
    layers: dict[str, Any] = {"depths": (1, 2), "num_heads": (2, 4)}
    return sized(
        timm.models.SwinTransformer(**shape, **layers, in_chans=in_chans, num_classes=num_classes)
    )


@dataclass(frozen=True)
class Learning:
    """What a network needs to learn the phantoms."""

    count: int
    epochs: int
    train: dict[str, Any]


BRIEF = Learning(5000, 8, {"batch_size": 32, "lr": 1e-3})
LONG = {
    "batch_size": 32,
    "lr": 1e-3,
    "weight_decay": 0.05,
    "schedule": "cosine",
    "warmup": 0.1,
}
LEARNING = {"small_vit": Learning(12_000, 16, LONG), "small_swin": Learning(12_000, 16, LONG)}
AT_LEAST = 2.0
"""Times as often as the control, and as chance, that a model's maps are to hit."""


def make(out: Path, chosen: argparse.Namespace) -> tuple[Path, Path, Path]:
    """Draw, prepare and fine-tune, unless that was done before; return phantoms, store and run."""
    phantoms, store, run = (out / name for name in ("phantoms", "store", f"run-{chosen.backbone}"))
    write_phantoms(phantoms, PhantomOptions(chosen.count, chosen.size, chosen.seed, "even"))
    if not (store / MANIFEST).is_file():
        prepare(read_source("chexpert", phantoms), store, PrepareOptions(chosen.size, workers=1))
    train = FinetuneTrainOptions(
        epochs=chosen.epochs,
        seed=chosen.seed,
        accelerator=chosen.accelerator,
        **LEARNING.get(chosen.backbone, BRIEF).train,
    )
    finetune(
        FinetuneOptions(data=(store,), out=run, backbone=chosen.backbone, patience=0, train=train)
    )
    return phantoms, store, run


def measure(phantoms: Path, store: Path, run: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Score the run and its control; return every figure."""
    films = Films.open([store])
    predictor = Predictor.load(run, chosen.accelerator)
    rows, _ = unseen_rows(films)
    places = MaskAnnotations(phantoms)
    shown = shown_findings(
        films.stores[0], rows, places, predictor.findings, chosen.films, chosen.seed
    )
    judge = Judge.of(films.stores[0], shown, 2000, chosen.seed)
    found = judge.compare(model_scores(judge, predictor, "model"), control_scores(judge, predictor))
    return {
        "films": judge.films,
        "patients": judge.places.patient_count,
        "maps": len(shown),
        "validation": learnt(json.loads((run / "metrics.json").read_text("utf-8"))["validation"]),
        **figures(judge, found),
    }


def learnt(validation: dict[str, Any]) -> dict[str, Any]:
    """Return the mean AUROC on validation films, and how many findings are shown to be learnt."""
    estimates = validation["auroc"].values()
    intervals = [one["interval"] for one in estimates if one["interval"] is not None]
    above = sum(interval[0] > CHANCE for interval in intervals)
    return {"auroc": validation["auroc_macro"]["value"], "learnt": above, "of": len(estimates)}


def figures(judge: Judge, found: Localisation) -> dict[str, Any]:
    """Return the means with their ratios and whether they pass, and every finding."""
    chance = judge.chance()
    model, control, lot = found.hit_rate.overall, found.control_hit_rate.overall, chance.overall
    others = {"control": control, "chance": lot}
    return {
        "layer": found.layer,
        "hit_rate": {"model": said(model), **{name: said(one) for name, one in others.items()}},
        "difference": said(found.difference_hit_rate.overall),
        "ratio": {name: ratio(model, one) for name, one in others.items()},
        "passes": all(beats(model, one) for one in others.values()),
        "habit": said(found.habit.overall),
        "beyond_habit": said(found.beyond_habit.overall),
        "iou": {"model": said(found.iou.overall), "control": said(found.control_iou.overall)},
        "iou_difference": said(found.difference_iou.overall),
        "empty_maps": {"model": round(found.empty, 4), "control": round(found.control_empty, 4)},
        "findings": by_finding(found.hit_rate, found.control_hit_rate, chance),
    }


def by_finding(model: Located, control: Located, chance: Located) -> dict[str, Any]:
    """Return each finding's hit rates and the share of a film that it covers."""
    return {
        name: {
            "model": said(one),
            "control": said(control.findings[name]),
            "chance": said(chance.findings[name]),
        }
        for name, one in model.findings.items()
    }


def said(one: Estimate) -> list[float | None]:
    """Return value, low and high, to four places."""
    low, high = one.interval or (None, None)
    return [None if value is None else round(value, 4) for value in (one.value, low, high)]


def ratio(model: Estimate, other: Estimate) -> float | None:
    """Return how many times as often the model hits, None where that is not available."""
    return round(model.value / other.value, 2) if model.value is not None and other.value else None


def beats(model: Estimate, other: Estimate) -> bool:
    """Whether the model hits at least AT_LEAST times as often, with intervals apart."""
    if (
        model.value is None
        or other.value is None
        or model.interval is None
        or other.interval is None
    ):
        return False
    return model.value >= AT_LEAST * other.value and model.interval.low > other.interval.high


def table(found: dict[str, Any]) -> str:
    """Return the figures for reading."""
    lines = [
        found["layer"],
        f"{found['films']} films of {found['patients']} patients, {found['maps']} maps",
        "validation AUROC {auroc:.3f}, above chance for {learnt} of {of} findings".format(
            **found["validation"]
        ),
    ]
    lines.append(f"{'':28}{'model':>8}{'control':>8}{'chance':>8}")
    rows = {"over findings": found["hit_rate"], **found["findings"]}
    for name, row in rows.items():
        lines.append(
            f"{name:28}" + "".join(written(row[key]) for key in ("model", "control", "chance"))
        )
    lines.append(
        f"IoU over findings: model{written(found['iou']['model'])}, control{written(found['iou']['control'])}"
    )
    lines.append(
        f"ratio to control {found['ratio']['control']}, to chance {found['ratio']['chance']}"
    )
    return "\n".join([*lines, f"passes: {found['passes']}"])


def written(one: list[float | None]) -> str:
    """Return a value in eight places, a dash where there is none."""
    return f"{'-':>8}" if one[0] is None else f"{one[0]:8.3f}"


def main() -> None:
    """Make what is missing, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, help="films drawn, unless given as the network needs")
    parser.add_argument("--size", type=int, default=SIDE)
    parser.add_argument("--backbone", default="resnet10t")
    parser.add_argument("--epochs", type=int, help="unless given as the network needs")
    parser.add_argument("--films", type=int, default=600, help="test films scored at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    needed = LEARNING.get(chosen.backbone, BRIEF)
    chosen.count, chosen.epochs = chosen.count or needed.count, chosen.epochs or needed.epochs
    torch.set_num_threads(chosen.threads)
    cv2.setNumThreads(chosen.threads)
    found = measure(*make(chosen.out, chosen), chosen)
    about = {
        name: getattr(chosen, name) for name in ("count", "size", "backbone", "epochs", "seed")
    }
    sys.stdout.write((json.dumps({**about, **found}) if chosen.json else table(found)) + "\n")


if __name__ == "__main__":
    main()
