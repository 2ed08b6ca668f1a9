"""Other libraries' names for the tensors of a network, and where they stand in a file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

WRAPPERS = re.compile(r"\b(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What torch.compile, FSDP and activation checkpointing put anywhere into a name."""


def layouts(network: nn.Module) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each known layout: in words, and a table from its names to the network's own.

    - timm's own names, which are torchvision's and MMPretrain's for ResNets and DenseNets;
    - those of torchvision's DenseNets before 2017 (``norm.1``) and of MONAI's (``layers.norm1``);
    - each of these in an ``nn.Sequential`` of the network's children (``0.weight``, ``4.0.conv1.weight``).
    """
    own = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
    numbers = {name: str(number) for number, (name, _) in enumerate(network.named_children())}
    names = {
        "its own names": {name: name for name in own},
        "DenseNet's dotted names": {
            re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name): name for name in own
        },
        "MONAI's DenseNet names": {
            re.sub(r"(denselayer\d+\.)", r"\1layers.", name): name for name in own
        },
    }
    for words, table in names.items():
        if words != "its own names" and list(table) == own:
            continue  # no DenseNet
        yield words, table
        numbered = {}
        for name, ours in table.items():
            first, dot, rest = name.partition(".")
            numbered[numbers.get(first, first) + dot + rest] = ours
        yield f"a numbered nn.Sequential of {words}", numbered


def without_wrappers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under names without what torch.compile and FSDP put into them."""
    bare: dict[str, Tensor] = {}
    for name, value in tensors.items():
        bare.setdefault(WRAPPERS.sub("", name), value)
    return bare


def prefixes(given: Mapping[str, Tensor], names: Mapping[str, str]) -> list[str]:
    """Return the prefixes below which a layout's names stand in a file, the one with most names first."""
    counts: Counter[str] = Counter()
    for name in given:
        cut = 0
        while True:
            if name[cut:] in names:
                counts[name[:cut]] += 1
            cut = name.find(".", cut) + 1
            if cut == 0:
                break
    return [prefix for prefix, _ in counts.most_common(8)]
