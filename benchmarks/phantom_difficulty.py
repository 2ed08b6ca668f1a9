"""How hard phantoms are: what a classifier reaches without looking, with random features, and by learning.

Draws phantoms at even prevalence (about 4,000 films to train, 1,000 of other patients to test),
then prints one JSON line with the AUROC by finding and its mean on ``valid.csv`` of

* ``metadata``: logistic regression on projection, age and sex; limit 0.60 for any finding,
* ``brightness``: logistic regression on the film's mean and standard deviation; limit 0.60 for any
finding,
* ``random_features``: logistic regression on an untrained ResNet-18; limit 0.70 in the mean; beside
  it two stronger ones,
* ``supervised``: a ResNet-10t trained on train.csv as users train (uncertain and unstated as
absent); at least 0.80,

and the films drawn a second by one process. Run: ``python benchmarks/phantom_difficulty.py
[--prevalence chexpert]``. About ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import timm
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import binary_cross_entropy_with_logits, pad

from hilum.findings import CHEXPERT
from hilum.phantoms import PhantomOptions, write_phantoms

RANDOM = {
    "random_features": ("resnet18", False),
    "random_features_batch_statistics": ("resnet18", True),
    "random_features_resnet10t": ("resnet10t", False),
}
"""Untrained networks: timm's ResNet-18 starts with empty residual branches, its ResNet-10t lets
more through."""


@dataclass(frozen=True)
class Part:
    """One table of a phantom folder: labels and truth are [N, 14], images [N, 1, H, W] standardised per film."""

    table: pd.DataFrame
    labels: np.ndarray
    truth: np.ndarray
    grey: np.ndarray
    images: torch.Tensor


def read_part(root: Path, name: str) -> Part:
    """Read ``train`` or ``valid`` of a phantom folder."""
    table = pd.read_csv(root / f"{name}.csv")
    truth = (
        pd.read_csv(root / "truth.csv")
        .set_index("Path")
        .loc[table["Path"], list(CHEXPERT)]
        .to_numpy()
    )
    paths = [root / path.split("/", 1)[1] for path in table["Path"]]
    grey = np.stack([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths])
    images = torch.from_numpy(grey[:, None]).float()
    images = (images - images.mean((2, 3), keepdim=True)) / images.std((2, 3), keepdim=True)
    return Part(table, (table[list(CHEXPERT)] == 1).to_numpy(float), truth, grey, images)


def scores_by_finding(test: Part, scores: np.ndarray) -> dict[str, float]:
    """Return the AUROC of scores [N, 14] by finding, their mean and the highest."""
    auroc = {
        name: round(float(roc_auc_score(test.truth[:, place], scores[:, place])), 4)
        for place, name in enumerate(CHEXPERT)
        if 0 < test.truth[:, place].sum() < len(test.truth)
    }
    return {
        "mean": round(float(np.mean(list(auroc.values()))), 4),
        "highest": max(auroc.values()),
        **auroc,
    }


def linear(train: np.ndarray, test: np.ndarray, truth: np.ndarray, strength: float) -> np.ndarray:
    """Return the scores [N, 14] of one logistic regression a finding."""
    scaler = StandardScaler().fit(train)
    columns = []
    for place in range(truth.shape[1]):
        model = LogisticRegression(C=strength, max_iter=400)
        columns.append(
            model.fit(scaler.transform(train), truth[:, place]).decision_function(
                scaler.transform(test)
            )
        )
    return np.stack(columns, 1)


def metadata(part: Part) -> np.ndarray:
    """Return what the table says of each film, [N, 5]."""
    table = part.table
    views = [(table["AP/PA"] == "AP"), (table["AP/PA"] == "PA"), table["Sex"] == "Male"]
    return np.stack([*views, table["Age"], (table["Age"] - 50) ** 2], 1).astype(float)


def brightness(part: Part) -> np.ndarray:
    """Return mean and standard deviation of each film with their squares and product, [N, 5]."""
    mean, spread = part.grey.mean((1, 2)), part.grey.std((1, 2))
    return np.stack([mean, spread, mean**2, spread**2, mean * spread], 1)


@torch.inference_mode()
def random_features(part: Part, seed: int, network: str, batch_statistics: bool) -> np.ndarray:
    """Return an untrained network's features, [N, 512], normalised by each batch or, as in `hilum probe`, not."""
    torch.manual_seed(seed)
    model = timm.create_model(network, in_chans=1, num_classes=0, pretrained=False).train(
        batch_statistics
    )
    return torch.cat([model(images) for images in part.images.split(250)]).numpy()


def train_supervised(train: Part, epochs: int, seed: int) -> torch.nn.Module:
    """Return a ResNet-10t trained on the stated labels."""
    torch.manual_seed(seed)
    model = timm.create_model("resnet10t", in_chans=1, num_classes=len(CHEXPERT), pretrained=False)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    steps = epochs * (len(train.images) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    labels = torch.from_numpy(train.labels).float()
    for _ in range(epochs):
        for rows in torch.randperm(len(labels))[: steps // epochs * 64].view(-1, 64):
            loss = binary_cross_entropy_with_logits(
                model(shifted(train.images[rows])), labels[rows]
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def shifted(images: torch.Tensor) -> torch.Tensor:
    """Shift a batch by up to three pixels."""
    down, right = torch.randint(0, 7, (2,)).tolist()
    size = images.shape[-1]
    return pad(images, (3, 3, 3, 3), mode="replicate")[
        ..., down : down + size, right : right + size
    ]


def measure(root: Path, options: PhantomOptions, epochs: int) -> dict[str, object]:
    """Draw into a new folder and return every figure."""
    begin = time.process_time()
    result = write_phantoms(root, options)
    rate = result.films / (time.process_time() - begin)
    train, test = read_part(root, "train"), read_part(root, "valid")
    found: dict[str, object] = {
        "films_a_second": round(rate, 1),
        "train": len(train.labels),
        "test": len(test.labels),
    }
    for name, features in (("metadata", metadata), ("brightness", brightness)):
        found[name] = scores_by_finding(
            test, linear(features(train), features(test), train.truth, 1.0)
        )
    for name, (network, batch_statistics) in RANDOM.items():
        frozen = [
            random_features(part, options.seed, network, batch_statistics) for part in (train, test)
        ]
        found[name] = scores_by_finding(test, linear(frozen[0], frozen[1], train.truth, 0.01))
    if epochs:
        model = train_supervised(train, epochs, options.seed)
        with torch.inference_mode():
            scores = torch.cat([model(images) for images in test.images.split(250)]).numpy()
        found["supervised"] = scores_by_finding(test, scores)
    return found


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prevalence", default="even")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    cv2.setNumThreads(chosen.threads)
    options = PhantomOptions(chosen.count, chosen.size, chosen.seed, chosen.prevalence)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder) / "phantoms", options, chosen.epochs)
    sys.stdout.write(
        json.dumps({"prevalence": options.prevalence, "size": options.size, **found}) + "\n"
    )


if __name__ == "__main__":
    main()
