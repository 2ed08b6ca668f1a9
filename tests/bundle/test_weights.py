"""Where weights come from: files of many shapes, refused where they do not fit, never run."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from hilum.bundle.initialization import initial_weights
from hilum.bundle.weights import PREFIXES, fill, read_tensors
from hilum.errors import HilumError, OptionError, RunError
from hilum.nn.backbones import Backbone


def published(name: str, seed: int = 3, channels: int = 3) -> torch.nn.Module:
    """A network as its authors would publish it: three channels, a classifier, statistics that moved."""
    torch.manual_seed(seed)
    network = timm.create_model(name, in_chans=channels, num_classes=10)
    with torch.no_grad():
        network(torch.randn(4, channels, 64, 64))
    return network.eval()


@pytest.mark.parametrize("name", ["resnet18", "test_efficientnet", "test_convnext"])
def test_summed_stems_compute_what_three_equal_channels_do(name: str) -> None:
    network, backbone = published(name), Backbone(name, 64).eval()
    matched = fill(backbone.network, network.state_dict(), "file")
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
    assert fill(backbone.network, network.state_dict(), "file").summed == ()
    assert torch.equal(backbone.network.conv1[0].weight, network.conv1[0].weight)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_are_found(prefix: str) -> None:
    network, backbone = published("test_resnet"), Backbone("test_resnet", 64)
    tensors = {prefix + name: value for name, value in network.state_dict().items()}
    matched = fill(backbone.network, {**tensors, "other.thing": torch.zeros(3)}, "file")
    assert matched.taken == matched.total
    assert "other.thing" in matched.unused
    assert torch.equal(
        backbone.network.state_dict()["bn1.weight"], network.state_dict()["bn1.weight"]
    )


def test_under_95_percent_is_refused_and_nothing_is_copied() -> None:
    backbone = Backbone("test_resnet", 64)
    before = {name: value.clone() for name, value in backbone.network.state_dict().items()}
    given = {name: value + 1 for name, value in before.items()}
    values = {name: value.numel() for name, value in before.items() if not name.endswith("tracked")}
    largest = max(values, key=lambda name: values[name])
    assert values[largest] > 0.05 * sum(values.values())
    del given[largest]
    with pytest.raises(
        RunError, match=r"file has only .*% of the backbone's values .*at least 95%"
    ) as caught:
        fill(backbone.network, given, "file")
    assert largest in str(caught.value)
    assert all(
        torch.equal(value, before[name]) for name, value in backbone.network.state_dict().items()
    )


def test_a_little_less_than_all_is_taken_and_reported() -> None:
    backbone = Backbone("test_resnet", 64)
    given = {
        name: value
        for name, value in published("test_resnet").state_dict().items()
        if name != "bn1.bias"
    }
    matched = fill(backbone.network, given, "file")
    assert matched.missing == ("bn1.bias",)
    assert "left random: bn1.bias" in str(matched)


@pytest.mark.parametrize("other", ["test_convnext", "resnet10t"])
def test_another_networks_file_is_refused(other: str) -> None:
    with pytest.raises(RunError, match="choose the --backbone"):
        fill(Backbone("test_resnet", 64).network, published(other).state_dict(), "file")


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_files_of_every_kind_are_read(tmp_path: Path, suffix: str, wrapper: str | None) -> None:
    state = dict(published("test_resnet").state_dict())
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({wrapper: state, "epoch": 3} if wrapper else state, path)
    read = read_tensors(path)
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
        read_tensors(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    for suffix in (".pth", ".safetensors"):
        path = tmp_path / f"cut{suffix}"
        state = dict(published("test_resnet").state_dict())
        torch.save(state, path) if suffix == ".pth" else save_file(state, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(RunError, match="cut"):
            read_tensors(path)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, torch.zeros(3)])
def test_a_file_without_a_table_of_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(RunError, match="no table of tensors"):
        read_tensors(tmp_path / "x.pth")


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
    assert "100.0% of the backbone's" in start.notes[0]
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
