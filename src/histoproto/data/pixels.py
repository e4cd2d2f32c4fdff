"""What the numbers of a pixel mean, and how they become 8-bit RGB: the same for patches, pictures and slides."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from histoproto.errors import ImageError

Pixels = NDArray[np.uint8]
Values = NDArray[Any]

Colours = Literal["rgb", "grey", "white is zero", "palette", "cmyk"]
Alpha = Literal["none", "straight", "premultiplied", "unknown"]
SAMPLES = {"rgb": 3, "grey": 1, "white is zero": 1, "palette": 1, "cmyk": 4}


@dataclass(frozen=True, eq=False)
class PixelKind:
    """How pixels are stored.

    Attributes:
        colours: what the channels are; `white is zero` is grey with white at 0.
        bits: of each channel that carry the value, 1 to 16.
        alpha: whether a further channel tells opacity, and how; `unknown`: there is one that does not say what it is.
        palette: N×3 uint8, for `palette`.
        guessed: the file does not say which channel is red, green or blue.
    """

    colours: Colours
    bits: int
    alpha: Alpha = "none"
    palette: Pixels | None = None
    guessed: bool = False

    @property
    def samples(self) -> int:
        """Channels that are colours."""
        return SAMPLES[self.colours]

    def rgb(self, values: Values, path: Path) -> Pixels:
        """h×w×samples of integers as h×w×3 RGB; what is transparent lies on white, as glass is.

        Raises:
            ImageError: a value has more bits than the file says, or a further channel is not opaque throughout.
        """
        values = values.view(np.uint8) if values.dtype == np.bool_ else values
        colours = self.samples
        scaled = self._colours(values[..., :colours], path)
        if self.alpha == "none":
            return scaled
        alpha = self._eight_bits(values[..., colours : colours + 1], path)
        if self.alpha == "unknown":
            if alpha.min() < 255:
                raise ImageError(
                    f"{path} has a channel beside its colours and does not say what it is (ExtraSamples); it may be "
                    "opacity or a stain: save it as RGB, or as RGBA with ExtraSamples"
                )
            return scaled
        return over_white(scaled, alpha, premultiplied=self.alpha == "premultiplied")

    def _colours(self, values: Values, path: Path) -> Pixels:
        if self.colours == "palette":
            assert self.palette is not None
            if values.size and values.max() >= len(self.palette):
                raise ImageError(
                    f"{path} has a pixel {values.max()}, but only {len(self.palette)} colours in its palette"
                )
            found: Pixels = self.palette[values[..., 0]]
            return found
        scaled = self._eight_bits(values, path)
        if self.colours == "cmyk":
            ink = 255 - scaled.astype(np.uint16)
            return np.asarray((ink[..., :3] * ink[..., 3:] + 127) // 255, dtype=np.uint8)
        if self.colours == "rgb":
            return scaled
        return np.repeat(255 - scaled if self.colours == "white is zero" else scaled, 3, axis=2)

    def _eight_bits(self, values: Values, path: Path) -> Pixels:
        if self.bits == 8 and values.dtype == np.uint8:
            return np.ascontiguousarray(values)
        if values.size and values.max() >= len(self._scaled):
            raise ImageError(
                f"{path} has a value of {values.max()}, though it says that its pixels have {self.bits} bits; save it "
                "with 8 bits per channel"
            )
        scaled: Pixels = self._scaled[values]
        return scaled

    @cached_property
    def _scaled(self) -> Pixels:
        """The 8-bit value of each value."""
        most = 2**self.bits - 1
        return np.asarray((np.arange(most + 1, dtype=np.int64) * 255 + most // 2) // most, dtype=np.uint8)


def over_white(colours: Pixels, alpha: Pixels, premultiplied: bool = False) -> Pixels:
    """Colours, h×w×3, that are transparent where alpha, h×w×1, is 0, laid on white.

    >>> over_white(np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 1), 51, np.uint8))[0, 0].tolist()
    [204, 204, 204]
    """
    if alpha.min(initial=255) == 255:
        return colours
    opaque, clear = alpha.astype(np.uint16), 255 - alpha.astype(np.uint16)
    lit = colours if premultiplied else (colours * opaque + 127) // 255
    return np.asarray(np.minimum(lit + clear, 255), dtype=np.uint8)


def significant_bits(path: Path, stored: int, brightest: int, declared: int | None = None) -> int:
    """How many bits of a channel carry its value.

    Cameras deliver 10, 12 or 14 bits, which are often stored in 16 without a word; taken for 16 they are black.

    Args:
        path: of the file, for the error.
        stored: bits per channel in the file.
        brightest: the greatest value that was found in it.
        declared: what the file says besides. That 16 of 16 are significant is what programs write who do not know.

    Raises:
        ImageError: it cannot be known.
    """
    if stored < 16:
        return stored
    if declared is not None and declared < stored and brightest < 2**declared:
        return declared
    if declared is not None and declared < stored:
        raise ImageError(
            f"{path} says that {declared} bits of a channel are used, but has a value of {brightest}; save it with 8 "
            "bits per channel"
        )
    if brightest >= 2 ** (stored - 1):
        return stored
    raise ImageError(
        f"{path} has 16 bits per channel, but no value above {brightest}: perhaps {max(8, brightest.bit_length())}-bit "
        "data of a camera, which the file does not say (SignificantBits in OME, MaxSampleValue in TIFF); save it with "
        "8 bits per channel, white at 255"
    )
