"""What a method is to the training room."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from histoproto.config import Architecture, Settings
from histoproto.data.dataset import PatchDataset, Sample
from histoproto.losses.classification import balancing_weights, classification_loss
from histoproto.model.network import EncodedNetwork, build_network
from histoproto.model.remainder import remainder_of
from histoproto.model.teachers import Teacher


class Method(nn.Module):
    """A network and the losses that train it.

    Class attributes:
        architecture: the network, see `ModelSettings.architecture`.
        preset: settings that the method starts from in place of the general defaults, `{group: {key: value}}`.
        extras: what a batch holds besides images and image labels: `mosaics`, or `masks`, the pixel labels of the
            training patches.
        from_features: whether its losses are made of `features` and not of images, so that its encoder may be frozen.
        sees_glass: whether they ask where the patch shows glass; then that comes with the features, `batch["glass"]`.
        replaced: part of the patches of each batch, its end, in whose place there are mosaics; see `MixedDataset`.

    Attributes:
        network: what is trained, saved and used for prediction.
        balance: 2×C, weights of patches with and without each tissue for the classification loss; 1 if
            `loss.balance` is off.
        cached_teacher: a teacher whose dense features of every training patch shall be computed once, before training,
            and handed to `losses` as `batch["teacher"]`; None if the method needs none.
    """

    architecture: ClassVar[Architecture]
    preset: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    extras: ClassVar[frozenset[Literal["mosaics", "masks"]]] = frozenset()
    from_features: ClassVar[bool] = False
    sees_glass: ClassVar[bool] = False
    replaced: ClassVar[float] = 0.0
    network: EncodedNetwork
    balance: Tensor

    def __init__(self, settings: Settings, frequency: Tensor):
        """`frequency`: C, part of the training patches that hold each tissue."""
        super().__init__()
        self.settings = settings
        self.network = build_network(settings.model, len(frequency))
        if self.architecture != "segmentation":  # else pixels say where it is
            self.network.remainder = remainder_of(frequency)
        balance = balancing_weights(frequency) if settings.loss.balance else torch.ones(2, len(frequency))
        self.register_buffer("balance", balance, persistent=False)
        self.cached_teacher: Teacher | None = None

    @classmethod
    def replaces(cls, settings: Settings) -> float:
        """`replaced` with these settings."""
        return cls.replaced

    def prepare(self, training: PatchDataset) -> None:
        """Whatever must be known of the training patches before the first step; the same each time it is called."""

    @abstractmethod
    def losses(self, batch: Sample, progress: float) -> dict[str, Tensor]:
        """Losses of one batch.

        Args:
            batch: image B×3×S×S or `features` (see `features_of`), labels B×C, teacher B×D×h×w if `cached_teacher` is
                set, `known` B×S×S if patches are `replaced`, and the `extras`.
            progress: part of the training steps done, in [0, 1).

        Returns:
            Scalars by name; `total` is what is minimised, the others are logged.
        """

    def features(self, batch: Sample) -> Sequence[Tensor]:
        """What the head learns from; see `features_of`."""
        return features_of(self.network, batch)

    def classification(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The balanced classification loss of image logits of a single scale, B×C, against labels, B×C."""
        return classification_loss((logits,), labels, (1.0,), self.balance)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameter groups for AdamW, each with its `lr`; all alike unless a method says otherwise."""
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        return [{"params": trained, "lr": self.settings.training.learning_rate}]


def features_of(network: EncodedNetwork, batch: Sample) -> Sequence[Tensor]:
    """Features of a batch for the network's head, B×C_s×H_s×W_s per scale: of its images or, where the encoder is
    frozen, those that were kept."""
    if "features" in batch:
        # Kept in half precision, which is changed for a whole batch at once.
        kept = [scale.to(torch.float32, memory_format=torch.channels_last) for scale in batch["features"]]
        found: Sequence[Tensor] = network.neck(kept)
        return found
    return network.features(batch["image"])
