"""Exporting: a trained model for other software, as ONNX or as a program of `torch.export`."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from histoproto.errors import OutputError, SettingError
from histoproto.files import replace_atomically
from histoproto.inference.onnx_network import IMAGES, LOGITS, ONNX_FILE, OnnxNetwork
from histoproto.inference.patches import ENCODER_STRIDE
from histoproto.ledger import Ledger, own
from histoproto.model.archive import opened
from histoproto.model.network import ClassMaps, Network
from histoproto.model.rewriting import exportable, fold_normalisation
from histoproto.model.saving import CARD_FILE, PROGRAM_FILE, load_model, write_card

Format = Literal["onnx", "torch-export"]
TOLERANCE = 1e-4
"""Largest difference from the model that an export may have: of a value, or of the largest value of a map above 1."""


class _Outputs(nn.Module):
    """A network whose call gives what is exported: class maps, finest first, then logits."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return _flat(self.network.class_maps(images))


def export_model(run: Path, out: Path, kind: Format) -> Path:
    """Write a trained model into a folder of its own, together with its card.

    The exported model takes `images`, B×3×H×W RGB in [0, 1] with H and W multiples of 32, any B, and gives the class
    maps, finest first, and the class logits. It is checked against the network on images of another number and size.

    Args:
        run: folder of a finished run.
        out: folder for `model.onnx` or `model.pt2`, and `model.json`.
        kind: `onnx` can be loaded by `Segmenter`; `torch-export` by `torch.export.load` (not by `Segmenter`: reading
            that format may run code from the file).

    Returns:
        The exported file.

    Raises:
        RunError, WeightsError: see `load_model`.
        SettingError: the encoder cannot be exported, or a package is missing.
        OutputError: the folder cannot be written to, is the run itself or holds another model, or the export differs
            from the model.
    """
    run = opened(run)
    network, card = load_model(run)
    if out.resolve() == run.resolve():
        raise OutputError(f"{out} is the run itself; give another folder for the exported model")
    path = out / (ONNX_FILE if kind == "onnx" else PROGRAM_FILE)
    Ledger(out).require_own([path, out / CARD_FILE])
    program = trace(network)
    if kind == "onnx":
        with own(path), replace_atomically(path, lasting=True) as temporary:
            _write_onnx(program, temporary)
            exported = OnnxNetwork(temporary, torch.device("cpu"))
            _check(lambda images: _flat(exported.class_maps(images)), network)
    else:
        with own(path), replace_atomically(path, lasting=True) as temporary:
            temporary.write_bytes(_packed(program))
            _check(program.module(), network)
    with own(out / CARD_FILE):  # what is exported gives no features, by which images are found strange
        write_card(out, card.model_copy(update={"familiar": None}))
    return path


def _packed(program: torch.export.ExportedProgram) -> bytes:
    """As `torch.export` saves it; by way of memory, for on a full disk its own writer ends the whole process."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No complete tensor found", UserWarning)  # about weights on a GPU
        torch.export.save(program, file)
    return file.getvalue()


def trace(network: Network) -> torch.export.ExportedProgram:
    """The network as a program of `torch.export`, for any number of images and sides that are multiples of 32.

    Raises:
        SettingError: the encoder only works at one size, or does what cannot be exported.
    """
    rows, columns, batch = (torch.export.Dim(name, min=1, max=4096) for name in ("rows", "columns", "batch"))
    sizes = {0: batch, 2: ENCODER_STRIDE * rows, 3: ENCODER_STRIDE * columns}
    example = torch.rand(2, 3, 3 * ENCODER_STRIDE, 4 * ENCODER_STRIDE)
    outputs = _Outputs(exportable(fold_normalisation(network))).eval()
    try:
        with torch.no_grad():
            return torch.export.export(outputs, (example,), dynamic_shapes={IMAGES: sizes})
    except Exception as error:  # an exporter fails in many ways, all of which mean the same to a user
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SettingError(f"this encoder cannot be exported for images of any size ({reason})") from error


def _write_onnx(program: torch.export.ExportedProgram, path: Path) -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SettingError("exporting to ONNX needs more packages; pip install 'histoproto[onnx]'") from error
    maps = len(program.graph_signature.user_outputs) - 1
    names = [*(f"map{index}" for index in range(maps)), LOGITS]
    export: Any = torch.onnx.export
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = export(program, dynamo=True, input_names=[IMAGES], output_names=names)
    except Exception as error:
        raise SettingError(f"this encoder cannot be written as ONNX ({str(error).strip().splitlines()[0]})") from error
    finally:
        quiet.setLevel(level)
    model.save(path, external_data=False)


def _flat(found: ClassMaps) -> tuple[Tensor, ...]:
    return (*found.maps, found.logits)


@torch.inference_mode()
def _check(exported: Callable[[Tensor], tuple[Tensor, ...]], network: Network) -> None:
    """Compare on another number and size of images than those it was traced with."""
    images = torch.rand(3, 3, 5 * ENCODER_STRIDE, 2 * ENCODER_STRIDE, generator=torch.Generator().manual_seed(0))
    pairs = zip(_flat(network.class_maps(images)), exported(images), strict=True)
    difference = max(float((a - b).abs().max() / a.abs().max().clamp(min=1)) for a, b in pairs)
    if not difference <= TOLERANCE:
        raise OutputError(f"the exported model differs from the network by {difference:.1e}, more than {TOLERANCE}")
