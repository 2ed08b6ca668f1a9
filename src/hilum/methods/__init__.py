"""Self-supervised methods: one file and one line in the table each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from hilum.errors import choose

if TYPE_CHECKING:
    from hilum.nn.backbones import Backbone
    from hilum.training.learner import Learner


class Method(Protocol):
    """What a method's class offers: its options' type, and a learner made from a backbone, options and crop size.

    The options are a frozen dataclass whose attribute docstrings are the command's help, with
    ``for_films(count)``, which fits them to so many films. Of a field ``positives`` see
    ``positives_of``.
    """

    Options: type[Any]

    def __call__(self, backbone: Backbone, options: Any, size: int) -> Learner:
        """Return the learner."""
        ...


METHODS = {
    "moco": (
        "hilum.methods.moco:MoCo",
        "MoCo v2: find each crop's positive among a queue of earlier crops",
    ),
    "simclr": (
        "hilum.methods.simclr:SimCLR",
        "SimCLR: find each crop's positive among all crops of the batch",
    ),
    "byol": (
        "hilum.methods.byol:BYOL",
        "BYOL: predict a slow copy of the network's embedding of the other crop",
    ),
    "swav": (
        "hilum.methods.swav:SwAV",
        "SwAV: predict, from one crop, which prototypes another is assigned to",
    ),
    "vicreg": (
        "hilum.methods.vicreg:VICReg",
        "VICReg: two crops alike, while every dimension varies and says something of its own",
    ),
}
"""Name -> where the class is and one line of help."""


def load_method(name: str) -> Method:
    """Return the class of a method.

    Raises:
        OptionError: There is no such method.
    """
    module, _, attribute = choose(name, METHODS, "method")[0].partition(":")
    method: Method = getattr(import_module(module), attribute)
    return method


def positives_of(options: Any) -> str:
    """Return what a method's options say the second crop is cut from; the same film where they leave no choice."""
    return str(getattr(options, "positives", "crop"))
