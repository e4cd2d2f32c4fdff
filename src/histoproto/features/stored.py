"""An encoder that looks up what it was asked before."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from histoproto.features.place import features_folder
from histoproto.features.shelf import Shelf, describe
from histoproto.features.views import digest
from histoproto.model.encoder import Encoder
from histoproto.model.network import EncodedNetwork, Network


class StoredEncoder(nn.Module):
    """In the place of a frozen encoder: images whose features are kept on disk are read, others computed and kept.

    Images of another size than the shelf's, or whose pixels are no whole numbers, go through the encoder.
    """

    def __init__(self, encoder: Encoder, shelf: Shelf):
        super().__init__()
        self.encoder, self.shelf = encoder, shelf

    def forward(self, x: Tensor) -> list[Tensor]:
        """See `Encoder.forward`; features have half precision."""
        size = self.shelf.description.patch_size
        pixels = (x * 255).round().to(torch.uint8)
        if x.shape[-2:] != (size, size) or not torch.equal(pixels.float() / 255, x.float()):
            found: list[Tensor] = self.encoder(x)
            return found
        names = [digest(image) for image in pixels.permute(0, 2, 3, 1).cpu().numpy()]
        lacking = {name: index for index, name in enumerate(names) if name not in self.shelf}
        if lacking:
            self.shelf.add(list(lacking), self.encoder(x[list(lacking.values())]))
        return [scale.to(x.device) for scale in self.of(names)]

    def of(self, names: Sequence[bytes]) -> list[Tensor]:
        """The features that are kept under these names, N×C_s×H_s×W_s of each scale; see `Shelf.read`."""
        rows = [self.shelf.read(name) for name in names]
        return [torch.stack(scale).float() for scale in zip(*rows, strict=True)]


def use_stored_features(network: Network, name: str, patch_size: int) -> Network:
    """The network, changed to look its features up; as it was where it has no encoder that can be looked up.

    Args:
        network: whose encoder was frozen.
        name: of the encoder.
        patch_size: of the patches that are kept.
    """
    if isinstance(network, EncodedNetwork):
        shelf = Shelf(features_folder(), describe(network.encoder, name, patch_size))
        network.encoder = StoredEncoder(network.encoder, shelf)  # type: ignore[assignment]
    return network
