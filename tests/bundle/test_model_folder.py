"""The bundle: what is written is read, twice the same bytes, damage is one line."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from hilum.bundle.description import Description
from hilum.bundle.initialization import initial_weights, input_size, new_backbone
from hilum.bundle.model_folder import (
    Model,
    age_notes,
    damages,
    is_model,
    load_model,
    save_model,
)
from hilum.bundle.training_manifest import joined, seen_films, were_seen
from hilum.errors import OptionError, RunError
from hilum.group_key import GroupKey
from hilum.images.enhance import Preparation
from hilum.workflows.inference.embed import embed
from hilum.workflows.inference.options import EmbedOptions
from hilum.workflows.inference.predict import predict

KEY = GroupKey(bytes(32), Path("no.key"))


def catalog(paths: list[str], pixels: list[str], source: str = "here") -> pd.DataFrame:
    return pd.DataFrame({"source": source, "path": paths, "pixels": pd.array(pixels, "string")})


def model(findings: tuple[str, ...] = ("Edema", "Mass")) -> Model:
    torch.manual_seed(0)
    backbone = new_backbone("test_resnet", 32, 0)
    head = nn.Linear(backbone.out_features, len(findings)) if findings else None
    described = Description(
        backbone="test_resnet",
        size=32,
        preparation=Preparation(32).to_json(),
        method="supervised",
        findings=findings,
        thresholds={name: 0.25 if name == "Edema" else None for name in findings},
        training_data={"stores": [{"source": "here", "films": 2}]},
    )
    return Model(
        described, backbone, head, seen_films(catalog(["a.png", "b.png"], ["01", "02"]), KEY)
    )


@pytest.mark.parametrize("findings", [("Edema", "Mass"), ()])
def test_a_round_trip_keeps_everything(tmp_path: Path, findings: tuple[str, ...]) -> None:
    written = model(findings)
    save_model(tmp_path / "run" / "model", written)
    for place in (tmp_path / "run", tmp_path / "run" / "model"):
        assert is_model(place)
        read = load_model(place)
        assert read.description == written.description
        pd.testing.assert_frame_equal(read.seen, written.seen)
        ours, theirs = written.backbone.state_dict(), read.backbone.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        if findings:
            films = torch.randn(2, 1, 32, 32)
            with torch.inference_mode():
                expected = written.classifier.eval()(films)
                assert torch.equal(read.classifier.eval()(films), expected)


def test_a_network_sees_what_is_asked_for_else_its_runs_size_else_the_films(tmp_path: Path) -> None:
    save_model(tmp_path / "model", model())
    for subject, size in ((str(tmp_path), 32), ("random", 48), (str(tmp_path / "weights.pth"), 48)):
        assert input_size(subject, None, Preparation(48)) == size
        assert input_size(subject, 64, Preparation(48)) == 64


def test_equal_models_give_equal_bytes_and_an_older_one_is_replaced(tmp_path: Path) -> None:
    for name in ("one", "other", "one"):
        save_model(tmp_path / name, model())
    for file in ("model.safetensors", "model.json", "seen.parquet"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_a_pretrained_model_calls_no_findings(tmp_path: Path) -> None:
    save_model(tmp_path, model(()))
    with pytest.raises(RunError, match=r"pretrained only .* `hilum finetune"):
        _ = load_model(tmp_path).classifier


def test_a_folder_without_model_is_one_line(tmp_path: Path) -> None:
    assert not is_model(tmp_path)
    with pytest.raises(RunError, match="holds no trained model"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "seen.parquet", "model.json"])
@pytest.mark.parametrize("how", ["cut", "empty", "missing", "noise"])
def test_damaged_files_are_one_line(tmp_path: Path, name: str, how: str) -> None:
    save_model(tmp_path, model())
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    if how != "missing":
        changed = {
            "cut": content[: len(content) // 2],
            "empty": b"",
            "noise": random.Random(0).randbytes(len(content)),
        }
        (tmp_path / name).write_bytes(changed[how])
    with pytest.raises(RunError) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_one_changed_bit_of_the_weights_is_found(tmp_path: Path) -> None:
    save_model(tmp_path, model())
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    rng = random.Random(1)
    for _ in range(20):
        content = bytearray(whole)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        with pytest.raises(RunError, match="not what was written"):
            load_model(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"format": "x"},
        {"findings": None},
        {"findings": ["Edema"]},
        {"backbone": "test_convnext"},
        {"unknown": 1},
        {"weights_sha256": None},
    ],
)
def test_a_description_that_does_not_fit_is_one_line(
    tmp_path: Path, change: dict[str, object]
) -> None:
    save_model(tmp_path, model())
    path = tmp_path / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(RunError) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_run_gives_its_weights_its_backbone_and_what_it_has_seen(tmp_path: Path) -> None:
    written = model()
    save_model(tmp_path / "model", written)
    start = initial_weights(str(tmp_path), None, 48, seed=5)
    assert start.backbone.name == "test_resnet"
    ours, theirs = written.backbone.network.state_dict(), start.backbone.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    pd.testing.assert_frame_equal(start.seen, written.seen)
    with pytest.raises(OptionError, match="holds a test_resnet: leave --backbone out"):
        initial_weights(str(tmp_path), "resnet18", 48, seed=5)


def test_films_are_known_by_name_or_by_pixels_and_no_name_is_kept() -> None:
    seen = seen_films(catalog(["p1/a.png", "p2/b.png"], ["01", "02"]), KEY)
    assert "p1" not in seen.to_csv()
    fresh = catalog(["p1/a.png", "new.png", "copy.png", "p2/b.png"], ["09", "03", "02", "02"])
    assert were_seen(fresh, seen, 64, KEY).tolist() == [True, False, True, True]
    elsewhere = catalog(["p1/a.png"], ["07"], source="there")
    assert were_seen(elsewhere, seen, 64, KEY).tolist() == [False]


def test_seen_films_of_several_runs_come_once_in_a_fixed_order() -> None:
    one, other = (
        seen_films(catalog(["a", "b"], ["1", "2"]), KEY),
        seen_films(catalog(["c", "a"], ["3", "1"]), KEY),
    )
    together = joined(one, other)
    assert len(together) == 3
    pd.testing.assert_frame_equal(together, joined(other, one))


@pytest.mark.parametrize("name", ["model.json", "seen.parquet", "manifest.json"])
def test_one_changed_bit_of_the_other_files_is_found(tmp_path: Path, name: str) -> None:
    save_model(tmp_path, model())
    whole, rng = (tmp_path / name).read_bytes(), random.Random(2)
    for _ in range(40):
        content = bytearray(whole)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RunError, match="train it again"):
            load_model(tmp_path)


def test_a_model_without_manifest_opens_with_a_note(tmp_path: Path) -> None:
    save_model(tmp_path, model())
    assert age_notes(tmp_path) == ()
    (tmp_path / "manifest.json").unlink()
    assert load_model(tmp_path).description.findings == ("Edema", "Mass")
    assert "earlier version" in age_notes(tmp_path)[0]
    assert damages(tmp_path) == []


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": "../x"},
        {"backbone": "hf-hub:somebody/something"},
        {"size": 10**9},
        {"size": "32"},
        {"findings": ["Edema", "Edema"]},
        {"findings": "Edema"},
        {"thresholds": {"Edema": "0.5"}},
        {"thresholds": {"Hernia": 0.5}},
        {"unstated": "maybe"},
        {"preparation": {"size": 32}},
        {"training_data": []},
    ],
)
def test_an_older_description_of_other_kinds_is_refused(
    tmp_path: Path, change: dict[str, object]
) -> None:
    save_model(tmp_path, model())
    (tmp_path / "manifest.json").unlink()
    path = tmp_path / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(RunError) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "name", "number"),
    [
        ("backbone", "network.bn1.bias", float("nan")),
        ("backbone", "network.layer1.0.conv1.weight", float("-inf")),
        ("head", "weight", float("inf")),
        ("backbone", "network.bn1.running_var", -1.0),
    ],
)
def test_a_model_with_numbers_that_are_not_finite_is_refused_by_the_tensors_name(
    tmp_path: Path, tiny_store: Path, part: str, name: str, number: float
) -> None:
    written = model()
    tensors = dict(getattr(written, part).state_dict())
    tensors[name].view(-1)[0] = number
    save_model(tmp_path / "run" / "model", written)
    cv2.imwrite(str(tmp_path / "film.png"), np.full((40, 40), 7, np.uint8))
    line = rf"{part}\.(network\.)?{re.escape(name.removeprefix('network.'))}"
    with pytest.raises(RunError, match=line):
        predict(tmp_path / "run", tmp_path / "film.png", tmp_path / "out.csv", "cpu")
    with pytest.raises(RunError, match=line):
        embed(
            str(tmp_path / "run"),
            EmbedOptions(data=(tiny_store,), out=tmp_path / "out.parquet", device="cpu"),
        )
    assert not (tmp_path / "out.csv").exists()
    assert not (tmp_path / "out.parquet").exists()
