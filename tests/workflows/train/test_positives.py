"""``--method.positives``: pretraining on pairs of films of one patient or study."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from hilum.bundle.initialization import new_backbone
from hilum.errors import OptionError
from hilum.images.films import Films
from hilum.listener import SILENT, Listener
from hilum.methods import METHODS, load_method, positives_of
from hilum.methods.moco import MoCoOptions
from hilum.phantoms import PhantomOptions, write_phantoms
from hilum.sources import read_source
from hilum.training.interrupt import Interrupted
from hilum.training.learner import Batch
from hilum.training.options import TrainOptions
from hilum.training.run_folder import read_log
from hilum.workflows.data.subsets import Subsets
from hilum.workflows.prepare.prepare import PrepareOptions, prepare
from hilum.workflows.train.options import PretrainOptions
from hilum.workflows.train.pretrain import positive_pairs, pretrain


@dataclass
class Heard(Listener):
    """Keeps notes, and asks for a stop after a step, as Ctrl-C does."""

    stop: int = 0
    notes: list[str] = field(default_factory=list)

    def note(self, line: str) -> None:
        self.notes.append(line)

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        if stage.startswith("pretrain") and 0 < done == self.stop:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantoms")
    write_phantoms(root / "set", PhantomOptions(count=80, size=32))
    prepare(
        read_source("chexpert", root / "set"),
        root / "store",
        PrepareOptions(size=32, workers=1),
        SILENT,
    )
    return root / "store"


def run(store: Path, out: Path, positives: str, listener: Listener) -> Path:
    train = TrainOptions(epochs=2, batch_size=8, accelerator="cpu", log_every=1)
    options = PretrainOptions(data=(store,), out=out, backbone="test_resnet", train=train)
    pretrain("moco", MoCoOptions(positives=positives), options, listener)  # type: ignore[arg-type]
    return out


def losses(out: Path) -> dict[int, float]:
    return {event["step"]: event["loss"] for event in read_log(out) if "loss" in event}


def test_a_run_on_pairs_of_a_patient_says_how_many_resumes_exactly_and_differs(
    phantoms: Path, tmp_path: Path
) -> None:
    films = Films.open([phantoms])
    rows = Subsets.of(films).rows("train")
    patients = films.catalog["patient"].iloc[rows]
    paired = int(patients.duplicated(keep=False).sum())
    assert 2 <= paired < len(rows)
    heard = Heard()
    unbroken = run(phantoms, tmp_path / "unbroken", "patient", heard)
    assert (
        f"{paired} of {len(rows)} films have another of the same patient, which one crop is cut from"
        in heard.notes
    )
    with pytest.raises(Interrupted):
        run(phantoms, tmp_path / "broken", "patient", Heard(stop=2))  # in the middle of an epoch
    broken = run(phantoms, tmp_path / "broken", "patient", SILENT)
    assert losses(broken) == losses(unbroken)
    for name in ("model.safetensors", "model.json"):
        assert (broken / "model" / name).read_bytes() == (unbroken / "model" / name).read_bytes()
    assert losses(run(phantoms, tmp_path / "crops", "crop", SILENT)) != losses(unbroken)


def test_pairs_of_a_study_stay_within_it(phantoms: Path) -> None:
    films, heard = Films.open([phantoms]), Heard()
    rows = Subsets.of(films).rows("train")
    positives = positive_pairs("study", films, rows, 0, heard)
    assert positives is not None
    beside = positives(0, rows)
    assert np.isin(beside, rows).all()
    assert (
        films.catalog["study"].iloc[beside].to_numpy()
        == films.catalog["study"].iloc[rows].to_numpy()
    ).all()
    assert heard.notes == [
        f"{(beside != rows).sum()} of {len(rows)} films have another of the same study, which one crop is cut from"
    ]


@pytest.mark.parametrize(
    "name", [name for name in METHODS if hasattr(load_method(name).Options(), "positives")]
)
def test_every_method_with_the_choice_cuts_its_second_crop_from_the_twin_and_the_others_from_the_film(
    name: str,
) -> None:
    method, rng = load_method(name), np.random.default_rng(0)
    assert method.Options().positives == "crop"
    of = method(
        new_backbone("test_resnet", 32, 0), method.Options(positives="patient").for_films(400), 32
    )
    images = torch.from_numpy(rng.integers(0, 256, (4, 1, 32, 32), dtype=np.uint8))
    index, beside = torch.arange(4), torch.tensor([1, 0, 3, 2])
    alone = Batch(images, index, index, index)
    paired = of.make_crops(alone._replace(positives=(images[beside], beside)), seed=0)
    for place, (crop, own) in enumerate(zip(paired, of.make_crops(alone, seed=0), strict=True)):
        assert torch.equal(crop, own[beside] if place == 1 else own)


def test_a_method_that_leaves_no_choice_takes_both_crops_from_one_film() -> None:
    assert positives_of(MoCoOptions(positives="study")) == "study"
    assert positives_of(object()) == "crop"


def test_crops_of_one_film_need_no_pairs_and_no_word(phantoms: Path) -> None:
    heard = Heard()
    assert positive_pairs("crop", Films.open([phantoms]), np.arange(8), 0, heard) is None
    assert heard.notes == []


@pytest.mark.parametrize("positives", ["study", "patient"])
def test_films_none_of_which_has_another_are_refused_in_one_line(
    tiny_store: Path, positives: str
) -> None:
    rows = np.arange(0, 96, 2)  # one of the two films of each patient
    with pytest.raises(
        OptionError, match=f"--method.positives is {positives}, and none of the 48 films .* is crop"
    ):
        positive_pairs(positives, Films.open([tiny_store]), rows, 0, SILENT)
