"""Trains the small network that tells negatives and turned films, and writes it as whole numbers.

It learns from real radiographs (NIH ChestX-ray14, the children's films of Kermany, Zhang and
Goldbaum) and from drawn phantoms: each film in both polarities and four turns, with other crops, tones,
borders, markers and resolutions at every showing, beside what is no chest film. Patients are
divided by a hash of their names: 7 of 10 train it, 1 of 10 chooses the limits, 2 of 10 are left for
`benchmarks/film_check.py`, which reads the finished network once.

Run: ``python benchmarks/train_film_check.py --data ../shared/data --out src/hilum/images/film_check.safetensors``
Half an hour of one busy core. The same seed, films and number of threads give the same file.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor, nn
from torch.nn import functional

from hilum.images.film_check import PATCHES, SIDE, TURNS, UNKNOWN, margins, read_network, thumbnail
from hilum.images.read import read_grey
from hilum.images.resize import resize
from hilum.images.store import Store

KEPT = 128
"""Side in pixels at which films are held while training."""
WIDTHS = (24, 48, 48)
TRAINED_ON = ("nih14", "kermany224")
MOST_REPEATS = 4
"""A small set is shown up to so many times in an epoch, until it has half as many films as the largest."""
DOUBTED, FALSE_ALARMS, MISSED = 0.01, 0.001, 0.002
"""Shares of validation films, of each set, that are looked at again, flagged and missed; see `chosen`."""


class Films:
    """Films of one set, [n, KEPT, KEPT], and the tenth that each patient belongs to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.images: list[np.ndarray] = []
        self.tenths: list[int] = []

    def add(self, grey: np.ndarray, patient: str) -> None:
        """Keep a film small."""
        rows, columns = (max(1, side // (4 * KEPT)) for side in grey.shape)
        self.images.append(resize(np.ascontiguousarray(grey[::rows, ::columns]), KEPT, KEPT))
        self.tenths.append(tenth(self.name, patient))

    def of(self, tenths: range) -> np.ndarray:
        """Return the films of these patients, uint8 [n, KEPT, KEPT]."""
        return np.stack(
            [film for film, at in zip(self.images, self.tenths, strict=True) if at in tenths]
        )


def tenth(name: str, patient: str) -> int:
    """Return which tenth of the patients one belongs to: 0 to 6 train, 7 chooses limits, 8 and 9 test."""
    return int(hashlib.sha256(f"{name}/{patient}".encode()).hexdigest(), 16) % 10


TRAIN, CHOOSE, TEST = range(7), range(7, 8), range(8, 10)


def real_films(data: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield the set, the patient and the file of each real film below ``data``."""
    for name in ("nih14", "nih14-1024"):
        for path in sorted((data / name).rglob("*.png")):
            if "_" in path.stem:
                yield name, f"nih/{path.stem.split('_')[0]}", path
    for path in sorted((data / "kermany224").rglob("*.jpeg")):
        yield "kermany224", kermany_patient(path.stem), path


def kermany_patient(stem: str) -> str:
    """Return a child's number as the file names give it.

    >>> kermany_patient("person100_bacteria_475"), kermany_patient("NORMAL2-IM-0112-0001")
    ('person100', 'IM-0112')
    """
    if "IM-" in stem:
        return "-".join(stem[stem.index("IM-") :].split("-")[:2])
    return stem.split("_")[0]


def phantoms(count: int, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the patient and the pixels of drawn films."""
    from hilum.phantoms import PhantomOptions, write_phantoms

    with tempfile.TemporaryDirectory() as folder:
        write_phantoms(Path(folder) / "set", PhantomOptions(count, KEPT, seed), workers=2)
        for path in sorted((Path(folder) / "set").rglob("view*.jpg")):
            yield path.parts[-3], read_grey(path)


class Network(nn.Module):
    """The network in floating point, as it is trained."""

    def __init__(self) -> None:
        super().__init__()
        channels, cells = (1, *WIDTHS), SIDE
        self.merging = nn.ModuleList()
        for side, inputs, outputs in zip(PATCHES, channels, channels[1:], strict=False):
            self.merging.append(nn.Conv2d(inputs, outputs, side, side, bias=False))
            cells //= side
        self.hidden = nn.Linear(WIDTHS[-2] * cells * cells, WIDTHS[-1], bias=False)
        self.last = nn.Linear(WIDTHS[-1], UNKNOWN + 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(width) for width in WIDTHS[:-1]])
        self.norms.append(nn.BatchNorm1d(WIDTHS[-1]))

    def forward(self, films: Tensor) -> Tensor:
        """Return logits [n, 9] of films from -1 to 1, [n, 1, 64, 64]."""
        for layer, norm in zip(self.merging, self.norms, strict=False):
            films = functional.relu(norm(layer(films)))
        # Row, column, channel, as NumPy flattens it.
        flat = films.permute(0, 2, 3, 1).flatten(1)
        flat = functional.relu(self.norms[-1](self.hidden(flat)))
        return self.last(functional.dropout(flat, 0.2, self.training))

    @property
    def layers(self) -> list[nn.Module]:
        """The layers in order."""
        return [*self.merging, self.hidden, self.last]


class Shower:
    """Shows films: turned, as negatives, with borders, markers, other tones and resolutions."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Return random numbers, float32."""
        return torch.from_numpy(self.rng.uniform(low, high, shape).astype(np.float32))

    def chance(self, share: float, films: int) -> Tensor:
        """Return true for this share of the films, [n, 1, 1, 1]."""
        return torch.from_numpy(self.rng.random((films, 1, 1, 1)) < share)

    def __call__(self, films: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return each film in all turns as the network sees it, float32 [4 n, 1, 64, 64], and the answers [4 n].

        ``films`` are [n, KEPT, KEPT]. Turning is cheap, and the rest of a showing is not.
        """
        shown = self.tones(self.placed(torch.from_numpy(films)[:, None].float() / 255))
        n = len(shown)
        negative = self.chance(0.5, n)
        late = self.chance(0.4, n)  # inverted with its borders and markers, or before they came
        shown = torch.where(negative & ~late, 1 - shown, shown)
        shown = self.markers(self.borders(self.grain(shown)))
        shown = torch.where(negative & late, 1 - shown, shown)
        which, others = self.strangers(shown)
        small = seen(torch.where(which[:, None, None, None], others, shown))
        answers = [
            torch.where(which, UNKNOWN, negative.flatten() * len(TURNS) + turn)
            for turn in range(len(TURNS))
        ]
        turned = [torch.rot90(small, turn, (2, 3)) for turn in range(len(TURNS))]
        return torch.cat(turned), torch.cat(answers)

    def placed(self, films: Tensor) -> Tensor:
        """Return films mirrored, rotated a little, stretched, cropped or made smaller on a black or white sheet."""
        n = len(films)
        mirror = torch.where(self.chance(0.5, n).flatten(), -1.0, 1.0)
        angle = torch.from_numpy(self.rng.normal(0, 0.1, n).clip(-0.3, 0.3).astype(np.float32))
        zoom = torch.exp(self.uniform(-0.25, 0.2, n))
        stretch = torch.exp(self.uniform(-0.25, 0.25, n))
        shift = self.uniform(-0.15, 0.15, n, 2)
        cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
        grid = torch.stack(
            [
                torch.stack([cos * stretch * mirror, -sin * stretch, shift[:, 0]], 1),
                torch.stack([sin * mirror / stretch, cos / stretch, shift[:, 1]], 1),
            ],
            1,
        )
        sheet = torch.where(self.chance(0.15, n), 1.0, 0.0)
        places = functional.affine_grid(grid, list(films.shape), align_corners=False)
        placed, edge = torch.empty_like(films), self.chance(0.3, n).flatten()
        placed[edge] = functional.grid_sample(
            films[edge], places[edge], padding_mode="border", align_corners=False
        )
        placed[~edge] = functional.grid_sample(
            (films - sheet)[~edge], places[~edge], align_corners=False
        )
        placed[~edge] += sheet[~edge]
        return placed

    def tones(self, films: Tensor) -> Tensor:
        """Return films with other gamma and window, some equalised in small fields."""
        n = len(films)
        films = films.clamp(0, 1) ** torch.exp(self.uniform(-0.8, 0.8, n, 1, 1, 1))
        low, high = self.uniform(-0.15, 0.3, n, 1, 1, 1), self.uniform(0.65, 1.2, n, 1, 1, 1)
        films = ((films - low) / (high - low)).clamp(0, 1)
        local = cv2.createCLAHE(2.0, (8, 8))
        for place in np.flatnonzero(self.rng.random(n) < 0.2):
            grey = np.rint(films[place, 0].numpy() * 255).astype(np.uint8)
            films[place, 0] = torch.from_numpy(local.apply(grey).astype(np.float32) / 255)
        return films

    def grain(self, films: Tensor) -> Tensor:
        """Return films with noise, some at a lower resolution."""
        for place in np.flatnonzero(self.rng.random(len(films)) < 0.25):
            side = int(self.rng.integers(20, 64))
            small = functional.adaptive_avg_pool2d(films[place : place + 1], side)
            films[place] = functional.interpolate(small, KEPT, mode="bilinear")[0]
        noise = torch.from_numpy(self.rng.standard_normal(films.shape, np.float32))
        return (films + noise * self.uniform(0, 0.06, len(films), 1, 1, 1)).clamp(0, 1)

    def borders(self, films: Tensor) -> Tensor:
        """Return films with collimated margins or bars, mostly black."""
        for place in np.flatnonzero(self.rng.random(len(films)) < 0.4):
            value = 0.0 if self.rng.random() < 0.75 else float(self.rng.random() < 0.7)
            margins = (self.rng.uniform(-0.1, 0.16, 4).clip(0) * KEPT).astype(int)
            if self.rng.random() < 0.3:  # bars at two sides
                width = int(self.rng.uniform(0.05, 0.22) * KEPT)
                margins = np.array(
                    [width, width, 0, 0] if self.rng.random() < 0.5 else [0, 0, width, width]
                )
            top, bottom, left, right = margins.tolist()
            film = films[place, 0]
            film[:top], film[KEPT - bottom :] = value, value
            film[:, :left], film[:, KEPT - right :] = value, value
        return films

    def markers(self, films: Tensor) -> Tensor:
        """Return films with small bright or dark labels."""
        for place in np.flatnonzero(self.rng.random(len(films)) < 0.5):
            for _ in range(int(self.rng.integers(1, 4))):
                height, width = (self.rng.uniform(0.02, 0.1, 2) * KEPT).astype(int) + 1
                row, column = self.rng.integers(0, KEPT - 14, 2)
                value = 1.0 if self.rng.random() < 0.8 else 0.0
                films[place, 0, row : row + height, column : column + width] = value
        return films

    def strangers(self, films: Tensor) -> tuple[Tensor, Tensor]:
        """Return which films are replaced by something else, [n], and by what: noise, slopes, small parts of films."""
        n = len(films)
        which = torch.from_numpy(self.rng.random(n) < 0.12)
        others = films.clone()
        for place in np.flatnonzero(which.numpy()):
            kind = self.rng.random()
            if kind < 0.5:
                cells = int(2 ** self.rng.uniform(1, 6.9))
                noise = self.rng.random((cells, cells), np.float32)
                way = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC)[
                    int(self.rng.integers(3))
                ]
                cloud = cv2.resize(noise, (KEPT, KEPT), interpolation=way)
                others[place, 0] = torch.from_numpy(cloud.clip(0, 1))
            elif kind < 0.6:
                ramp = np.linspace(0, 1, KEPT, dtype=np.float32)
                slope = self.rng.normal(0, 1, 2).astype(np.float32)
                others[place, 0] = torch.from_numpy(
                    (slope[0] * ramp + slope[1] * ramp[:, None]) / 4 + 0.5
                ).clamp(0, 1)
            else:  # a part too small to tell, its pieces in another order
                pieces = films[place, 0].unfold(0, 32, 32).unfold(1, 32, 32).reshape(16, 32, 32)
                order = torch.from_numpy(self.rng.permutation(16))
                others[place, 0] = (
                    pieces[order].reshape(4, 4, 32, 32).permute(0, 2, 1, 3).reshape(KEPT, KEPT)
                )
        return which, others


def seen(films: Tensor) -> Tensor:
    """Return films [n, 1, KEPT, KEPT] from 0 to 1 as the network sees them: small, equalised, from -1 to 1."""
    small = functional.avg_pool2d(films, KEPT // SIDE)[:, 0]
    grey = (small * 255).round().to(torch.uint8).numpy()
    equal = np.stack([cv2.equalizeHist(film) for film in grey]).astype(np.float32)
    return torch.from_numpy((equal - 128) / 127)[:, None]


def train(films: np.ndarray, epochs: int, seed: int) -> Network:
    """Return a network trained on films [n, KEPT, KEPT]."""
    torch.manual_seed(seed)
    rng, shower, model = np.random.default_rng(seed), Shower(seed), Network()
    size = 128
    steps = epochs * (len(films) // size)
    optimiser = torch.optim.AdamW(model.parameters(), 4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, steps, pct_start=0.1)
    for epoch in range(epochs):
        began, order, total = time.time(), rng.permutation(len(films)), 0.0
        for start in range(0, len(films) // size * size, size):
            images, answers = shower(films[order[start : start + size]])
            loss = functional.cross_entropy(model(images), answers, label_smoothing=0.02)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) / (len(films) // size)
        print(
            f"epoch {epoch + 1}: loss {total:.4f}, {time.time() - began:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    return model.eval()


def whole_numbers(model: Network, films: Tensor) -> dict[str, np.ndarray]:
    """Return the network's layers as whole numbers; ``films`` [n, 1, 64, 64] set the range of each layer."""
    tensors: dict[str, np.ndarray] = {}
    scale, values = 1 / 127, films  # a whole number times scale is the value
    for number, layer in enumerate(model.layers):
        last = number == len(model.layers) - 1
        weight = layer.weight.detach()
        bias = layer.bias.detach() if last else torch.zeros(len(weight))
        if not last:
            norm = model.norms[number]
            gain = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
            weight = weight * gain.view(-1, *[1] * (weight.ndim - 1))
            bias = norm.bias.detach() - norm.running_mean * gain
        with torch.no_grad():
            if number == len(PATCHES):
                values = values.permute(0, 2, 3, 1).flatten(1)
            if weight.ndim == 4:
                values = functional.conv2d(values, weight, bias, layer.stride).relu()
            else:
                values = functional.linear(values, weight, bias)
                values = values if last else values.relu()
        # The last layer's outputs are compared with each other, so all have one scale.
        largest = weight.abs().max() if last else weight.abs().flatten(1).max(1).values
        unit = (largest / 127).clamp(min=1e-9) * torch.ones(len(weight))
        whole = (weight / unit.view(-1, *[1] * (weight.ndim - 1))).round()
        # Outputs, channels, rows, columns -> rows, columns, channels, outputs.
        whole = whole.permute(2, 3, 1, 0).flatten(0, 2) if whole.ndim == 4 else whole.T
        after = (
            1.0
            if last
            else float(
                torch.quantile(values.flatten()[:: max(1, values.numel() // 1_000_000)], 0.9999)
            )
            / 127
        )
        tensors[f"{number}.weight"] = whole.contiguous().to(torch.int8).numpy()
        tensors[f"{number}.bias"] = (bias / (unit * scale)).round().to(torch.int32).numpy()
        tensors[f"{number}.factor"] = (unit * scale / after).float().numpy()
        scale = after
    return tensors


def states(films: Films) -> Iterator[tuple[bool, int, list[np.ndarray]]]:
    """Yield the thumbnails of the validation patients' films in each state: whether negative, the turn."""
    images = films.of(CHOOSE)
    for negative in (False, True):
        for turn in range(len(TURNS)):
            shown = [np.rot90(255 - film if negative else film, turn) for film in images]
            yield negative, turn, [thumbnail(np.ascontiguousarray(film)) for film in shown]


def chosen(path: Path, sets: list[Films]) -> dict[str, np.ndarray]:
    """Return the network's doubts and limits, of polarity and turn, int32 [2] each, by the validation patients.

    DOUBTED of a set's films as they are exceed the doubts at first sight. A limit lies halfway between
    what FALSE_ALARMS of a set's right films exceed in the sum and what MISSED of its wrong ones fall
    short of, in the worst set and state of each.
    """
    network = read_network(path)
    doubts = np.full(2, -np.inf)
    for films in sets:
        first, _ = margins(network.outputs(next(states(films))[2]).astype(np.int64))
        doubts = np.maximum(doubts, np.quantile(first, 1 - DOUBTED, 0))
    doubts = doubts.astype(np.int32)
    network = replace(network, doubts=tuple(doubts.tolist()))
    low, high = np.full(2, -np.inf), np.full(2, np.inf)
    for films in sets:
        for negative, turn, small in states(films):
            ahead, _ = network.ahead(small)
            for which, wrong in enumerate((negative, turn > 0)):
                if wrong:
                    high[which] = min(high[which], np.quantile(ahead[:, which], MISSED))
                else:
                    low[which] = max(low[which], np.quantile(ahead[:, which], 1 - FALSE_ALARMS))
    print("doubts", doubts, "limits", low, high, file=sys.stderr)
    limits = np.maximum(0, np.maximum(low, (low + high) / 2)).astype(np.int32)
    return {"doubts": doubts, "limits": limits}


def stored_patient(store: Store, patient: str) -> str:
    """Return a patient's name in a store as `real_films` gives it."""
    return f"nih/{int(patient):08d}" if store.source == "nih14" else patient


def gathered(options: argparse.Namespace) -> list[Films]:
    """Return the films to learn from, by set."""
    sets: dict[str, Films] = {}
    for name, patient, path in real_films(options.data) if options.data else ():
        if name in TRAINED_ON:
            sets.setdefault(name, Films(name)).add(read_grey(path), patient)
    for folder in options.stores:
        store = Store.open(folder)
        part = sets.setdefault(store.source, Films(store.source))
        for row, patient in enumerate(store.catalog["patient"]):
            part.add(store.read(np.array([row]))[0], stored_patient(store, patient))
    drawn = sets.setdefault("phantoms", Films("phantoms"))
    for patient, grey in phantoms(options.phantoms, options.seed):
        drawn.add(grey, patient)
    return list(sets.values())


def main() -> None:
    """Train, round, choose the limits, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with nih14 and kermany224")
    parser.add_argument("--stores", type=Path, nargs="*", default=[], help="prepared stores")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--phantoms", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sets = gathered(options)
    parts = [part.of(TRAIN) for part in sets]
    half = max(map(len, parts)) / 2
    repeated = [part for part in parts for _ in range(min(MOST_REPEATS, -int(-half // len(part))))]
    films = np.concatenate(repeated)
    counts = {
        part.name: [len(part.of(tenths)) for tenths in (TRAIN, CHOOSE, TEST)] for part in sets
    }
    print(f"films to train on, to choose by, to test: {counts}", file=sys.stderr)
    model = train(films, options.epochs, options.seed)
    with torch.no_grad():
        sample, _ = Shower(options.seed + 1)(films[:: max(1, len(films) // 2048)])
    tensors = whole_numbers(model, sample)
    tensors |= {name: np.zeros(2, np.int32) for name in ("doubts", "limits")}
    options.out.write_bytes(save(tensors))
    tensors |= chosen(options.out, sets)
    options.out.write_bytes(save(tensors))
    print(f"{options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
