"""What a model.onnx holds, read from its bytes before any runtime parses them.

A runtime would follow paths of external data, load custom operators and run loops. The protobuf is
walked in place here: field numbers and lengths, no weights copied (the numbers are those of
``onnx.proto``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

OPSETS = range(13, 24)
"""Versions of ONNX' operators that are read."""
DOMAINS = ("", "ai.onnx")
MOST_NODES = 100_000
_REFUSED = frozenset(
    (
        *("If", "Loop", "Scan", "SequenceMap", "Optional", "ImageDecoder", "TfIdfVectorizer"),
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        *("Bernoulli", "Multinomial"),
    )
)
"""Operators that branch, draw random numbers, or have no place in a network."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Field numbers of ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto.
_MODEL_GRAPH, _MODEL_OPSETS, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 8, 20, 25
_GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_SPARSE = 1, 5, 15
_NODE_OP, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_NAME, _ATTRIBUTE_INTEGER, _ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS = 1, 3, 5, 10
_ATTRIBUTE_GRAPHS = {6, 11, 22, 23}  # graphs and sparse tensors
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14

Field = tuple[int, int, memoryview | int]
"""Number, wire type, and content."""


@dataclass
class GraphScan:
    """What was found."""

    opset: int = 0
    operators: set[str] = field(default_factory=set)
    nodes: int = 0


def scan(data: bytes) -> GraphScan:
    """Return what a model.onnx holds.

    Raises:
        ValueError: It is no ONNX model, is made for another version, has data outside of the file,
            or operators that a bundle may not have.
    """
    found, graphs = GraphScan(), 0
    for number, _, content in _fields(memoryview(data)):
        if number == _MODEL_GRAPH:
            graphs += 1
            _scan_graph(_message(content), found)
        elif number == _MODEL_OPSETS:
            _scan_opset(_message(content), found)
        elif number in (_MODEL_TRAINING, _MODEL_FUNCTIONS):
            raise ValueError("it has functions or training steps of its own")
    if graphs != 1 or not found.nodes:
        raise ValueError("it is no ONNX model")
    if found.opset not in OPSETS:
        raise ValueError(
            f"it is made for opset {found.opset}, {OPSETS.start} to {OPSETS.stop - 1} are read"
        )
    return found


def _scan_opset(message: memoryview, found: GraphScan) -> None:
    domain, version = "", 0
    for number, _, content in _fields(message):
        if number == 1:
            domain = _text(content)
        elif number == 2 and isinstance(content, int):
            version = content
    if domain not in DOMAINS:
        raise ValueError(f"it needs operators of {domain!r:.40}")
    found.opset = version


def _scan_graph(message: memoryview, found: GraphScan) -> None:
    for number, _, content in _fields(message):
        if number == _GRAPH_NODE:
            found.nodes += 1
            if found.nodes > MOST_NODES:
                raise ValueError(f"it has more than {MOST_NODES} nodes")
            _scan_node(_message(content), found)
        elif number == _GRAPH_TENSOR:
            _scan_tensor(_message(content))
        elif number == _GRAPH_SPARSE:
            raise ValueError("it has sparse tensors")


def _scan_node(message: memoryview, found: GraphScan) -> None:
    operator, trains = "", False
    for number, _, content in _fields(message):
        if number == _NODE_OP:
            operator = _text(content)
        elif number == _NODE_DOMAIN and _text(content) not in DOMAINS:
            raise ValueError(f"it has an operator of {_text(content)!r:.40}")
        elif number == _NODE_ATTRIBUTE:
            trains |= _scan_attribute(_message(content))
    if operator in _REFUSED:
        raise ValueError(f"it has an operator {operator}, which no bundle needs")
    if trains or operator == "Dropout":
        raise ValueError(f"{operator} is in training mode")
    found.operators.add(operator)


def _scan_attribute(message: memoryview) -> bool:
    """Return whether an attribute puts its node into training mode."""
    name, value = "", 0
    for number, _, content in _fields(message):
        if number == _ATTRIBUTE_NAME:
            name = _text(content)
        elif number == _ATTRIBUTE_INTEGER and isinstance(content, int):
            value = content
        elif number in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
            _scan_tensor(_message(content))
        elif number in _ATTRIBUTE_GRAPHS:
            raise ValueError("it has graphs within its graph")
    return name == "training_mode" and value != 0


def _scan_tensor(message: memoryview) -> None:
    for number, _, content in _fields(message):
        if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and content != 0):
            raise ValueError("it has data outside of its file")


def _message(content: memoryview | int) -> memoryview:
    if isinstance(content, int):
        raise ValueError("it is no ONNX model")
    return content


def _text(content: memoryview | int) -> str:
    return bytes(_message(content)[:200]).decode("utf-8", "replace")


def _fields(message: memoryview) -> Iterator[Field]:
    """Yield the fields of a protobuf message.

    Raises:
        ValueError: It is none.
    """
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield number, kind, value
            continue
        if kind == _BYTES:
            length, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("it is no ONNX model")
        if at + length > end or not number:
            raise ValueError("it is cut, or no ONNX model")
        yield number, kind, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return a number of variable length, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("it is cut, or no ONNX model")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("it is no ONNX model")
