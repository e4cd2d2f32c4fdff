"""Dense CRF: outlines of a segmentation are moved to where the colours of the image change.

Mean-field inference in a fully connected CRF with Gaussian edge potentials (Krähenbühl & Koltun, NIPS 2011), for whole
batches and in torch alone: nothing to compile, on a processor or a GPU.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from histoproto.errors import ImageError, SettingError
from histoproto.inference.pairwise import PairwiseKernel, PixelGrid


@dataclass(frozen=True)
class CrfSettings:
    """Parameters of the CRF; the defaults are those of the paper's protocol (LPD).

    Raises:
        SettingError: a value out of its range.
    """

    iterations: int = 5
    """Mean-field updates, 0 or more."""
    gaussian_sxy: float = 15.0
    """Reach of the smoothing term: standard deviation in pixels, at least 1."""
    gaussian_compat: float = 30.0
    """Weight of the smoothing term (Potts), at least 0."""
    bilateral_sxy: float = 10.0
    """Reach of the term between pixels of like colour: standard deviation in pixels, at least 1."""
    bilateral_srgb: float = 20.0
    """What like colour means: standard deviation in each of R, G, B, of 255; at least 1."""
    bilateral_compat: float = 50.0
    """Weight of the term between pixels of like colour (Potts), at least 0."""
    floor: float = 1e-5
    """Probabilities below are raised to it, so that no label is impossible; above 0, below 1."""
    colours: int = 16
    """Colours in the palette of an image, at least 1: more is nearer to the exact kernel, and slower."""
    grid_step: float = 0.8
    """Distance of the grid's nodes, in the smaller of the two reaches: above 0, at most 1; less is nearer to the exact
    kernel, and slower."""

    def __post_init__(self) -> None:
        least = {"iterations": 0, "gaussian_compat": 0, "bilateral_compat": 0, "floor": 1e-30, "grid_step": 1e-3}
        most = {"floor": 1 - 1e-6, "grid_step": 1}
        for field in fields(self):
            value, low, high = getattr(self, field.name), least.get(field.name, 1), most.get(field.name, 1e9)
            if not low <= value <= high:
                raise SettingError(f"CRF setting {field.name} must be from {low:g} to {high:g}, found {value!r}")


PAPER = CrfSettings()


def dense_crf(image: Tensor, probabilities: Tensor, settings: CrfSettings = PAPER) -> Tensor:
    """Probabilities of the labels after mean-field inference.

    In each iteration q ← softmax(log p + k·q), with p the probabilities given and k the pairwise kernel of
    `histoproto.inference.pairwise`; labels are compatible with themselves alone (Potts).

    Args:
        image: B×3×H×W RGB; uint8, or floating point in [0, 1].
        probabilities: B×L×H×W in [0, 1], on the image's device; their sum over the L labels does not matter.
        settings: parameters of the CRF.

    Returns:
        B×L×H×W of the type of `probabilities`, summing to 1 over the labels. Computed in single precision, in double
        where `probabilities` are.

    Raises:
        ImageError: the two tensors do not fit each other or are not of these kinds.
    """
    _check(image, probabilities)
    height, width = probabilities.shape[2:]
    if probabilities.numel() == 0:
        return probabilities.clone()
    at_once = max(1, _pixels_at_once(probabilities.device) // (height * width))
    kind = torch.promote_types(probabilities.dtype, torch.float32)

    def refine(some: Tensor, given: Tensor) -> Tensor:
        # Half precision would be enough for neither the palette's inverse nor sums over thousands of pixels.
        with torch.no_grad(), torch.autocast(given.device.type, enabled=False):
            colours = some.to(kind) if some.dtype == torch.uint8 else some.to(kind) * 255
            return _mean_field(colours, given.to(kind), settings).to(given.dtype)

    parts = torch.split(image, at_once), torch.split(probabilities, at_once)
    threads = torch.get_num_threads()
    if image.device.type != "cpu" or threads == 1 or len(parts[0]) == 1:
        return torch.cat([refine(*part) for part in zip(*parts, strict=True)])
    # Threads with images of their own need not wait for each other in every one of some hundred small steps.
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return torch.cat(list(pool.map(refine, *parts)))
    finally:
        torch.set_num_threads(threads)


def _mean_field(image: Tensor, probabilities: Tensor, settings: CrfSettings) -> Tensor:
    step = max(1, int(settings.grid_step * min(settings.gaussian_sxy, settings.bilateral_sxy)))
    grid = PixelGrid(image.shape[2], image.shape[3], step, image)
    kernel = PairwiseKernel(
        grid,
        image,
        (settings.gaussian_sxy, settings.gaussian_compat),
        (settings.bilateral_sxy, settings.bilateral_srgb, settings.bilateral_compat),
        settings.colours,
    )
    unary = grid.to_cells(probabilities.clamp(settings.floor, 1).log())
    q = unary.softmax(1)
    for _ in range(settings.iterations):
        q = kernel(q).add_(unary).softmax(1)
    return grid.from_cells(q)


def _pixels_at_once(device: torch.device) -> int:
    """A processor is fastest while the features of the pixels stay in its cache, a GPU while it has enough to do."""
    return 2**16 if device.type == "cpu" else 2**22


def _check(image: Tensor, probabilities: Tensor) -> None:
    if image.ndim != 4 or image.shape[1] != 3 or not (image.dtype == torch.uint8 or image.is_floating_point()):
        raise ImageError(
            f"the CRF takes images as B×3×H×W, uint8 or floating point, found {tuple(image.shape)}, {image.dtype}"
        )
    if probabilities.ndim != 4 or not probabilities.is_floating_point():
        raise ImageError(
            "the CRF takes probabilities as B×L×H×W, floating point, "
            f"found {tuple(probabilities.shape)}, {probabilities.dtype}"
        )
    if image.shape[0] != probabilities.shape[0] or image.shape[2:] != probabilities.shape[2:]:
        raise ImageError(
            "the CRF takes images and probabilities of one number and size, "
            f"found {tuple(image.shape)} and {tuple(probabilities.shape)}"
        )
