"""What a trained network says of the patches it has learnt from and of those held out, once for all that is fitted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from histoproto.config import InferenceSettings
from histoproto.data.dataset import PatchDataset, Sample
from histoproto.inference.fusion import fuse_scales
from histoproto.inference.strangeness import look_of, tissue_shares
from histoproto.inference.windows import CELL
from histoproto.methods.base import features_of
from histoproto.model.network import EncodedNetwork, pool_features

MOST_PATCHES = 1000
"""Training patches that are looked at; more would not change three decimals."""


class Seen(NamedTuple):
    """N patches, of training first; M of them held out, the last ones."""

    logits: Tensor
    """N×C."""
    labels: Tensor
    """N×C bool."""
    maps: Tensor
    """M×C×h×w, fused, of cells of 8 × 8 pixels."""
    pooled: Tensor
    """N×D, see `pool_features`."""
    look: Tensor
    """N×4, see `look_of`."""
    shares: Tensor
    """N, share of tissue in each."""
    groups: tuple[str, ...]
    """N."""

    @property
    def held_out(self) -> Tensor:
        """N bool."""
        return torch.arange(len(self.logits)) >= len(self.logits) - len(self.maps)


@torch.inference_mode()
def look_back(
    network: EncodedNetwork, training: PatchDataset, held_out: PatchDataset | None, settings: InferenceSettings
) -> Seen:
    """Let a trained network see its patches once more.

    Args:
        network: trained, on any device.
        training: its training patches, without augmentation; at most `MOST_PATCHES` of them are used.
        held_out: patches that training did not see, or None.
        settings: how maps are fused.
    """
    some = np.random.default_rng(0).permutation(len(training))[:MOST_PATCHES].tolist()
    device = next(network.parameters()).device
    logits, labels, pooled, look, shares, maps = [], [], [], [], [], []
    network.eval()
    for dataset, chosen in ((training, some), *([(held_out, [*range(len(held_out))])] if held_out else [])):
        pictures = DataLoader(Subset(PatchDataset(dataset.patches, dataset.size), chosen), batch_size=64)
        loader = pictures if type(dataset) is PatchDataset else DataLoader(Subset(dataset, chosen), batch_size=64)
        pairs = ((batch, batch) for batch in pictures) if loader is pictures else zip(loader, pictures, strict=True)
        for batch, picture in pairs:
            image = picture["image"].to(device)
            kept = move_data_to_device(batch["features"], device) if "features" in batch else network.encoder(image)
            found = network.head(features_of(network, Sample(features=kept)))
            logits.append(found.logits.float().cpu())
            labels.append(batch["labels"] > 0)
            pooled.append(pool_features(kept).cpu())
            look.append(look_of(image).cpu())
            shares.append(tissue_shares(image).cpu())
            if dataset is held_out:
                size = dataset.size // CELL
                fused = fuse_scales(found.maps, (size, size), settings.fusion_weights, settings.fusion)
                maps.append(fused.cpu())
    groups = [training.patches[index].group for index in some]
    groups += [patch.group for patch in held_out.patches] if held_out else []
    return Seen(
        torch.cat(logits),
        torch.cat(labels),
        torch.cat(maps) if maps else torch.zeros(0, logits[0].shape[1], 1, 1),
        torch.cat(pooled),
        torch.cat(look),
        torch.cat(shares),
        tuple(groups),
    )
