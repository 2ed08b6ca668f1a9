"""The loaded model: every kind of image that people hold gives the same numbers, and no other is iterated."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import PIL.Image
import PIL.ImageOps
import pytest
import timm
import torch
from torch.utils.data import DataLoader, Dataset

import hilum
from exports import SIDE, Export
from hilum.errors import DataError, OptionError, RunError
from hilum.images.films import Films
from hilum.images.read import read_grey
from hilum.phantoms import PhantomOptions
from hilum.phantoms.cohort import cohort
from hilum.phantoms.film import draw
from hilum.training.inference import over_films

FINDINGS = ["Edema", "Mass"]


@pytest.fixture(scope="module")
def model(classifier: Path) -> hilum.Predictor:
    return hilum.load(classifier, device="cpu")


@pytest.fixture(scope="module")
def pretrained(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrained") / "run"
    train = hilum.TrainOptions(epochs=1, batch_size=16, accelerator="cpu")
    options = hilum.PretrainOptions(
        data=(tiny_store,), out=out, backbone="test_resnet", train=train
    )
    hilum.pretrain("simclr", hilum.SimCLROptions(), options)
    return out


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three films of 48 x 40 px as PNG."""
    folder, rng = tmp_path_factory.mktemp("films"), np.random.default_rng(1)
    paths = [folder / f"film{number}.png" for number in range(3)]
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 256, (48, 40), dtype=np.uint8))
    return paths


def pixels(files: list[Path]) -> np.ndarray:
    return np.stack([read_grey(file) for file in files])


SINGLE: dict[str, Callable[[Path], Any]] = {
    "text": str,
    "path": lambda file: file,
    "uint8": read_grey,
    "uint16": lambda file: read_grey(file).astype(np.uint16) * 257,
    "float32": lambda file: read_grey(file).astype(np.float32) / 255,
    "float64": lambda file: read_grey(file) / 255,
    "not contiguous": lambda file: np.asfortranarray(read_grey(file)),
    "PIL L": PIL.Image.open,
    "PIL I;16": lambda file: PIL.Image.fromarray(read_grey(file).astype(np.uint16) * 257),
    "PIL F": lambda file: PIL.Image.fromarray(read_grey(file).astype(np.float32) / 255),
}
MANY: dict[str, Callable[[list[Path]], Any]] = {
    "list of paths": list,
    "tuple of texts": lambda files: tuple(map(str, files)),
    "folder": lambda files: files[0].parent,
    "column": lambda files: pd.DataFrame({"path": map(str, files)})["path"],
    "column of paths": lambda files: pd.Series(files),
    "column as array": lambda files: pd.Series(files).to_numpy(),
    "index": lambda files: pd.Index(map(str, files)),
    "uint8": pixels,
    "float32": lambda files: pixels(files).astype(np.float32) / np.float32(255),
    "list of arrays": lambda files: list(pixels(files)),
    "list of PIL": lambda files: [PIL.Image.open(file) for file in files],
    "mixed": lambda files: [files[0], read_grey(files[1]), PIL.Image.open(files[2])],
    "tensor": lambda files: torch.from_numpy(pixels(files))[:, None],
    "float tensor": lambda files: (torch.from_numpy(pixels(files))[:, None] / 255).requires_grad_(),
}
OF_PATHS = {name for name in MANY if re.match("list of paths|tuple|folder|column|index", name)}


@pytest.mark.parametrize("kind", SINGLE)
def test_one_image_gives_the_same_numbers_to_the_bit_in_every_kind(
    model: hilum.Predictor, files: list[Path], kind: str
) -> None:
    image = SINGLE[kind](files[0])
    expected = model.predict(files[0])
    assert list(expected) == FINDINGS
    assert model.predict(image) == expected
    assert np.array_equal(model.features(image), model.features(files[0]))
    assert np.array_equal(model.explain(image, "Mass"), model.explain(files[0], "Mass"))


@pytest.mark.parametrize("kind", MANY)
def test_several_images_are_a_table_in_every_kind(
    model: hilum.Predictor, files: list[Path], kind: str
) -> None:
    expected, table = model.predict(files), model.predict(MANY[kind](files))
    assert isinstance(table, pd.DataFrame)
    assert list(table.columns) == FINDINGS
    assert (table.dtypes == np.float64).all()
    assert np.array_equal(table.to_numpy(), expected.to_numpy())
    if kind in OF_PATHS:
        assert table.index.name == "path"
        assert list(table.index) == [str(file) for file in files]
    else:
        assert table.index.equals(pd.RangeIndex(3))
    assert np.array_equal(model.features(MANY[kind](files)), model.features(files))


def test_a_batch_gives_the_numbers_of_single_images(
    model: hilum.Predictor, files: list[Path]
) -> None:
    table, features = model.predict(files * 30), model.features(files * 30)
    assert features.dtype == np.float32
    for row, file in enumerate(files * 2):
        single = pd.Series(model.predict(file))
        np.testing.assert_allclose(table.iloc[row], single, rtol=0, atol=1e-6)
        np.testing.assert_allclose(features[row], model.features(file)[0], rtol=0, atol=1e-5)
    assert len(model.predict([files[0]])) == len(model.predict(pixels(files[:1]))) == 1


def test_a_store_is_scored_by_its_prepared_images(
    model: hilum.Predictor, tiny_store: Path, make_store: Callable[..., Path], tmp_path: Path
) -> None:
    films = Films.open([tiny_store])
    rows = np.arange(len(films))
    table = model.predict(tiny_store)
    assert list(table.index) == list(films.catalog["path"])
    assert np.array_equal(table.to_numpy(np.float32), model.score_films(films, rows))
    expected = over_films(model.model.backbone, films, rows, 32)
    assert np.array_equal(model.features(str(tiny_store)), expected)
    np.testing.assert_allclose(
        model.predict(films.read(rows)), table, rtol=0, atol=1e-6
    )  # prepared again at its own size, a film stays as it is
    other = make_store(tmp_path / "other", size=16)
    for call in (model.predict, model.features):
        with pytest.raises(DataError, match="was prepared with"):
            call(other)


def test_sixteen_bits_are_scaled_by_those_declared_or_used(model: hilum.Predictor) -> None:
    deep = np.random.default_rng(2).integers(0, 4096, (48, 40)).astype(np.uint16)
    expected = model.predict(np.rint(deep / 4095 * 255).astype(np.uint8))
    assert model.predict(deep, bits=12) == expected
    assert model.predict(deep / 4095) == expected
    assert model.predict(deep) == expected  # the bits that the bulk uses, as for a file
    assert model.predict(deep, bits=16) != expected
    with pytest.raises(
        DataError, match=r"images \(uint16\) has values from 7 to 4095: allowed is 0"
    ):
        model.predict(deep, bits=11)
    with pytest.raises(DataError, match="bits is 17: allowed is 1 to 16"):
        model.predict(deep, bits=17)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_pil_image_is_taken_upright_as_its_file_is(
    model: hilum.Predictor, files: list[Path], tmp_path: Path, orientation: int
) -> None:
    file = tmp_path / "turned.png"
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.open(files[0]).save(file, exif=exif)
    image = PIL.Image.open(file)
    upright = PIL.ImageOps.exif_transpose(image)
    assert model.predict(image) == model.predict(file) == model.predict(np.asarray(upright))


class Counting(Dataset[torch.Tensor]):
    """A data set without an end, whose images weigh 4 MB each."""

    asked = 0

    def __getitem__(self, index: int) -> torch.Tensor:
        Counting.asked += 1
        return torch.zeros(1, 1024, 1024)

    def __len__(self) -> int:
        return 10_000_000


def generated() -> Iterator[np.ndarray]:
    Counting.asked += 1
    yield np.zeros((8, 8), np.uint8)


WRONG_KIND: dict[str, Callable[[], Any]] = {
    "Dataset": Counting,
    "DataLoader": lambda: DataLoader(Counting(), batch_size=8),
    "generator": generated,
    "bytes": lambda: b"\x89PNG\r\n\x1a\n",
    "file": io.BytesIO,
    "map": lambda: map(str, ["a.png"]),
    "dict": lambda: {"path": "a.png"},
    "set": lambda: {"a.png"},
    "None": lambda: None,
    "number": lambda: 7,
    "DataFrame": lambda: pd.DataFrame({"path": ["a.png"]}),
    "list of numbers": lambda: [1, 2],
    "column with a gap": lambda: pd.Series(["a.png", None]),
    "int64 array": lambda: np.zeros((8, 8), np.int64),
    "bool array": lambda: np.zeros((8, 8), bool),
    "complex array": lambda: np.zeros((8, 8), complex),
    "bfloat16 tensor": lambda: torch.zeros(1, 1, 8, 8, dtype=torch.bfloat16),
    "int64 tensor": lambda: torch.zeros(1, 1, 8, 8, dtype=torch.int64),
}
WRONG_VALUE: dict[str, tuple[Callable[[], Any], str]] = {
    "float above 1": (lambda: np.full((8, 8), 1.5), "has values from 1.5 to 1.5: allowed is 0 .*1"),
    "float below 0": (lambda: np.full((8, 8), -0.5, np.float32), "from -0.5 to -0.5"),
    "standardised": (lambda: torch.randn(2, 1, 8, 8), r"\(float32\) has values from -"),
    "NaN": (lambda: np.full((2, 8, 8), np.nan), "holds NaN"),
    "infinity": (lambda: np.full((8, 8), np.inf), "from inf to inf"),
    "RGB": (lambda: np.zeros((8, 8, 3, 1), np.uint8), r"shape \[8, 8, 3, 1\]"),
    "RGB batch": (lambda: np.zeros((2, 8, 8, 3), np.uint8), "give grey images"),
    "RGB in a list": (lambda: [np.zeros((8, 8, 3), np.uint8)], r"images\[0\] .*give grey images"),
    "RGB tensor": (lambda: torch.zeros(2, 3, 8, 8), r"\[2, 3, 8, 8\]: allowed is \[B, 1, H, W\]"),
    "tensor [H, W]": (lambda: torch.zeros(8, 8), r"allowed is \[B, 1, H, W\]"),
    "RGB of PIL": (lambda: PIL.Image.new("RGB", (8, 8)), r"mode RGB: give image.convert\('L'\)"),
    "one axis": (lambda: np.zeros(8), r"shape \[8\]"),
    "no pixel": (lambda: np.zeros((0, 8), np.uint8), r"shape \[0, 8\]"),
    "no image": (lambda: [], "no image was given"),
    "empty batch": (lambda: np.zeros((0, 8, 8), np.uint8), "of at least one pixel"),
}


@pytest.mark.parametrize("kind", WRONG_KIND)
def test_another_kind_is_a_type_error_that_names_what_is_allowed(
    model: hilum.Predictor, kind: str
) -> None:
    Counting.asked = 0
    calls = [model.predict, model.features, model.preprocess]
    for call in (*calls, lambda images: model.explain(images, "Mass")):
        with pytest.raises(TypeError, match=r"allowed (is|are)|give ") as caught:
            call(WRONG_KIND[kind]())
        assert "\n" not in str(caught.value)
    assert Counting.asked == 0


@pytest.mark.parametrize("kind", WRONG_VALUE)
def test_a_wrong_shape_or_value_is_one_line(model: hilum.Predictor, kind: str) -> None:
    make, line = WRONG_VALUE[kind]
    for call in (model.predict, model.features, lambda images: model.explain(images, "Mass")):
        with pytest.raises(DataError, match=line) as caught:
            call(make())
        assert "\n" not in str(caught.value)


def test_two_thin_colour_images_are_not_mistaken_for_a_batch(model: hilum.Predictor) -> None:
    """An RGB image [H, W, 3] has as many axes as a grey batch [B, H, W]."""
    with pytest.raises(DataError, match=r"shape \[64, 48, 3\].*give grey images"):
        model.predict(np.zeros((64, 48, 3), np.uint8))


def test_an_unreadable_file_is_named_and_may_be_a_row_of_nan(
    model: hilum.Predictor, film_files: list[Path], tmp_path: Path
) -> None:
    for images in (film_files, film_files[2], film_files[0].parent):
        for call in (model.predict, model.features):
            with pytest.raises(
                DataError, match=r"film2\.png could not be read: not a PNG, JPEG or DICOM"
            ):
                call(images)
    table = model.predict(film_files, unreadable="nan")
    assert list(table.isna().all(axis=1)) == [False, False, True, False, False]
    features = model.features(film_files, unreadable="nan")
    assert list(np.isnan(features).all(axis=1)) == [False, False, True, False, False]
    with pytest.raises(DataError, match="could not be read: missing"):
        model.predict(tmp_path / "none.png", unreadable="nan")
    with pytest.raises(DataError, match="holds no PNG, JPEG or DICOM file"):
        model.predict(tmp_path)


def test_a_heatmap_lies_over_the_image_as_given(model: hilum.Predictor) -> None:
    image = np.zeros((40, 60), np.uint8)  # below 48 pixels nothing is said to look inverted
    image[25:35, 38:52] = 200  # where findings are drawn on the films that it learnt from
    heat = model.explain(image, "mass" if "mass" in model.findings else "Mass")
    assert heat.dtype == np.float32
    assert heat.shape == (40, 60)
    assert 0 <= heat.min() <= heat.max() <= 1
    with pytest.raises(OptionError, match=r"unknown finding 'Mas': this model calls .*'Mass'\?"):
        model.explain(image, "Mas")
    with pytest.raises(DataError, match="explain takes one image and got 2"):
        model.explain([image, image], "Mass")


def test_a_heatmap_of_padded_images_leaves_the_margins_out(model: hilum.Predictor) -> None:
    from hilum.heatmaps.overlay import over_original
    from hilum.images.enhance import Preparation

    square = np.zeros((32, 32), np.float32)
    square[8:24] = 1  # the image in the middle; black margins above and below
    heat = over_original(square, Preparation(32, fit="pad"), 50, 100)
    assert heat.shape == (50, 100)
    assert (heat == 1).all()


def test_a_pretrained_run_has_features_and_says_what_it_lacks(
    pretrained: Path, files: list[Path]
) -> None:
    model = hilum.load(str(pretrained), device="cpu")
    features = model.features(files)
    assert features.dtype == np.float32
    assert features.shape == (3, model.model.backbone.out_features)
    assert len(np.unique(features, axis=0)) == 3
    for call in (lambda: model.predict(files), lambda: model.explain(files[0], "Mass")):
        with pytest.raises(RunError, match="pretrained only and calls no findings") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_backbone_goes_into_plain_timm(pretrained: Path, files: list[Path]) -> None:
    model = hilum.load(pretrained, device="cpu")
    network = timm.create_model("test_resnet", in_chans=1, num_classes=0)
    network.load_state_dict(model.state_dict())
    with torch.inference_mode():
        features = network.eval()(model.preprocess(files)).numpy()
    assert np.array_equal(features, model.features(files))


def test_what_is_no_run_or_device_is_one_line(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no trained model"):
        hilum.load(tmp_path)
    with pytest.raises(OptionError, match="--device is mps: allowed are auto, cpu, cuda"):
        hilum.load(classifier, device="mps")
    with pytest.raises(TypeError, match="run is None: allowed is a path"):
        hilum.load(None)  # type: ignore[arg-type]


GROWTH = """
import resource, sys
import hilum, numpy as np, torch
from torch.utils.data import DataLoader, Dataset

class Endless(Dataset):
    def __getitem__(self, index):
        return torch.zeros(1, 1024, 1024)
    def __len__(self):
        return 10_000_000

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

model = hilum.load(sys.argv[1], device="cpu")
model.predict(np.zeros((8, 8), np.uint8))
before, refused = peak(), 0
for wrong in (Endless(), DataLoader(Endless()), (torch.zeros(1) for _ in range(10)), b"x", {}, 7):
    for call in (
        model.predict,
        model.features,
        lambda data: hilum.PretrainOptions(data=data, out="run"),
        lambda data: hilum.FinetuneOptions(data=data, out="run"),
        lambda data: hilum.predict(sys.argv[1], data, "out.csv"),
    ):
        try:
            call(wrong)
        except TypeError:
            refused += 1
print(refused, peak() - before)
"""


def test_refusing_takes_no_memory(classifier: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, str(classifier)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    refused, kilobytes = map(int, done.stdout.split())
    assert refused == 30
    assert kilobytes < 500_000


def test_a_dicom_film_that_does_not_enter_is_refused_with_what_takes_it(
    classifier: Path, export: Export
) -> None:
    model = hilum.load(classifier, device="cpu")
    chest = export("chest")
    others = {
        "another body part: --keep body-part": export("leg", BodyPartExamined="LEG"),
        "localiser: --keep localiser": export(
            "scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
        ),
        "several frames: --keep frames": export(
            "many", NumberOfFrames=2, PixelData=bytes(4 * SIDE**2)
        ),
    }
    for reason, file in others.items():
        with pytest.raises(
            DataError, match=re.escape(f"{file} could not be read: {reason} takes it")
        ):
            model.predict(file)
    table = model.predict([chest, *others.values()], unreadable="nan")
    assert list(table["Edema"].isna()) == [False, True, True, True]
    assert set(model.predict(export.root, unreadable="nan").index) == set(
        map(str, [chest, *others.values()])
    )
    taken = hilum.load(classifier, device="cpu", keep=["body-part"])
    assert set(taken.predict(others["another body part: --keep body-part"])) == set(FINDINGS)
    with pytest.raises(OptionError, match="allowed are modality"):
        hilum.load(classifier, device="cpu", keep=["leg"])


def test_films_that_look_inverted_or_turned_are_warned_of(
    model: hilum.Predictor, tmp_path: Path
) -> None:
    options = PhantomOptions(count=40, size=96, seed=4)
    upright = [draw(film, 96, 4)[0] for film in cohort(options) if film.position != "LATERAL"][:3]
    films = [upright[0], 255 - upright[1], np.ascontiguousarray(np.rot90(upright[2]))]
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file, film in zip(files, films, strict=True):
        cv2.imwrite(str(file), film)
    with pytest.warns(
        UserWarning, match=r"1\.png looks inverted, .*2\.png looks turned to the left"
    ):
        model.predict(files)
    with pytest.warns(UserWarning, match="image 1 looks inverted"):
        model.features(films)
    with pytest.warns(UserWarning, match="look at it before you trust"):
        model.explain(files[1], "Edema")
    with pytest.warns(UserWarning, match="looks"):
        looks = model.looks_like(files)
    assert list(looks) == ["", "inverted", "turned to the left"]
    assert list(looks.index) == list(map(str, files))
    model.predict(files[0])
