"""The networks: an encoder with something on top that makes class activation maps and class logits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from histoproto.config import ModelSettings
from histoproto.model.encoder import Encoder
from histoproto.model.encoders import encoder_of
from histoproto.model.neck import Neck
from histoproto.model.prototypes import Merge, PrototypeBank, cosine_maps, merge_prototypes, pool_maps
from histoproto.model.remainder import certain, level


class ClassMaps(NamedTuple):
    """What inference needs of any network."""

    maps: tuple[Tensor, ...]
    """Class maps of scales 2, 3, 4, or of a single one: B×C×H_s×W_s, any real number."""
    logits: Tensor
    """Class logits of the image: B×C."""
    pooled: Tensor | None = None
    """Features of the encoder, mean over the image, B×D (`pool_features`); None where a network does not tell."""


class Network(nn.Module):
    """What inference needs. Takes RGB B×3×H×W in [0, 1]; normalisation is inside."""

    @abstractmethod
    def class_maps(self, x: Tensor) -> ClassMaps:
        """Class maps and logits for inference."""


class EncodedNetwork(Network):
    """What every method trains: an encoder, and a head on its features.

    Attributes:
        encoder: the feature maps that everything else is made of.
        neck: what stands between them and the head; with `settings.neck` a `Neck`, else nothing.
        remainder: tissues that were in every training patch (see `model.remainder`); none where maps are learnt from
            pixels.
    """

    encoder: Encoder
    neck: nn.Module
    remainder: tuple[int, ...] = ()

    def __init__(self, settings: ModelSettings):
        super().__init__()
        self.settings = settings
        self.encoder = encoder_of(settings)
        self.neck = Neck(self.encoder.channels) if settings.neck else nn.Identity()

    def features(self, x: Tensor) -> Sequence[Tensor]:
        """Features of images for the head: scales 2, 3, 4, each B×C_s×H_s×W_s."""
        found: Sequence[Tensor] = self.neck(self.encoder(x))
        return found

    def class_maps(self, x: Tensor) -> ClassMaps:
        """See `Network.class_maps`."""
        found = self.encoder(x)
        return self.head(self.neck(found))._replace(pooled=pool_features(found))

    @abstractmethod
    def head(self, features: Sequence[Tensor]) -> ClassMaps:
        """Class maps and logits for inference, of `features`."""


def pool_features(features: Sequence[Tensor]) -> Tensor:
    """Mean over the image of an encoder's features, without the last scale: B×C_s×H_s×W_s per scale → B×D.

    The last scale has learnt to show which tissue there is and little else: by it, an image of another organ looks like
    any other (docs/decisions/doubt.md).
    """
    return torch.cat([scale.float().mean(dim=(2, 3)) for scale in features[:-1] or features], dim=1)


@runtime_checkable
class HasPrototypes(Protocol):
    """A network whose prototypes can be looked at one by one."""

    def prototype_maps(self, x: Tensor) -> Tensor:
        """Activation maps of the single prototypes at scale 4: B×C×K×H_4×W_4."""


class Activations(NamedTuple):
    """What one pass of a prototype network makes, for scales 2, 3, 4 in this order."""

    cosines: tuple[Tensor, ...]
    """cos(F_s, g_s(P)): B×C×K×H_s×W_s in [−1, 1]."""
    maps: tuple[Tensor, ...]
    """A_s = tau_s · cosines: B×C×K×H_s×W_s."""
    merged: tuple[Tensor, ...]
    """M_s: class activation maps, B×C×H_s×W_s."""
    logits: tuple[Tensor, ...]
    """z_s: class logits, B×C."""
    features: tuple[Tensor, ...]
    """F_s: B×C_s×H_s×W_s."""

    def first(self, count: int) -> Activations:
        """Those of the first images of the batch."""
        return Activations(*(tuple(each[:count] for each in scales) for scales in self))


class PrototypeNetwork(EncodedNetwork):
    """Encoder and prototype bank (LPD).

    Args:
        settings: which encoder, how many prototypes, how they are merged and pooled.
        tissues: number of tissues, C.
    """

    def __init__(self, settings: ModelSettings, tissues: int):
        super().__init__(settings)
        self.bank = PrototypeBank(tissues, settings.prototypes, settings.dimension, self.encoder.channels)

    def forward(self, x: Tensor) -> Activations:
        """All that the losses need, of images."""
        return self.activations(self.features(x))

    def activations(self, features: Sequence[Tensor]) -> Activations:
        """All that the losses need, of `features`; merged and pooled as the settings say for training."""
        cosines = tuple(cosine_maps(f, p) for f, p in zip(features, self.bank.project(), strict=True))
        maps = tuple(scale * c for scale, c in zip(self.bank.scales(), cosines, strict=True))
        merged = tuple(self._merged(a, self.settings.merge) for a in maps)
        logits = tuple(certain(pool_maps(m, self.settings.pooling), self.remainder) for m in merged)
        return Activations(cosines, maps, merged, logits, tuple(features))

    def head(self, features: Sequence[Tensor]) -> ClassMaps:
        """Class activation maps and logits for inference.

        The maps are merged by the softmax-weighted sum even if training took the mean (the paper's inference); the
        logits are those of scale 4, pooled as in training.
        """
        out = self.activations(features)
        merge: Merge = "logsumexp" if self.settings.merge == "logsumexp" else "softmax"
        return ClassMaps(tuple(self._merged(a, merge) for a in out.maps), out.logits[-1])

    def _merged(self, maps: Tensor, merge: Merge) -> Tensor:
        return level(merge_prototypes(maps, merge, self.bank.active), self.remainder)

    @torch.no_grad()
    def prototype_maps(self, x: Tensor) -> Tensor:
        """Activation maps of the single prototypes at scale 4: B×C×K×H_4×W_4 (cosines times tau)."""
        return self.last_maps(self.features(x))

    def last_maps(self, features: Sequence[Tensor]) -> Tensor:
        """A_4 alone, of the features of all scales: B×C×K×H_4×W_4."""
        return self.bank.scales()[-1] * cosine_maps(features[-1], self.bank.project()[-1])


class LinearNetwork(EncodedNetwork):
    """Encoder and a linear classifier at each location of the last scale: plain class activation maps.

    The logit of a tissue is its pooled map; with mean pooling that equals a linear classifier on the pooled features,
    whose class activation map it is (Zhou et al., CVPR 2016).
    """

    def __init__(self, settings: ModelSettings, tissues: int):
        super().__init__(settings)
        self.classifier = nn.Conv2d(self.encoder.channels[-1], tissues, 1)

    def head(self, features: Sequence[Tensor]) -> ClassMaps:
        """Class activation maps of scale 4 and their pooled logits, alike in training and inference."""
        maps = level(self.classifier(features[-1]), self.remainder)
        return ClassMaps((maps,), certain(pool_maps(maps, self.settings.pooling), self.remainder))


class Decoder(nn.Module):
    """From the features of all scales to pixel logits, lightly.

    The three scales are projected to one width, summed at the size of scale 2, mixed by a 3×3 convolution and
    classified: the top-down path of a feature pyramid (Lin et al., CVPR 2017) in one step.

    Args:
        channels: C_s of scales 2, 3, 4.
        tissues: number of tissues, C.
    """

    WIDTH = 128

    def __init__(self, channels: Sequence[int], tissues: int):
        super().__init__()
        width = self.WIDTH
        self.lateral = nn.ModuleList(nn.Conv2d(channel, width, 1) for channel in channels)
        self.mix = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Conv2d(width, tissues, 1)

    def forward(self, features: Sequence[Tensor]) -> ClassMaps:
        """Pixel logits B×C×H_2×W_2 (softmax over tissues), and image logits: their pooled log-odds."""
        projected = [lateral(f) for lateral, f in zip(self.lateral, features, strict=True)]
        size = projected[0].shape[-2:]
        total = projected[0]
        for scale in projected[1:]:
            total = total + nn.functional.interpolate(scale, size, mode="bilinear", align_corners=False)
        maps = self.classifier(self.mix(total))
        return ClassMaps((maps,), pool_maps(log_odds(maps), "logsumexp"))


class SegmentationNetwork(EncodedNetwork):
    """Encoder and decoder, for training with pixel labels (true, pseudo or synthetic)."""

    def __init__(self, settings: ModelSettings, tissues: int):
        super().__init__(settings)
        self.decoder = Decoder(self.encoder.channels, tissues)

    def head(self, features: Sequence[Tensor]) -> ClassMaps:
        """See `Decoder.forward`."""
        found: ClassMaps = self.decoder(features)
        return found


class DecodedPrototypeNetwork(PrototypeNetwork):
    """Prototypes and a decoder on one encoder: the prototypes' maps teach the decoder, whose maps are the result."""

    def __init__(self, settings: ModelSettings, tissues: int):
        super().__init__(settings, tissues)
        self.decoder = Decoder(self.encoder.channels, tissues)

    def head(self, features: Sequence[Tensor]) -> ClassMaps:
        """Pixel logits of the decoder, B×C×H_2×W_2, and the mean of its image logits and the prototypes'."""
        decoded: ClassMaps = self.decoder(features)
        merged = self._merged(self.last_maps(features), self.settings.merge)
        logits = (decoded.logits + pool_maps(merged, self.settings.pooling)) / 2
        return ClassMaps(decoded.maps, certain(logits, self.remainder))


def log_odds(logits: Tensor) -> Tensor:
    """Of each tissue against all others, log p / (1 − p) with p the softmax over dimension 1; same shape.

    With a single tissue there are no others, and its logits are returned as they are.
    """
    if logits.shape[1] == 1:
        return logits
    own = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)[:, :, None, None]
    others = logits[:, None].masked_fill(own, -torch.inf).logsumexp(dim=2)
    return logits - others


_NETWORKS: dict[str, type[PrototypeNetwork | LinearNetwork | SegmentationNetwork]] = {
    "prototypes": PrototypeNetwork,
    "prototypes+decoder": DecodedPrototypeNetwork,
    "linear": LinearNetwork,
    "segmentation": SegmentationNetwork,
}


def build_network(settings: ModelSettings, tissues: int) -> EncodedNetwork:
    """The network that `settings.architecture` names, for C = `tissues`.

    Raises:
        SettingError, WeightsError: see `encoder_of`.
    """
    return _NETWORKS[settings.architecture](settings, tissues)
