"""The contract of methods, encoders and teachers as checks, for packages that bring their own; we run them on ours.

Each check takes the name under which a run would ask for the thing, so that the entry point is checked as well, and
raises an AssertionError that says which promise is broken. They take seconds on one core.

>>> from histoproto.testing import check_encoder
>>> check_encoder("mobilenetv3_small_050")
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from histoproto.config import Settings, load_settings
from histoproto.data.images import write_image, write_mask
from histoproto.inference.segmenter import Segmenter
from histoproto.methods.registry import PRESETS, build_method
from histoproto.model.encoder import Encoder
from histoproto.model.encoders import build_encoder
from histoproto.model.saving import WEIGHTS_FILE
from histoproto.model.teachers import Teacher
from histoproto.tissue import TissueSet
from histoproto.training.folder import HISTORY_FILE
from histoproto.training.run import train

SIZES = ((64, 96), (160, 64))
"""Heights and widths that an encoder is tried with; sides of network inputs are multiples of 32."""
QUICK = (
    "model.encoder=test_efficientnet",
    "model.weights=null",
    "model.prototypes=3",
    "training.epochs=2",
    "training.batch_size=4",
    "training.accelerator=cpu",
    "data.validation_fraction=0.25",
    "data.workers=0",
)
"""Settings under which `check_method` trains."""


def check_method(name: str, folder: Path, overrides: Sequence[str] = ()) -> None:
    """Check that a method trains, the same each time, into a run that can be read back and used.

    Args:
        name: of the method.
        folder: an empty folder to work in.
        overrides: `group.key=value` that the method needs beside `QUICK`.
    """
    given = [f"method={json.dumps(name)}", *QUICK, *overrides]
    _check_parameter_groups(load_settings(overrides=given, presets=PRESETS))
    data = write_example(folder / "data")
    settings = load_settings(overrides=given, presets=PRESETS)
    first, second = (train(data, folder / run, settings) for run in ("first", "second"))
    with (first / HISTORY_FILE).open(encoding="utf-8", newline="") as lines:
        totals = [float(row["total"]) for row in csv.DictReader(lines) if row.get("total")]
    assert totals, f"{name}: losses() has no 'total', or none was logged"
    assert np.isfinite(totals).all(), f"{name}: the total loss is not finite: {totals}"
    weights = [load_file(run / WEIGHTS_FILE) for run in (first, second)]
    for key, value in weights[0].items():
        same = torch.equal(value, weights[1][key])
        assert same, (
            f"{name}: two runs of one seed end with different weights ({key}); draw from torch or from the seed"
        )
        assert torch.isfinite(value).all(), f"{name}: weights are not finite ({key})"
    segmenter = Segmenter.load(first, "cpu")
    for found in segmenter.stream(sorted((data / "train").glob("*.png"))[:3]):
        assert found.labels.shape == (64, 64), f"{name}: a mask of another size than its image, {found.labels.shape}"
        assert found.labels.max() <= 2, f"{name}: a mask has a label that is no tissue, {found.labels.max()}"
        assert np.isfinite(found.probabilities).all(), f"{name}: probabilities are not finite"


def _check_parameter_groups(settings: Settings) -> None:
    name, method = settings.method, build_method(settings, torch.tensor([0.5, 0.5]))
    grouped = [id(parameter) for group in method.parameter_groups() for parameter in group["params"]]
    assert len(grouped) == len(set(grouped)), f"{name}: parameter_groups() has a parameter twice"
    assert all("lr" in group for group in method.parameter_groups()), f"{name}: a parameter group without lr"
    for key, parameter in method.network.named_parameters():
        if parameter.requires_grad:
            assert id(parameter) in grouped, (
                f"{name}: parameter_groups() leaves out network.{key}, which would not learn"
            )


def check_encoder(name: str) -> None:
    """Check that an encoder gives three feature maps of images of any size and can be read from a trained model."""
    torch.manual_seed(0)
    encoder, again = (build_encoder(name, None).eval() for _ in range(2))
    assert len(encoder.channels) == 3, f"{name}: channels must be those of scales 2, 3 and 4, found {encoder.channels}"
    for height, width in SIZES:
        _check_maps(name, encoder, torch.rand(2, 3, height, width))
    images = torch.rand(2, 3, *SIZES[0])
    with torch.no_grad():
        again.load_state_dict(encoder.state_dict())
        for one, other, alone in zip(encoder(images), again(images), encoder(images[:1]), strict=True):
            assert torch.equal(one, other), f"{name}: weights that were saved and loaded give other features"
            # Not to the last bit: kernels differ with the size of the batch.
            assert torch.allclose(one[:1], alone, rtol=1e-3, atol=1e-4), (
                f"{name}: features of an image depend on the others in its batch"
            )
    sum(maps.square().mean() for maps in encoder.train()(images)).backward()
    assert any(p.grad is not None and p.grad.any() for p in encoder.parameters()), f"{name}: nothing in it learns"


def check_teacher(spec: str) -> None:
    """Check that a teacher is the same each time, stays frozen, and can be differentiated by its images."""
    teacher, again = Teacher(spec), Teacher(spec)
    assert not any(parameter.requires_grad for parameter in teacher.parameters()), f"{spec}: it is not frozen"
    assert not any(module.training for module in teacher.train().modules()), f"{spec}: it leaves evaluation mode"
    images = torch.rand(2, 3, 64, 64, requires_grad=True)
    dense = teacher.dense(images)
    assert dense.shape[:2] == (2, teacher.dimension), (
        f"{spec}: dense features are {tuple(dense.shape)}, but the last of its channels is {teacher.dimension}"
    )
    assert torch.equal(dense, again.dense(images)), f"{spec}: built twice it gives other features; a run cannot resume"
    embedded: Tensor = teacher(images)
    assert torch.allclose(embedded, dense.mean(dim=(2, 3)), atol=1e-5), (
        f"{spec}: embeddings are not the mean of the map"
    )
    embedded.sum().backward()
    assert images.grad is not None, f"{spec}: embeddings do not depend on the image"
    assert images.grad.any(), f"{spec}: embeddings do not depend on the image"


def _check_maps(name: str, encoder: Encoder, images: Tensor) -> None:
    assert isinstance(encoder.licence, str), f"{name}: licence must say that of its weights, in words"
    assert encoder.licence, f"{name}: licence must say that of its weights, in words"
    with torch.no_grad():
        maps = encoder(images)
    assert len(maps) == 3, f"{name}: expected three feature maps, found {len(maps)}"
    height, width = images.shape[-2:]
    for found, channels in zip(maps, encoder.channels, strict=True):
        assert found.shape[:2] == (len(images), channels), (
            f"{name}: a feature map is {tuple(found.shape)}, but its channels are said to be {channels}"
        )
        rows, columns = found.shape[-2:]
        assert height * columns == width * rows, (
            f"{name}: an image of {height} × {width} has a map of {rows} × {columns}"
        )
        assert torch.isfinite(found).all(), f"{name}: features are not finite"
    areas = [found.shape[-2] * found.shape[-1] for found in maps]
    assert areas == sorted(areas, reverse=True), f"{name}: feature maps must come finest first"


def write_example(folder: Path) -> Path:
    """Write a data folder of 24 noisy patches of 64 px, red, green or half and half, with masks for all of them."""
    tissues = TissueSet.of("red", "green")
    (folder / "train" / "mask").mkdir(parents=True)
    tissues.write(folder / "classes.yaml")
    rng = np.random.default_rng(0)
    for index in range(24):
        label = ("10", "01", "11")[index % 3]
        mask = np.zeros((64, 64), dtype=np.uint8)
        mask[:, :32], mask[:, 32:] = label[0] == "0", label[1] == "1"
        pixels = rng.integers(120, 255, (64, 64, 3), dtype=np.uint8)
        pixels[mask == 0, 0] = 60
        pixels[mask == 1, 1] = 60
        name = f"region{index // 4}+{index}[{label}].png"
        write_image(folder / "train" / name, pixels)
        write_mask(folder / "train" / "mask" / name, mask, tissues)
    return folder
