"""Export: one folder that Hilum, timm and onnxruntime read alike, or a refusal in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pandas as pd
import pytest
import yaml
from huggingface_hub import ModelCard, metadata_load
from onnx import helper
from torch import nn

import hilum
from hilum.bundle.exported import CARD, CHECKS, CONFIG, DESCRIPTION, FILES, GRAPH, SCRIPT, WEIGHTS
from hilum.bundle.model_folder import described, is_model, load_model
from hilum.bundle.onnx_model import OnnxModel
from hilum.bundle.onnx_scan import scan
from hilum.bundle.starter import FOLDER, resolved
from hilum.errors import OptionError, RunError
from hilum.images.enhance import ENHANCEMENTS, FITS, Preparation
from hilum.images.films import Films
from hilum.images.read import read_grey
from hilum.training.options_file import write_options
from hilum.workflows.check.check import check
from hilum.workflows.export import predict_alone
from hilum.workflows.export.ancestry import ancestry, warnings_of
from hilum.workflows.export.export import export
from hilum.workflows.export.graph import Graph, refuse_training_mode
from hilum.workflows.export.options import ExportOptions
from hilum.workflows.export.proof import prove
from hilum.workflows.inference.predict import predict

# Files of random values, which look like no film.
pytestmark = pytest.mark.filterwarnings("ignore:.*unlike a chest film")

CLOSE = 1e-4
OFFLINE = """
import sys
def hook(event, arguments):
    if event.startswith("socket.") and event not in ("socket.gethostname",):
        raise RuntimeError(event)
sys.addaudithook(hook)
import numpy as np, timm, torch
films = np.load(sys.argv[2])
network = timm.create_model("local-dir:" + sys.argv[1], pretrained=True, in_chans=1).eval()
images = torch.from_numpy(films)[:, None].float() / 255
images = images - images.mean((2, 3), keepdim=True)
images = images / images.square().mean((2, 3), keepdim=True).sqrt().clamp(min=1 / 255)
with torch.inference_mode():
    np.save(sys.argv[3], network(images).numpy())
"""
WITHOUT = """
import runpy, sys
for name in ("torch", "timm", "hilum", "pandas", "safetensors", "onnx"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def odd_films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """PNG and JPEG of odd sizes: grey, 16-bit of 12 and of 16 bits, RGB, with alpha, turned by EXIF."""
    folder, rng = tmp_path_factory.mktemp("odd"), np.random.default_rng(0)
    grey = cv2.resize(rng.integers(0, 256, (9, 7), dtype=np.uint8), (131, 97))
    wide, alpha = grey.astype(np.uint16), np.full_like(grey, 7)
    images = {
        "grey.png": grey,
        "grey.jpg": grey,
        "small.png": grey[:13, :9],
        "12bit.png": wide * 16,
        "16bit.png": wide * 257,
        "rgb.png": np.dstack([grey, grey // 2, 255 - grey]),
        "rgb.jpg": np.dstack([grey, grey // 2, 255 - grey]),
        "alpha.png": np.dstack([grey, grey, grey, alpha]),
    }
    for name, image in images.items():
        assert cv2.imwrite(str(folder / name), image)
    return [folder / name for name in images]


def test_the_same_film_gives_the_same_in_every_way(
    exported_run: Path, bundle: Path, odd_films: list[Path], tiny_store: Path, tmp_path: Path
) -> None:
    run, read, onnx_model = hilum.load(exported_run), hilum.load(bundle), OnnxModel(bundle)
    assert read.findings == run.findings == onnx_model.findings == ("Edema", "Mass")
    assert is_model(bundle)
    assert described(bundle).thresholds == run.description.thresholds
    expected = run.predict(odd_films).to_numpy()
    assert np.abs(read.predict(odd_films).to_numpy() - expected).max() < CLOSE
    prepared = np.stack([onnx_model.preparation.apply(read_grey(film)) for film in odd_films])
    assert np.abs(onnx_model.probabilities(prepared) - expected).max() < CLOSE
    films = Films.open([tiny_store]).read(np.arange(9))
    np.save(tmp_path / "films.npy", films)
    arguments = [str(bundle), str(tmp_path / "films.npy"), str(tmp_path / "logits.npy")]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", OFFLINE, *arguments], check=True, env=environment)
    logits = onnx_model.logits(films)
    assert np.abs(np.load(tmp_path / "logits.npy") - logits).max() < CLOSE
    by_torch = np.log(run.score_films(Films.open([tiny_store]), np.arange(9)).astype(float))
    assert np.abs(by_torch + np.logaddexp(0, -logits.astype(float))).max() < CLOSE
    # What films are compared by.
    features = run.features(tiny_store)
    assert np.abs(onnx_model.features(films) - features[:9]).max() < CLOSE * np.abs(features).max()
    # The maps are exact: their mean and the bias are the logit.
    assert run.model.head is not None
    means = onnx_model.maps(films).mean((2, 3)) + run.model.head.bias.detach().numpy()
    assert np.abs(means - logits).max() < CLOSE
    assert onnx_model.heatmap(films[0], 0).shape == (32, 32)


def test_predict_takes_a_bundle_and_its_script_gives_the_same(
    bundle: Path, odd_films: list[Path], tmp_path: Path
) -> None:
    broken, dicom = tmp_path / "no.png", tmp_path / "film.dcm"
    broken.write_text("no film")
    dicom.write_bytes(bytes(128) + b"DICM")
    predict(bundle, odd_films, tmp_path / "hilum.csv", "cpu")
    command = [sys.executable, "-c", WITHOUT, str(bundle / SCRIPT), *map(str, odd_films)]
    ended = subprocess.run(
        [*command, str(broken), str(dicom), "--out", str(tmp_path / "alone.csv")],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = ended.stderr.splitlines()
    assert (ended.returncode, len(lines)) == (1, 2), ended.stderr
    assert "not a PNG, JPEG" in lines[0]
    assert "hilum predict" in lines[1]
    ours, theirs = (pd.read_csv(tmp_path / name) for name in ("hilum.csv", "alone.csv"))
    assert list(ours["film"]) == list(theirs["film"])
    assert np.abs(ours[["Edema", "Mass"]] - theirs[["Edema", "Mass"]]).max().max() < CLOSE
    assert ours["called"].fillna("").equals(theirs["called"].fillna(""))


@pytest.mark.parametrize("enhance", ENHANCEMENTS)
@pytest.mark.parametrize("fit", FITS)
def test_the_script_prepares_pixel_by_pixel(odd_films: list[Path], enhance: str, fit: str) -> None:
    preparation = Preparation(24, enhance, fit)
    model = {"preparation": preparation.to_json()}
    for film in odd_films:
        alone = predict_alone.prepared(film, model)
        assert np.array_equal(alone, preparation.apply(read_grey(film)))


def test_the_script_refuses_what_it_cannot_do(bundle: Path, tmp_path: Path) -> None:
    for change, line in (
        ({"preparation": {**described(bundle).preparation, "fix_polarity": True}}, "needs Hilum"),
        ({"format": 3}, "another format"),
    ):
        content = json.loads((bundle / DESCRIPTION).read_bytes()) | change
        (tmp_path / DESCRIPTION).write_text(json.dumps(content))
        with pytest.raises(ValueError, match=line):
            predict_alone.load(tmp_path)
    for name in (DESCRIPTION, CHECKS, GRAPH):
        (tmp_path / name).write_bytes((bundle / name).read_bytes())
    (tmp_path / GRAPH).write_bytes(b"other")
    with pytest.raises(ValueError, match="not what was exported"):
        predict_alone.load(tmp_path)


def test_the_card_is_one_of_the_hub_and_names_nobody(bundle: Path, exported_run: Path) -> None:
    text = (bundle / CARD).read_text("utf-8")
    data = ModelCard(text, ignore_metadata_errors=False).data
    assert (data.library_name, data.license) == ("timm", "cc-by-4.0")
    head = metadata_load(bundle / CARD)
    assert head == yaml.safe_load(data.to_yaml())  # through its classes and back, nothing is lost
    assert len(head["model-index"][0]["results"]) == len(data.eval_results)
    assert all(isinstance(tag, str) for tag in head["tags"])
    assert data.pipeline_tag == "image-classification"
    (result,) = data.eval_results
    assert result.metric_type == "roc_auc"
    assert f"{hilum.load(exported_run).description.backbone}" in text
    assert text.count("| Edema |") == 1
    config = json.loads((bundle / CONFIG).read_bytes())
    assert config["label_names"] == ["Edema", "Mass"]
    assert config["pretrained_cfg"]["input_size"] == [1, 32, 32]
    assert config["pretrained_cfg"]["license"] == "cc-by-4.0"  # and not that of timm's weights
    assert "origin_url" not in config["pretrained_cfg"]
    row = text.split("| Edema |")[1].splitlines()[0]
    (scored,) = json.loads((bundle / DESCRIPTION).read_bytes())["results"].values()
    ends = scored["findings"]["Edema"]
    shown = "{:.3f} [{:.3f}, {:.3f}]".format(ends["value"], *ends["interval"])
    assert shown in row
    assert result.metric_value == pytest.approx(scored["auroc"]["value"], abs=1e-4)
    everything = "".join((bundle / name).read_text("utf-8") for name in (CARD, DESCRIPTION, CHECKS))
    for name in (str(exported_run.parent), "/nowhere", "tiny", "p1", "1.png"):
        assert name not in everything, name
    places = [str(Path(hilum.__file__).parent), str(Path.home()), "site-packages"]
    for file in bundle.iterdir():
        assert not [place for place in places if place.encode() in file.read_bytes()], file


def test_check_computes_again_and_finds_each_changed_file(bundle: Path, tmp_path: Path) -> None:
    whole = check(bundle)
    assert not whole.damaged
    assert {CHECKS, *FILES} == set(whole.checked)
    assert any(CARD in note for note in whole.notes)
    for name in FILES:
        (tmp_path / name).write_bytes((bundle / name).read_bytes())
    (tmp_path / CHECKS).write_bytes((bundle / CHECKS).read_bytes())
    for name in (WEIGHTS, GRAPH, SCRIPT):
        content = (bundle / name).read_bytes()
        (tmp_path / name).write_bytes(content + b" ")
        assert any(name in line for line in check(tmp_path).damaged), name
        (tmp_path / name).write_bytes(content)


class _Stuck(nn.Dropout):
    """A dropout that cannot be switched off."""

    def train(self, mode: bool = True) -> _Stuck:
        return super().train(True)


class _StuckNorm(nn.BatchNorm2d):
    def train(self, mode: bool = True) -> _StuckNorm:
        return super().train(True)


@pytest.mark.parametrize("part", [_Stuck(0.5), _StuckNorm(3), nn.Sequential(_Stuck(0.1))])
def test_what_stays_in_training_mode_is_refused(
    exported_run: Path, part: nn.Module, tmp_path: Path
) -> None:
    model = load_model(exported_run)
    model.backbone.network.add_module("stuck", part)
    graph = Graph(load_model(exported_run), 32).eval()
    refuse_training_mode(graph)
    graph.add_module("stuck", part)
    with pytest.raises(RunError, match=r"(Dropout|Norm|Stuck).*training mode"):
        refuse_training_mode(graph.eval())


def test_a_graph_that_trains_or_draws_is_refused(bundle: Path) -> None:
    model = onnx.load(str(bundle / GRAPH))
    assert scan(model.SerializeToString()).operators >= {"Conv", "BatchNormalization"}
    for node, line in (
        (helper.make_node("Dropout", ["logits"], ["x"]), "training mode"),
        (helper.make_node("RandomNormal", [], ["x"], shape=[1]), "RandomNormal"),
        (helper.make_node("BatchNormalization", list("abcde"), ["x"], training_mode=1), "training"),
    ):
        other = onnx.load(str(bundle / GRAPH))
        other.graph.node.append(node)
        with pytest.raises(ValueError, match=line):
            scan(other.SerializeToString())


def test_no_bias_of_a_convolution_is_computed(bundle: Path) -> None:
    """Runtimes join a convolution with the norm and the activation after it only then."""
    for folder in (bundle, FOLDER):
        graph = onnx.load(folder / GRAPH).graph
        stored = {tensor.name for tensor in graph.initializer}
        convolutions = [node for node in graph.node if node.op_type == "Conv"]
        assert convolutions
        assert all(set(node.input[1:]) <= stored for node in convolutions)
        used = {name for node in graph.node for name in node.input}
        used |= {entry.name for entry in graph.output}
        assert all(used.intersection(node.output) for node in graph.node)


def test_a_graph_that_computes_something_else_is_refused(bundle: Path, tiny_store: Path) -> None:
    films = Films.open([tiny_store]).read(np.arange(8))
    data, logits = (bundle / GRAPH).read_bytes(), OnnxModel(bundle).logits(films)
    proof = prove(data, films, logits, "films")
    assert (proof.films, proof.batches) == (8, (1, 2, 7))
    for difference in (2e-4, -1.0, float("nan")):
        wrong = logits.copy()
        wrong[7, 1] += difference
        with pytest.raises(RunError, match=r"differs from torch .* nothing was written"):
            prove(data, films, wrong, "films")


def test_wrong_commands_are_one_line(
    exported_run: Path, bundle: Path, tmp_path: Path, make_store: object
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    for run, out, line in (
        (exported_run, tmp_path / "other", "something else than an exported bundle"),
        (bundle, tmp_path / "new", "exported bundle already"),
        (tmp_path / "none", tmp_path / "new", "no trained model"),
    ):
        with pytest.raises((OptionError, RunError), match=line):
            export(run, ExportOptions(out=out))
        assert not (tmp_path / "new").exists()
    assert (tmp_path / "other" / "thesis.txt").read_text() == "mine"
    for licence in ("CC BY", "a\nb", "", "x" * 80):
        with pytest.raises(OptionError, match="--licence is"):
            ExportOptions(out=tmp_path, licence=licence)


def test_a_pretrained_run_gives_features(tiny_store: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    hilum.pretrain(
        "simclr",
        hilum.SimCLROptions(),
        hilum.PretrainOptions(
            data=(tiny_store,),
            out=run,
            backbone="test_resnet",
            train=hilum.TrainOptions(epochs=1, batch_size=16, size=24, accelerator="cpu"),
        ),
    )
    # Trained at 24 px on films of 32: resizing is part of the graph.
    out = export(run, ExportOptions(out=tmp_path / "bundle")).out
    films = Films.open([tiny_store]).read(np.arange(5))
    features = hilum.load(run).features(list(films))
    assert np.abs(OnnxModel(out).logits(films) - features).max() < CLOSE
    assert np.abs(hilum.load(out).features(list(films)) - features).max() < CLOSE
    with pytest.raises(OptionError, match="no class-activation maps"):
        OnnxModel(out).maps(films)
    data = ModelCard((out / CARD).read_text("utf-8"), ignore_metadata_errors=False).data
    assert data.pipeline_tag == "image-feature-extraction"
    with pytest.raises(RunError, match="pretrained only"):
        predict(out, [tmp_path / "film.png"], tmp_path / "out.csv", "cpu")


def test_ancestry_names_each_start_with_its_licence(exported_run: Path, tmp_path: Path) -> None:
    assert ancestry(exported_run) == ()  # random weights
    cases = {
        "imagenet": ({"init": "imagenet", "backbone": "resnet18"}, "imagenet", "apache-2.0"),
        "file": ({"init": "/secret/of/jane.pth"}, "file", "other"),
        "dino": (
            {"init": "imagenet", "backbone": "vit_small_patch16_dinov3"},
            "imagenet",
            "dinov3-license",
        ),
        "none": ({"init": "/moved/run"}, "unknown", "other"),
        "rounds": ({"from": "/moved/run"}, "unknown", "other"),
    }
    for name, (block, kind, licence) in cases.items():
        (tmp_path / name).mkdir()
        record = {"init": "ab" * 32} if kind == "file" else {}
        write_options(tmp_path / name, {"finetune": block, "record": record})
        (entry,) = ancestry(tmp_path / name, "other")
        assert (entry["kind"], entry["licence"]) == (kind, licence)
        assert "jane" not in json.dumps(entry)
        assert bool(list(warnings_of((entry,)))) == (licence != "apache-2.0")
    (entry,) = ancestry(tmp_path / "no-run-at-all")
    assert entry["kind"] == "unknown"


def test_starter_is_a_bundle_of_the_package_unless_a_folder_has_that_name(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolved(Path("runs/starter")) == Path("runs/starter")
    if not FOLDER.is_dir():
        with pytest.raises(RunError, match="no starter model"):
            hilum.load("starter")
    (tmp_path / "starter").symlink_to(bundle)
    assert OnnxModel("starter").findings == ("Edema", "Mass")
    assert hilum.load("starter").findings == ("Edema", "Mass")


def test_a_part_of_a_bundle_is_said_to_be_one(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / DESCRIPTION).write_bytes((bundle / DESCRIPTION).read_bytes())
    (tmp_path / GRAPH).write_bytes((bundle / GRAPH).read_bytes())
    for act in (OnnxModel, load_model, described):
        with pytest.raises(RunError, match=r"no whole bundle \(checks.json: No such file"):
            act(tmp_path)
