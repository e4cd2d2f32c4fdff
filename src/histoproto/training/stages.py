"""The second stage: masks that a trained method finds for its own training patches, to train a segmentation network on.

The image labels of training patches are known, so the masks are gated by them. No true mask is used.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from histoproto.config import Settings, TrainingSettings, load_settings
from histoproto.data.images import read_image, write_mask
from histoproto.data.layouts import Patch
from histoproto.data.masks import read_mask
from histoproto.data.staging import new_folder
from histoproto.errors import RunError
from histoproto.inference.segmenter import Segmenter
from histoproto.inference.settings import change_settings
from histoproto.model.network import EncodedNetwork
from histoproto.model.saving import WEIGHTS_FILE, load_card, load_model
from histoproto.model.weights import read_state_dict
from histoproto.tissue import TissueSet

CHUNK = 64


def write_pseudo_masks(run: Path, patches: Sequence[Patch], out: Path) -> None:
    """Write the mask of each training patch to `out`, under the number of the patch; masks that are there are kept.

    Args:
        run: a finished run.
        patches: with labels, all at the scale of the model.
        out: folder to write to.
    """
    missing = [index for index in range(len(patches)) if not pseudo_mask(out, index).exists()]
    if not missing:
        return
    segmenter = Segmenter.load(run)
    settings = change_settings(segmenter.card.inference, views=1, abstain=0)
    for start in track(range(0, len(missing), CHUNK), description="pseudo masks", transient=True):
        chunk = missing[start : start + CHUNK]
        labels = [np.array(patches[index].labels) for index in chunk]
        results = segmenter.stream((read_image(patches[index].image) for index in chunk), labels, settings)
        for index, result in zip(chunk, results, strict=True):
            write_mask(pseudo_mask(out, index), result.labels, segmenter.tissues)


def pseudo_mask(folder: Path, index: int) -> Path:
    """The file of a patch's pseudo mask."""
    return folder / f"{index:07d}.png"


def copy_run(run: Path, first: Path, settings: Settings, patches: str) -> None:
    """Copy a finished run to `first`, to be the first stage of another; its folders (checkpoints, logs) stay behind.

    Args:
        run: the finished run.
        first: folder to make.
        settings: what its settings must be.
        patches: what the fingerprint of its training patches must be.

    Raises:
        RunError: it is not finished, or something else.
        OutputError: it cannot be copied.
    """
    if load_card(run).training_data["fingerprint"] != patches:
        raise RunError(f"{run} was trained on other patches; give a first stage that was trained on the same ones")
    own = load_settings(run / "config.yaml")
    alone = own.model_copy(update={"training": without_second_stage(own.training)})  # else pbip alone would differ
    if own.training.second_stage or alone != settings:
        raise RunError(
            f"{run} was trained with other settings than those given; give the same to both stages (config.yaml)"
        )
    with new_folder(first) as part:
        for file in run.iterdir():
            if file.is_file():
                shutil.copy2(file, part)
        (part / "config.yaml").write_text(settings.to_yaml(), encoding="utf-8")  # without what its method presets


def without_second_stage(training: TrainingSettings) -> TrainingSettings:
    """What the first of two stages is trained with."""
    own = {name for name in TrainingSettings.model_fields if name.startswith("second_stage")}
    return TrainingSettings(**training.model_dump(exclude=own))


def encoder_weights(run: Path) -> dict[str, Tensor]:
    """The weights of a run's encoder."""
    if load_card(run).encoder_weights is not None:  # the run does not hold them
        network, _ = load_model(run)
        assert isinstance(network, EncodedNetwork)
        return network.encoder.state_dict()
    weights = read_state_dict(run / WEIGHTS_FILE)
    return {name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")}


class PseudoMaskReader:
    """What `PatchDataset.read_label_map` takes: patch → pseudo mask. A class, so that it can go to other processes."""

    def __init__(self, folder: Path, patches: Sequence[Patch], tissues: TissueSet):
        self.files = {patch.image: pseudo_mask(folder, index) for index, patch in enumerate(patches)}
        self.tissues = tissues

    def __call__(self, patch: Patch) -> NDArray[np.uint8]:
        """The label map of the patch, H×W."""
        return read_mask(self.files[patch.image], self.tissues)
