"""Prediction on patches: what `Segmenter` adds to the bare network, and which way to run the network is quickest.

    python benchmarks/inference.py RUN DATA [--threads 1] [--patches 96] [--repeats 5] [--compile]

DATA is a data folder with masked `test` patches of the model's own size. Everything takes turns in one process; the
least processor time of each per patch is compared (with `--threads 2`, the least time on the clock, which means
something on an idle machine alone). mIoU: protocol `honest`, all test patches. `--compile` adds `torch.compile`, which
takes minutes to get ready. The int8 model is quantised by ONNX Runtime on 64 training patches.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from histoproto.data.images import read_image
from histoproto.data.layouts import DataFolder, open_data
from histoproto.evaluation.confusion import scores
from histoproto.evaluation.patches import evaluate_patches
from histoproto.inference.export import export_model
from histoproto.inference.inputs import best_batch
from histoproto.inference.onnx_network import IMAGES, OnnxNetwork
from histoproto.inference.patches import as_batch
from histoproto.inference.segmenter import Segmenter
from histoproto.inference.settings import change_settings
from histoproto.model.half_precision import HalfPrecision
from histoproto.model.network import Network
from histoproto.model.rewriting import fold_normalisation
from histoproto.model.saving import load_model

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--patches", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = open_data(arguments.data)
    with tempfile.TemporaryDirectory() as folder:
        networks = variants(arguments.run, data, Path(folder), arguments.compile)
        show(networks, arguments, data)


def variants(run: Path, data: DataFolder, folder: Path, compiled: bool) -> dict[str, Network]:
    """Ways to run one and the same model."""
    plain, _ = load_model(run)
    folded = fold_normalisation(plain)
    onnx = export_model(run, folder, "onnx")
    pixels = np.stack([read_image(patch.image) for patch in data.train[:: len(data.train) // 64][:64]])
    networks: dict[str, Network] = {
        "as trained": plain,
        "normalisation folded (default)": folded,
        "folded, bfloat16 (`--fast`)": HalfPrecision(folded),
        "ONNX Runtime": OnnxNetwork(onnx, CPU),
        "ONNX Runtime, int8": OnnxNetwork(quantise(onnx, as_batch(pixels, CPU), folder), CPU),
    }
    if compiled:
        networks["folded, `torch.compile`"] = Compiled(folded)
    return networks


class Compiled(Network):
    def __init__(self, network: Network):
        super().__init__()
        self.class_maps = torch.compile(network.class_maps)  # type: ignore[method-assign]


def quantise(onnx: Path, images: Tensor, folder: Path) -> Path:
    """An int8 model: weights per channel, activations by the range that they have on some images."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches: Iterator[Tensor] = iter(images.split(8))

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {IMAGES: batch.contiguous().numpy()}

    ready, path = folder / "ready.onnx", folder / "int8.onnx"
    quant_pre_process(str(onnx), str(ready), skip_symbolic_shape=True)
    quantize_static(
        str(ready),
        str(path),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv"],
    )
    return path


def show(networks: dict[str, Network], arguments: argparse.Namespace, data: DataFolder) -> None:
    card = Segmenter.load(arguments.run, "cpu").card
    images = [read_image(patch.image) for patch in islice(data.test, arguments.patches)]
    batch = best_batch(CPU, card.patch_size)
    segmenters = {name: Segmenter(network, card, "cpu") for name, network in networks.items()}

    def bare(network: Network, size: int) -> Callable[[], None]:
        inputs = as_batch(np.stack(images), CPU).split(size)

        def job() -> None:
            with torch.inference_mode():
                for part in inputs:
                    network.class_maps(part)

        return job

    def whole(segmenter: Segmenter, size: int | None = None) -> Callable[[], None]:
        return lambda: [None for _ in segmenter.stream(images, batch_size=size)] and None

    default = "normalisation folded (default)"
    jobs = {("network", name): bare(network, batch) for name, network in networks.items()}
    jobs |= {("Segmenter", name): whole(segmenter) for name, segmenter in segmenters.items()}
    sizes = (4, 8, 16, 32, 64)
    jobs |= {("batch", str(size)): whole(segmenters[default], size) for size in sizes}
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    least: dict[tuple[str, str], float] = dict.fromkeys(jobs, np.inf)
    for turn in range(arguments.repeats + 1):
        for key, job in jobs.items():
            start = clock()
            job()
            if turn:  # the first turn warms up
                least[key] = min(least[key], 1000 * (clock() - start) / len(images))

    what = "processor time" if arguments.threads == 1 else "time"
    print(f"{card.model.encoder}, {card.patch_size} px, {arguments.threads} thread(s), batch {batch}, ", end="")
    print(f"least {what} of {arguments.repeats} turns over {len(images)} patches\n")
    print("| network | network, ms/patch | ratio | Segmenter, ms/patch | network / Segmenter | mIoU |")
    print("|---|---|---|---|---|---|")
    for name in networks:
        network, segmenter = least["network", name], least["Segmenter", name]
        ratio = least["network", "as trained"] / network
        miou = honest_miou(segmenters[name], data)
        print(f"| {name} | {network:.2f} | {ratio:.2f} | {segmenter:.2f} | {network / segmenter:.0%} | {miou:.2f} |")
    print("\n| batch | Segmenter, ms/patch |\n|---|---|")
    for size in sizes:
        print(f"| {size} | {least['batch', str(size)]:.2f} |")


def honest_miou(segmenter: Segmenter, data: DataFolder) -> float:
    settings = change_settings(segmenter.card.inference, background="none")
    matrices = (result.matrix for result in evaluate_patches(segmenter, data.test, data.tissues, settings))
    return 100 * scores(sum(matrices), "ignored").miou


if __name__ == "__main__":
    main()
