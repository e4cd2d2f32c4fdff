"""A network that ONNX Runtime runs, behind the interface that `Segmenter` knows."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from histoproto.errors import SettingError, WeightsError, first_line
from histoproto.inference.onnx_check import check_onnx
from histoproto.model.network import ClassMaps, Network

ONNX_FILE = "model.onnx"
IMAGES, LOGITS = "images", "logits"
"""Names of the input and of the last output; the others are class maps, finest first."""


class OnnxNetwork(Network):
    """Class maps and logits of an exported model.

    Args:
        path: what `histoproto export --format onnx` wrote.
        device: where to run; a GPU needs the package onnxruntime-gpu.
        classes: number of tissues, C, that its outputs must be about; None: any.

    Raises:
        SettingError: ONNX Runtime is not installed, or cannot use the device.
        WeightsError: the file cannot be read, or is a model of something else.
    """

    def __init__(self, path: Path, device: torch.device, classes: int | None = None):
        super().__init__()
        self.classes = classes
        try:
            import onnxruntime
        except ImportError as error:
            raise SettingError(f"{path} needs ONNX Runtime; pip install 'histoproto[onnx]'") from error
        onnxruntime.disable_telemetry_events()  # for scripts that imported it before us (see `histoproto.privacy`)
        provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(device.type, device.type)
        if provider not in onnxruntime.get_available_providers():
            raise SettingError(f"the ONNX Runtime that is installed cannot use {device}; try --device cpu")
        check_onnx(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
        except Exception as error:  # its own exceptions share no base
            raise WeightsError(f"{path} cannot be read as an ONNX model: {str(error).splitlines()[0]}") from error
        outputs = [output.name for output in self.session.get_outputs()]
        if [i.name for i in self.session.get_inputs()] != [IMAGES] or outputs[-1:] != [LOGITS] or len(outputs) < 2:
            raise WeightsError(f"{path} is an ONNX model, but none that `histoproto export` wrote")

    def class_maps(self, x: Tensor) -> ClassMaps:
        """See `Network.class_maps`; sides must be multiples of 32."""
        try:
            found = self.session.run(None, {IMAGES: x.float().cpu().contiguous().numpy()})
            *maps, logits = (torch.from_numpy(part).to(x.device) for part in found)
        except Exception as error:  # its own exceptions share no base
            raise WeightsError(f"the ONNX model cannot be run: {first_line(error)}") from error
        classes = (len(x), self.classes) if self.classes else logits.shape
        if logits.shape != classes or any(each.ndim != 4 or each.shape[:2] != classes for each in maps):
            shapes = ", ".join("×".join(map(str, each.shape)) for each in (*maps, logits))
            raise WeightsError(f"the ONNX model gives {shapes} for {len(x)} images and {self.classes} tissues")
        return ClassMaps(tuple(maps), logits)
