from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from histoproto.errors import WeightsError
from histoproto.inference.onnx_check import check_onnx
from histoproto.inference.onnx_network import IMAGES, LOGITS, OnnxNetwork

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
helper, FLOAT, INT64 = onnx.helper, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def write(
    path: Path, nodes: list[object], tensors: list[object] = (), outputs: tuple[str, ...] = ("map", LOGITS)
) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(IMAGES, FLOAT, ["b", 3, "h", "w"])],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        list(tensors),
    )
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    return path


def shape(*sides: int) -> object:
    return onnx.numpy_helper.from_array(np.array(sides, np.int64), "shape")


SAME = [helper.make_node("Identity", [IMAGES], [name]) for name in ("map", LOGITS)]


def test_a_constant_that_would_fill_the_memory(tmp_path: Path) -> None:
    node = helper.make_node("ConstantOfShape", ["shape"], ["big"])
    with pytest.raises(WeightsError, match="makes a constant of 10000000000 numbers"):
        check_onnx(write(tmp_path / "a.onnx", [node, *SAME], [shape(100_000, 100_000)]))
    check_onnx(write(tmp_path / "b.onnx", [node, *SAME], [shape(10, 10)]))


def test_a_loop(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [helper.make_tensor_value_info("i", INT64, []), helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("d", onnx.TensorProto.BOOL, [])],
    )
    loop = helper.make_node("Loop", ["", ""], [], body=body)
    with pytest.raises(WeightsError, match="loops or branches"):
        check_onnx(write(tmp_path / "a.onnx", [loop, *SAME]))


def test_outputs_of_another_shape(tmp_path: Path) -> None:
    network = OnnxNetwork(write(tmp_path / "a.onnx", SAME), torch.device("cpu"), classes=3)
    with pytest.raises(WeightsError, match="the ONNX model gives 1×3×32×32, 1×3×32×32 for 1 images and 3 tissues"):
        network.class_maps(torch.zeros(1, 3, 32, 32))


def test_what_is_no_onnx(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(WeightsError, match="cannot be read as an ONNX model"):
        check_onnx(tmp_path / "a.onnx")
