"""What is looked for in an ONNX file before it is run: loops, tensors made from nothing, data in other files.

What `histoproto export` writes has none of them. The size of what a network computes cannot be told without running it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from histoproto.errors import WeightsError

LARGEST_FILE = 2 << 30
"""Bytes; more is no ONNX file of one piece."""
LARGEST_CONSTANT = 1 << 26
"""Numbers in a tensor that a node makes from its shape alone."""
_LOOPS = {"Loop", "Scan", "If", "SequenceMap"}


def check_onnx(path: Path) -> None:
    """Refuse a file that could compute without end or fill the memory; nothing is looked at without the package onnx.

    Raises:
        WeightsError: it cannot be read, is too large, or has what no exported model has.
    """
    try:
        import onnx
    except ImportError:
        return
    if path.stat().st_size > LARGEST_FILE:
        raise WeightsError(f"{path} has more than {LARGEST_FILE >> 30} GiB, more than an ONNX file can have")
    try:
        graph = onnx.load(str(path), load_external_data=False).graph
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        nodes = list(graph.node)
    except Exception as error:  # its errors are those of protobuf, which has many
        raise WeightsError(f"{path} cannot be read as an ONNX model") from error
    if loops := [node.op_type for node in nodes if node.op_type in _LOOPS]:
        raise WeightsError(f"{path} has loops or branches ({loops[0]}), which no exported model has")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors.values()):
        raise WeightsError(f"{path} keeps weights in other files, which are not read; export the model again")
    for count in _made(nodes, tensors, onnx.numpy_helper.to_array):
        if count > LARGEST_CONSTANT:
            raise WeightsError(f"{path} makes a constant of {count} numbers, as no exported model does")


def _made(nodes: list[Any], tensors: dict[str, Any], to_array: Any) -> Iterator[int]:
    """How many numbers the nodes make that fill or repeat to a shape which is written in the file."""
    shapes = dict(tensors)
    for node in nodes:
        if node.op_type == "Constant":
            shapes.update((node.output[0], each.t) for each in node.attribute if each.name == "value")
        elif node.op_type in ("ConstantOfShape", "Expand", "Tile") and node.input[-1] in shapes:
            count = 1
            for side in to_array(shapes[node.input[-1]]).reshape(-1).tolist():
                count *= max(1, int(side))
            yield count
