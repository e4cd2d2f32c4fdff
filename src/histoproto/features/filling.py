"""Computing what a shelf lacks: in chunks, each kept as soon as it is done, with a line of what it will cost before."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from histoproto.data.augment import dihedral
from histoproto.errors import OutputError
from histoproto.features import views
from histoproto.features.shelf import Shelf
from histoproto.model.encoder import Encoder

CHUNK_BYTES = 2**24
BATCH = 32

Pixels = NDArray[np.uint8]
Wanted = dict[bytes, tuple[int, int]]
"""Names of features, and of which image and view they are."""


def fill(
    shelf: Shelf,
    encoder: Encoder,
    read: Callable[[int], Pixels],
    digests: Sequence[bytes],
    count: int = 1,
    jitter: float = 0.0,
    tell: Callable[[str], None] | None = None,
) -> int:
    """Compute the features of images that a shelf does not have yet; how many views that were.

    It can be stopped at any time and goes on where it was; several processes share the work.

    Args:
        shelf: of this encoder.
        encoder: on any device; is used as it is, in evaluation mode.
        read: index → pixels of the image, S×S×3.
        digests: of each image, in the order of the index.
        count: views of each image: the image itself, and count − 1 turned and stained ones.
        jitter: see `augment.jitter_stain`.
        tell: is given a line with what it will cost.

    Raises:
        OutputError: the disk has not the room.
        DataError: see `Shelf.add`.
    """
    wanted: Wanted = {
        views.key(image, view, jitter): (index, view) for index, image in enumerate(digests) for view in range(count)
    }
    lacking = shelf.missing(wanted)
    left = [key for key in wanted if key in lacking]
    if not left:
        return 0
    size = 2 * shelf.description.length
    _require_room(shelf, len(left) * size)
    chunk, done, started = max(1, CHUNK_BYTES // size), 0, time.monotonic()
    encoder = encoder.eval().to(memory_format=torch.channels_last)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("features", total=len(left))
        while left:
            part = left[: chunk if done else min(chunk, BATCH)]  # a first few tell how long it takes
            with shelf.lock():
                shelf.refresh()  # another process may have computed some
                own = [key for key in part if key not in shelf]
                if own:
                    shelf.add(own, _compute(encoder, read, [wanted[key] for key in own], digests, jitter))
            left = left[len(part) :]
            if tell and not done:
                minutes = (time.monotonic() - started) / len(part) * len(left) / 60
                tell(
                    f"features of {len(lacking)} views ({len(digests)} images): {len(lacking) * size / 1e9:.2f} GB in "
                    f"{shelf.folder}, about {minutes:.1f} min, once (see `histoproto features`)"
                )
            done += len(part)
            bar.update(task, completed=done)
    return done


def _require_room(shelf: Shelf, needed: int) -> None:
    free = shutil.disk_usage(shelf.folder).free
    if needed > free:
        raise OutputError(
            f"features would take {needed / 1e9:.1f} GB, but {shelf.folder} has {free / 1e9:.1f} GB free; clear "
            "old ones with `histoproto features --clear`, name another disk with HISTOPROTO_CACHE, or keep "
            "fewer views with --set training.views=1"
        )


@torch.inference_mode()
def _compute(
    encoder: Encoder, read: Callable[[int], Pixels], own: list[tuple[int, int]], digests: Sequence[bytes], jitter: float
) -> list[Tensor]:
    device = next(encoder.parameters()).device
    found: list[list[Tensor]] = []
    pixels, last = np.empty(0, dtype=np.uint8), -1
    for start in range(0, len(own), BATCH):
        images = []
        for index, view in own[start : start + BATCH]:
            if index != last:  # the views of an image come one after the other
                pixels, last = read(index), index
            changed = views.stained(pixels, digests[index], view, jitter)
            image = torch.tensor(changed).permute(2, 0, 1).float() / 255
            images.append(dihedral(image, views.turn(digests[index], view)))
        batch = torch.stack(images).to(device, memory_format=torch.channels_last)
        found.append([m.to("cpu", torch.float16) for m in encoder(batch)])
    return [torch.cat(scale) for scale in zip(*found, strict=True)]
