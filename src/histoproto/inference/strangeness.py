"""Strangeness: how unlike the training patches an image is, in what the encoder makes of it, its stain, its sharpness.

Each is a distance from the mean of the training patches, measured by their own spread (Mahalanobis), and divided by the
distance that nearly all patches of held-out groups stay within: above 1 is strange. The encoder's features are those
that the network has computed anyway.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from histoproto.errors import WeightsError
from histoproto.files import replace_atomically
from histoproto.inference.background import bright_pixels
from histoproto.model.origin import sha256_of
from histoproto.model.saving import FAMILIAR_FILE, Familiar
from histoproto.model.weights import read_state_dict

KINDS = ("features", "stain", "sharpness")
"""In which an image may be strange, in the order of the columns."""
SHRINKAGE = 0.1
"""Of the covariance of standardised features towards the identity: with a thousand patches and hundreds of features,
the directions of least variance are chance."""
MOST_AXES, MOST_NUMBERS = 256, 900_000
"""Axes that are kept, and numbers in them: below 2 MB in half precision."""


class Spread(NamedTuple):
    """Mean and covariance of training patches, the covariance by its strongest axes and one variance for the rest."""

    centre: Tensor
    """D."""
    scale: Tensor
    """D, standard deviation of each."""
    axes: Tensor
    """D×R, orthonormal, of the standardised values."""
    variances: Tensor
    """R + 1, shrunk; the last is that of every other direction."""

    def distance(self, values: Tensor) -> Tensor:
        """Root of the mean squared deviation in units of the spread, N×D → N; about 1 for a training patch."""
        z = (values.float() - self.centre) / self.scale
        along = z @ self.axes
        rest = (z.square().sum(dim=1) - along.square().sum(dim=1)).clamp(min=0) / self.variances[-1]
        return ((along.square() / self.variances[:-1]).sum(dim=1).add(rest) / z.shape[1]).sqrt()


def fit_spread(values: Tensor, shrinkage: float = SHRINKAGE) -> Spread:
    """The spread of N patches, N×D, N at least 2; what never varies counts as varying a little."""
    values = values.double()
    centre, scale = values.mean(dim=0), values.std(dim=0).clamp(min=1e-6)
    z = (values - centre) / scale
    found, axes = torch.linalg.eigh(z.T @ z / (len(z) - 1))
    width = len(found)
    kept = max(1, min(width, MOST_AXES, MOST_NUMBERS // width))
    strongest, rest = found[-kept:], found[:-kept]
    others = rest.mean() if kept < width else found.new_zeros(())
    variances = (1 - shrinkage) * torch.cat([strongest, others[None]]).clamp(min=0) + max(shrinkage, 1e-6)
    rounded = axes[:, -kept:].half()  # as they are kept
    return Spread(centre.float(), scale.float(), rounded.float(), variances.float())


def look_of(images: Tensor) -> Tensor:
    """Stain and sharpness of images, B×3×H×W RGB in [0, 1] → B×4.

    Stain: log of the mean optical density of R, G and B in what is no glass. Sharpness: log of the mean second
    difference of neighbours along rows over the mean difference of pixels four apart, which grey, contrast and the
    amount of tissue leave as it is. Every second pixel and every fourth row are looked at.
    """
    few = images[:, :, ::2, ::2]
    tissue = (~bright_pixels(few))[:, None].float()
    density = -few.clamp(min=1 / 255).log()
    stain = (density * tissue).sum(dim=(2, 3)) / tissue.sum(dim=(2, 3)).clamp(min=1)
    grey = images[:, :, ::4].mean(dim=1)
    if grey.shape[-1] < 5:
        return torch.cat([(stain + 0.05).log(), torch.zeros_like(stain[:, :1])], dim=1)
    fine = (grey[..., 2:] - 2 * grey[..., 1:-1] + grey[..., :-2]).abs().mean(dim=(1, 2))
    coarse = (grey[..., 4:] - grey[..., :-4]).abs().mean(dim=(1, 2))
    sharpness = ((fine + 4e-4) / (coarse + 4e-4)).log()
    return torch.cat([(stain + 0.05).log(), sharpness[:, None]], dim=1)


def tissue_shares(images: Tensor) -> Tensor:
    """Share of each image, B×3×H×W in [0, 1], that is no glass; roughly, B."""
    return (~bright_pixels(images[:, :, ::2, ::2])).float().mean(dim=(1, 2))


class Strangeness:
    """How strange images are, in each of `KINDS`.

    Args:
        spreads: of the training patches, one for each kind.
        limits: distance of each kind that nearly all held-out patches stay within.
    """

    def __init__(self, spreads: tuple[Spread, ...], limits: tuple[float, ...]):
        self.spreads, self.limits = spreads, limits

    def to(self, device: torch.device) -> Strangeness:
        """The same on a device."""
        return Strangeness(tuple(Spread(*(part.to(device) for part in each)) for each in self.spreads), self.limits)

    def __call__(self, images: Tensor, pooled: Tensor) -> Tensor:
        """Of images B×3×H×W in [0, 1] and their pooled features B×D: B×3, above 1 strange."""
        parts = zip(self.spreads, split_look(pooled, look_of(images)), self.limits, strict=True)
        return torch.stack([spread.distance(values) / limit for spread, values, limit in parts], dim=1)

    def save(self, folder: Path, calibrated_on: str) -> Familiar:
        """Write `FAMILIAR_FILE` into a folder; what the card says of it."""
        tensors = {
            f"{kind}.{name}": (value.half() if name == "axes" else value).contiguous()
            for kind, spread in zip(KINDS, self.spreads, strict=True)
            for name, value in spread._asdict().items()
        }
        with replace_atomically(folder / FAMILIAR_FILE, lasting=True) as temporary:
            save_file(tensors, temporary)
        digest = sha256_of(folder / FAMILIAR_FILE)
        limits = dict(zip(KINDS, self.limits, strict=True))
        return Familiar(sha256=digest, limits=limits, calibrated_on=calibrated_on)


def strange_shares(strange: Tensor | None, tissue: NDArray[np.bool_]) -> list[float | None]:
    """Share of the tissue (B×H×W) of each image that is strange, in its features.

    `strange`: B×3 of patches, or B×1×H×W of each place; None: nothing is known.
    """
    if strange is None:
        return [None] * len(tissue)
    beyond = (strange[:, 0] > 1).cpu().numpy()
    return [
        float(np.broadcast_to(found, shown.shape)[shown].mean()) if shown.any() else None
        for found, shown in zip(beyond, tissue, strict=True)
    ]


def split_look(pooled: Tensor, look: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Values of each kind, of pooled features and of `look_of`."""
    return pooled, look[:, :3], look[:, 3:]


def load_strangeness(folder: Path, familiar: Familiar | None) -> Strangeness | None:
    """What is known of the training patches of a run; None where nothing is.

    Raises:
        WeightsError: the file of the card is missing, another one, or damaged.
    """
    if familiar is None:
        return None
    path = folder / FAMILIAR_FILE
    if not path.is_file() or sha256_of(path) != familiar.sha256:
        raise WeightsError(
            f"{path}, which tells how training patches look, is missing or not the one that model.json names; copy it "
            "along with the model, or make it again with `histoproto calibrate`"
        )
    state = read_state_dict(path)
    try:
        spreads = tuple(Spread(*(state[f"{kind}.{name}"].float() for name in Spread._fields)) for kind in KINDS)
        for spread in spreads:
            width, kept = spread.axes.shape
            if spread.centre.shape != (width,) or spread.scale.shape != (width,) or len(spread.variances) != kept + 1:
                raise ValueError("sizes do not agree")
            if not all(bool(part.isfinite().all()) for part in spread) or not bool((spread.variances > 0).all()):
                raise ValueError("not finite")
        limits = tuple(familiar.limits[kind] for kind in KINDS)
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{path} is damaged ({error}); make it again with `histoproto calibrate`") from error
    return Strangeness(spreads, limits)
