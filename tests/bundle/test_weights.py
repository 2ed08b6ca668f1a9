"""Where weights come from: files of many shapes, refused where they do not fit, never run."""

from __future__ import annotations

import argparse
import fractions
import os
import pickle
import re
import subprocess
import sys
import types
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from hilum.bundle.initialization import initial_weights
from hilum.bundle.weight_files import Table, read_tables
from hilum.bundle.weights import Matched, fill
from hilum.errors import HilumError, OptionError, RunError
from hilum.nn.backbones import Backbone


def published(name: str, seed: int = 3, channels: int = 3) -> torch.nn.Module:
    """A network as its authors would publish it: three channels, a classifier, statistics that moved."""
    torch.manual_seed(seed)
    network = timm.create_model(name, in_chans=channels, num_classes=10)
    with torch.no_grad():
        network(torch.randn(4, channels, 64, 64))
    return network.eval()


def taken(backbone: Backbone, tensors: dict[str, torch.Tensor]) -> Matched:
    return fill(backbone, [Table((), tensors)], "file")


@pytest.mark.parametrize("name", ["resnet18", "test_efficientnet", "test_convnext"])
def test_summed_stems_compute_what_three_equal_channels_do(name: str) -> None:
    network, backbone = published(name), Backbone(name, 64).eval()
    matched = taken(backbone, network.state_dict())
    assert matched.taken == matched.total
    assert len(matched.summed) == 1
    assert "summed" in str(matched)
    films = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        expected = network.forward_head(
            network.forward_features(films.expand(-1, 3, -1, -1)), pre_logits=True
        )
        found = backbone(films)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert found.std() > 1e-3


def test_one_channel_is_taken_as_it_is() -> None:
    network, backbone = published("test_resnet", channels=1), Backbone("test_resnet", 64)
    assert taken(backbone, network.state_dict()).summed == ()
    assert torch.equal(backbone.network.conv1[0].weight, network.conv1[0].weight)


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "module.encoder.",
        "base_encoder.",
        "_orig_mod.",
        "student.backbone.",
        "my_own.thing._orig_mod.net.",
    ],
)
def test_prefixes_are_found(prefix: str) -> None:
    network, backbone = published("test_resnet"), Backbone("test_resnet", 64)
    tensors = {prefix + name: value for name, value in network.state_dict().items()}
    matched = taken(backbone, {**tensors, "other.thing": torch.zeros(3)})
    assert matched.taken == matched.total
    assert "other.thing" in matched.unused
    assert torch.equal(
        backbone.network.state_dict()["bn1.weight"], network.state_dict()["bn1.weight"]
    )


@pytest.mark.parametrize("change", ["stem", "shortcut", "norm", "renamed"])
def test_a_tensor_that_does_not_fit_is_refused_and_nothing_is_copied(change: str) -> None:
    backbone = Backbone("resnet18", 64)
    before = {name: value.clone() for name, value in backbone.network.state_dict().items()}
    given = {name: value + 1 for name, value in before.items()}
    if change == "stem":
        given["conv1.weight"] = torch.randn(64, 3, 3, 3)
        fitting, line = (
            99,
            "conv1.weight has the shape [64, 3, 3, 3] there and [64, 1, 7, 7] in the network",
        )
    elif change == "shortcut":
        del given["layer2.0.downsample.0.weight"]
        fitting, line = 99, "layer2.0.downsample.0.weight is not there"
    elif change == "norm":
        given["layer1.0.bn1.running_var"] = torch.ones(63)
        fitting, line = (
            99,
            "layer1.0.bn1.running_var has the shape [63] there and [64] in the network",
        )
    else:
        given = {name.replace("downsample", "shortcut"): value for name, value in given.items()}
        fitting, line = (
            85,
            (
                "layer2.0.downsample.0.weight is not there and 14 more "
                "(the file has 'layer2.0.shortcut.0.weight')"
            ),
        )
    expected = re.escape(
        f"file has {fitting} of the 100 tensors of resnet18; {line}: give a whole file, or "
        f"--allow-partial, which leaves these {100 - fitting} random."
    )
    with pytest.raises(RunError, match=expected) as caught:
        taken(backbone, given)
    assert "--backbone" not in str(caught.value)
    assert all(
        torch.equal(value, before[name]) for name, value in backbone.network.state_dict().items()
    )
    matched = fill(backbone, [Table((), given)], "file", allow_partial=True)
    assert "%" not in str(matched)
    assert f"left random: {matched.missing[0]}" in str(matched)
    assert set(matched.missing) == {
        name
        for name, value in backbone.network.state_dict().items()
        if "tracked" not in name and torch.equal(value, before[name])
    }


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_a_number_that_is_not_finite_is_refused_by_name(number: float) -> None:
    given = {name: value.double() for name, value in published("test_resnet").state_dict().items()}
    given["bn1.bias"][3] = number
    with pytest.raises(RunError, match=r"file has 1 value in bn1.bias that is not finite"):
        taken(Backbone("test_resnet", 64), given)


def test_a_variance_below_0_is_refused_by_name() -> None:
    given = published("test_resnet").state_dict()
    given["bn1.running_var"][0] = -1.0
    with pytest.raises(RunError, match=r"variances below 0 in bn1\.running_var"):
        taken(Backbone("test_resnet", 64), given)


@pytest.mark.parametrize("kind", ["int8", "sparse", "meta", "complex"])
def test_tensors_that_are_no_dense_numbers_are_refused_by_name(kind: str) -> None:
    given = dict(published("test_resnet").state_dict())
    value = given["bn1.weight"]
    given["bn1.weight"] = {
        "int8": value.to(torch.int8),
        "sparse": value.to_sparse(),
        "meta": value.to("meta"),
        "complex": value.to(torch.complex64),
    }[kind]
    with pytest.raises(RunError, match=r"bn1.weight is (of int8|sparse|without values|of complex)"):
        taken(Backbone("test_resnet", 64), given)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_taken(dtype: torch.dtype) -> None:
    network, backbone = published("test_resnet"), Backbone("test_resnet", 64)
    given = {name: value.to(dtype) for name, value in network.state_dict().items()}
    assert taken(backbone, given).missing == ()
    weight = backbone.network.state_dict()["bn1.weight"]
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, network.state_dict()["bn1.weight"], rtol=1e-2, atol=1e-2)


def renamed(state: dict[str, torch.Tensor], layout: str) -> dict[str, torch.Tensor]:
    if layout == "numbered":  # nn.Sequential(*list(resnet.children())[:-1])
        numbers = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
        return {
            f"backbone.{numbers[name.split('.')[0]]}.{name.partition('.')[2]}": value
            for name, value in state.items()
            if not name.startswith("fc.")
        }
    if layout == "dotted":
        return {re.sub(r"(denselayer\d+\.\w+?)(\d)", r"\1.\2", name): state[name] for name in state}
    if layout == "monai":
        return {re.sub(r"(denselayer\d+\.)", r"\1layers.", name): state[name] for name in state}
    return {
        f"0.{name.removeprefix('features.')}": state[name] for name in state
    }  # densenet.children()


@pytest.mark.parametrize(
    ("name", "layout"),
    [("resnet18", "numbered")] + [("densenet121", how) for how in ("dotted", "monai", "children")],
)
def test_other_libraries_names_are_found(name: str, layout: str) -> None:
    torch.manual_seed(1)
    network, backbone = timm.create_model(name, num_classes=3), Backbone(name, 64)
    matched = taken(backbone, renamed(network.state_dict(), layout))
    assert matched.missing == ()
    for key, value in backbone.network.state_dict().items():
        other = network.state_dict()[key]
        assert torch.equal(value, other.sum(1, keepdim=True) if key in matched.summed else other)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (("net",), "from 'net'"),
        (("state", "model"), "from 'state.model'"),
        (("model_state_dict",), "from 'model_state_dict'"),
        (("my table",), "from 'my table'"),
        (
            ("classy_state_dict", "base_model", "model", "trunk"),
            "from 'classy_.*.model.trunk'",
        ),  # VISSL
    ],
)
def test_tables_inside_are_found_and_named(tmp_path: Path, content: tuple[str], place: str) -> None:
    whole: object = published("test_resnet").state_dict()
    for key in reversed(content):
        whole = {"optimiser": {"state": {0: {"step": torch.zeros(1)}}}, key: whole, "epoch": 3}
    torch.save(whole, tmp_path / "w.pth")
    start = initial_weights(str(tmp_path / "w.pth"), "test_resnet", 32, 0)
    assert re.search(place, start.notes[0])


def test_of_two_tables_that_fit_the_teacher_and_the_query_encoder_are_taken(tmp_path: Path) -> None:
    one, two = (published("test_resnet", seed).state_dict() for seed in (1, 2))
    moco = {
        f"module.encoder_{side}.{name}": state[name]
        for side, state in (("k", one), ("q", two))
        for name in one
    }
    for content, words in (
        ({"student": one, "teacher": two}, "from 'teacher' .*'student' fit too"),
        ({"state_dict": moco}, "below 'module.encoder_q.' .*encoder_k.' fit too"),
        ({"model": one, "ema": two}, "from 'ema'"),
    ):
        torch.save(content, tmp_path / "w.pth")
        start = initial_weights(str(tmp_path / "w.pth"), "test_resnet", 32, 0)
        assert re.search(words, start.notes[0])
        assert torch.equal(start.backbone.network.state_dict()["bn1.bias"], two["bn1.bias"])


EasyDict = type(
    "EasyDict", (dict,), {"__module__": "easydict"}
)  # as the package of that name has it


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "beside",
    [
        argparse.Namespace(lr=0.1),
        np.float64(0.8),
        np.arange(3),
        np.dtype("int32"),
        Path("x"),
        {"a": [np.int64(1)]},
        defaultdict(list, {"epochs": [1, 2]}),
        datetime.now(UTC),
        OmegaConf.create({"model": {"arch": "resnet", "betas": [0.9, 0.99]}}),
        EasyDict(lr=0.1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_harmless_objects_beside_the_tensors_are_passed_over(
    tmp_path: Path, beside: object, old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("easydict")
    module.EasyDict = EasyDict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "easydict", module)
    state = published("test_resnet").state_dict()
    content = {"model": state, "args": beside}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=not old)
    assert torch.equal(read_tables(tmp_path / "w.pth")[0].tensors["bn1.bias"], state["bn1.bias"])


class Calls:
    """Names a function, which pickle would call."""

    def __init__(self, called: object, *arguments: object) -> None:
        self.called, self.arguments = called, arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self.called, self.arguments


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("called", "name"),
    [
        (np.load, r"numpy\S*\.load"),
        (eval, r"builtins\.eval"),
        (np.testing.assert_allclose, r"numpy\.testing\S*"),
        (OmegaConf.load, r"builtins\.getattr"),
        (fractions.Fraction, r"fractions\.Fraction"),
    ],
)
def test_functions_of_known_libraries_are_refused_by_name(
    tmp_path: Path, called: object, name: str, old: bool
) -> None:
    content = {"a": torch.zeros(1), "x": Calls(called, "1")}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=not old)
    with pytest.raises(RunError, match=rf"needs the class {name}, which could run code"):
        read_tables(tmp_path / "w.pth")


@pytest.mark.parametrize("old", [False, True])
def test_what_takes_any_amount_of_memory_is_not_called(tmp_path: Path, old: bool) -> None:
    content = {"a": torch.zeros(1), "x": Calls(bytearray, 10**11)}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=not old)
    with pytest.raises(RunError, match=r"calls builtins\.bytearray, which no weights need"):
        read_tables(tmp_path / "w.pth")


def test_a_table_in_many_places_is_read_once(tmp_path: Path) -> None:
    inner: dict[str, object] = {"a": torch.zeros(1)}
    for _ in range(3):
        inner = {str(number): inner for number in range(50)}  # 125,000 places
    torch.save(inner, tmp_path / "w.pth")
    assert [table.place for table in read_tables(tmp_path / "w.pth")] == [("0", "0", "0")]


@pytest.mark.parametrize("name", ["a\nb", "a." * 10_000, ("a", "b"), b"a"])
def test_names_that_no_network_has_are_left_aside(tmp_path: Path, name: object) -> None:
    torch.save({name: torch.zeros(1), "b": torch.ones(1)}, tmp_path / "w.pth")
    assert list(read_tables(tmp_path / "w.pth")[0].tensors) == ["b"]


def test_another_class_is_named_with_the_lines_that_convert(tmp_path: Path) -> None:
    torch.save(torch.nn.Conv2d(1, 2, 3), tmp_path / "w.pth")
    with pytest.raises(
        RunError, match=r"the class torch.nn.modules.conv.Conv2d.*weights_only=False"
    ):
        read_tables(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "written", ["timm/resnet18", "hf-hub:timm/resnet18", "hf_hub:timm/resnet18"]
)
def test_names_of_the_hub_are_the_same_networks(written: str) -> None:
    assert Backbone(written, 64).name == "resnet18"


def test_another_networks_file_is_refused_and_the_right_backbone_named() -> None:
    state = {f"module.{name}": value for name, value in published("resnet34").state_dict().items()}
    with pytest.raises(RunError, match=r"choose --backbone resnet34, which it fits"):
        taken(Backbone("resnet50", 64), state)
    with pytest.raises(RunError, match=r"more weights between them.* --backbone resnet34\."):
        taken(Backbone("resnet18", 64), state)
    with pytest.raises(
        RunError, match=r"has none of the \d+ tensors of test_convnext \(the file has"
    ):
        taken(Backbone("test_convnext", 64), {"resnet.embedder.weight": torch.zeros(2)})


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("test_vit", {"init_values": 1e-5}),  # LayerScale: blocks.0.ls1.gamma
        ("test_vit", {"qk_norm": True}),
        ("test_resnet", "layer1.0.conv1.bias"),
        ("test_resnet", "layer2.0.se.fc1.weight"),
    ],
)
def test_a_network_with_more_in_its_blocks_is_another(
    name: str, more: dict[str, object] | str
) -> None:
    given = more if isinstance(more, dict) else {}
    state = timm.create_model(name, num_classes=3, **given).state_dict()
    if isinstance(more, str):
        state[more] = torch.zeros(3)
    backbone = Backbone(name, 64)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    with pytest.raises(
        RunError, match=r"has all \d+ tensors .* more weights between them, such as"
    ):
        taken(backbone, state)
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert fill(backbone, [Table((), state)], "file", allow_partial=True).missing == ()


@pytest.mark.parametrize("name", ["layer1.0.attn_mask", "fc.extra", "projector.bias", "queue"])
def test_what_is_no_part_of_a_block_is_left_aside(name: str) -> None:
    state = published("test_resnet").state_dict() | {name: torch.zeros(3)}
    assert taken(Backbone("test_resnet", 64), state).missing == ()


def trained_on(films: torch.Tensor) -> torch.nn.Module:
    """A network whose batch norms saw these films."""
    torch.manual_seed(5)
    network = timm.create_model("test_resnet", in_chans=1, num_classes=3)
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    with torch.no_grad():
        network(films)
    return network.eval()


def smooth_films() -> torch.Tensor:
    noise = torch.randn(8, 1, 9, 9, generator=torch.Generator().manual_seed(2))
    films = torch.nn.functional.interpolate(noise, size=64, mode="bilinear")
    return (films - films.mean((2, 3), keepdim=True)) / films.std((2, 3), keepdim=True)


@pytest.mark.parametrize("times", [500.0, 1e5, 1e-3])
def test_inputs_of_another_range_are_refused_with_what_to_multiply(times: float) -> None:
    films = smooth_films()
    state = trained_on(films * times).state_dict()
    backbone = Backbone("test_resnet", 64).eval()
    with pytest.raises(RunError, match=r"multiply conv1\S* by about") as error:
        taken(backbone, state)
    stem = re.search(r"multiply (\S+) by about (\S+) ", str(error.value))
    assert stem is not None
    assert times / 4 < float(stem[2]) < times * 4

    def spread(network: Backbone) -> float:
        with torch.inference_mode():
            features = network(films)
        return float((features.std(0) / features.abs().mean(0).clamp(min=1e-9)).median())

    backbone.network.load_state_dict(state, strict=False)
    assert times < 1 or spread(backbone) < 0.05  # what taking them whole would give
    state[stem[1]] = state[stem[1]] * float(stem[2])
    taken(backbone, state)
    assert spread(backbone) > 0.1


@pytest.mark.parametrize(
    "films", [lambda x: x, lambda x: 0.25 * x + 0.5, lambda x: 1.1 * x + 0.1, lambda x: 8 * x]
)
def test_usual_ranges_of_inputs_are_taken(films: Callable[[torch.Tensor], torch.Tensor]) -> None:
    state = trained_on(films(smooth_films())).state_dict()
    assert taken(Backbone("test_resnet", 64), state).missing == ()


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_files_of_every_kind_are_read(tmp_path: Path, suffix: str, wrapper: str | None) -> None:
    state = dict(published("test_resnet").state_dict())
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({wrapper: state, "epoch": 3} if wrapper else state, path)
    (table,) = read_tables(path)
    read = table.tensors
    assert all(torch.equal(read[name], value) for name, value in state.items())


class Payload:
    """Unpickling it would create a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("how", ["torch", "torch-old", "pickle"])
def test_a_malicious_file_is_refused_in_one_line_and_not_run(tmp_path: Path, how: str) -> None:
    mark, path = tmp_path / "was-run", tmp_path / "evil.pth"
    content = {"state_dict": {"a": torch.zeros(2)}, "x": Payload(mark)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(RunError, match=r"evil\.pth") as caught:
        initial_weights(str(path), "test_resnet", 32, 0)
    assert "\n" not in str(caught.value)
    assert not mark.exists()
    if how == "pickle":  # the file is as dangerous as it looks
        pickle.loads(path.read_bytes())
        assert mark.exists()


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth"])
@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"not weights at all", b"PK\x03\x04 cut"])
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RunError, match=name) as caught:
        read_tables(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "is empty: give"),
        (b"the weights are elsewhere\n", "is text and no weights file"),
        ("les poids sont à côté\r\n".encode(), "is text and no weights file"),
        (b"<!DOCTYPE html><title>404</title>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_what_is_no_weights_file_is_called_what_it_is(
    tmp_path: Path, content: bytes, line: str
) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(RunError, match=line):
        read_tables(tmp_path / "x.pth")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    for suffix in (".pth", ".safetensors"):
        path = tmp_path / f"cut{suffix}"
        state = dict(published("test_resnet").state_dict())
        torch.save(state, path) if suffix == ".pth" else save_file(state, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(RunError, match="cut"):
            read_tables(path)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, torch.zeros(3)])
def test_a_file_without_a_table_of_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(RunError, match="no table of tensors"):
        read_tables(tmp_path / "x.pth")


def test_a_missing_file_says_what_is_allowed() -> None:
    with pytest.raises(
        RunError, match=r"no weights file 'randon': give random, imagenet, a run folder"
    ):
        initial_weights("randon", "test_resnet", 32, 0)


def test_a_folder_without_a_finished_run_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"holds no finished run \(no model/model.json\): finish .* random, imagenet"
    ):
        initial_weights(str(tmp_path), "test_resnet", 32, 0)


def test_a_file_tells_where_the_start_comes_from(tmp_path: Path) -> None:
    torch.save(published("test_resnet").state_dict(), tmp_path / "w.pth")
    start = initial_weights(str(tmp_path / "w.pth"), "test_resnet", 32, 0)
    assert "all " in start.notes[0]
    assert "tensors of test_resnet taken" in start.notes[0]
    assert len(start.seen) == 0


OFFLINE = """
import sys
from hilum.bundle.initialization import initial_weights
from hilum.errors import HilumError
try:
    initial_weights("imagenet", sys.argv[1], 64, 0)
except HilumError as error:
    sys.stdout.write(f"{type(error).__name__}: {error}")
"""


def test_imagenet_offline_is_one_clear_line_and_does_not_hang(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "TORCH_HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, "resnet18"],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
        check=False,
    )
    assert done.stdout.startswith(
        "OptionError: the ImageNet weights of 'resnet18' could not be fetched"
    ), done.stderr
    assert "go online once, or give a downloaded file in place of imagenet." in done.stdout
    assert "\n" not in done.stdout


def test_imagenet_without_a_network_is_one_line_on_stderr(tmp_path: Path) -> None:
    left_out = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in left_out and not name.lower().endswith("_proxy")
    }
    # A name under .invalid never resolves (RFC 2606), so this is offline wherever it runs.
    environment |= {
        "HF_ENDPOINT": "https://hub.invalid",
        "HF_HOME": str(tmp_path),
        "TORCH_HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE.replace("stdout", "stderr"), "resnet18"],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
        check=False,
    )
    assert done.stderr.startswith(
        "OptionError: the ImageNet weights of 'resnet18' could not be fetched"
    )
    assert "\n" not in done.stderr
    assert done.stdout == ""


def test_imagenet_for_a_network_without_published_weights_says_so() -> None:
    name = "selecsls42"  # has none, though names that begin alike do
    assert not timm.is_model_pretrained(name)
    with pytest.raises(OptionError, match=r"no ImageNet weights for 'selecsls42'"):
        initial_weights("imagenet", name, 64, 0)


def test_every_refusal_is_one_the_user_can_mend() -> None:
    assert issubclass(RunError, HilumError)
    assert issubclass(OptionError, HilumError)
