"""The fixed views of a patch that features are kept of, and the name that each has.

A view is a function of the patch's pixels and its own number alone, not of the seed of a run, so that all runs share
its features. View 0 is the patch as it is; the others are turned, flipped and changed in stain like the patches of a
run that tunes its encoder.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from histoproto.data.augment import jitter_stain

KEY_BYTES = 16


def digest(pixels: NDArray[np.uint8]) -> bytes:
    """What names an image: a hash of its size and pixels, not of its file."""
    return hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=KEY_BYTES).digest()


def key(image: bytes, view: int, jitter: float) -> bytes:
    """What names the features of a view of the image with this digest."""
    if view == 0:
        return image
    return hashlib.blake2b(image + f"view {view} jitter {jitter:g}".encode(), digest_size=KEY_BYTES).digest()


def turn(image: bytes, view: int) -> int:
    """How the view is turned: the code of `augment.dihedral`."""
    return int(_generator(image, view).integers(8)) if view else 0


def stained(pixels: NDArray[np.uint8], image: bytes, view: int, jitter: float) -> NDArray[np.uint8]:
    """The view before it is turned: H×W×3 with its own change of stain."""
    if view == 0:
        return pixels
    generator = _generator(image, view)
    generator.integers(8)  # that of `turn`
    return jitter_stain(pixels, jitter, generator)


def _generator(image: bytes, view: int) -> np.random.Generator:
    return np.random.default_rng((view, int.from_bytes(image, "big")))
