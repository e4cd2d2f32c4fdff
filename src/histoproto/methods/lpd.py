"""LPD: learnable prototypes with diversity regularisation, one stage (Le et al., arXiv 2512.05922)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from histoproto.config import Architecture, Settings
from histoproto.data.dataset import Sample
from histoproto.errors import SettingError
from histoproto.inference.fusion import fuse_scales
from histoproto.losses.classification import classification_loss
from histoproto.losses.diversity import diversity_loss, pseudo_regions, published_diversity_loss
from histoproto.losses.pixel import pixel_loss
from histoproto.losses.similarity import contrastive_loss, feature_embeddings, image_embeddings, select_pairs
from histoproto.methods.base import Method
from histoproto.model.lattice import Lattice
from histoproto.model.network import Activations, PrototypeNetwork
from histoproto.model.teachers import Teacher


class LPD(Method):
    """L = L_cls + lambda_div · L_div + lambda_sim · L_sim; L_cls alone during the warm-up."""

    architecture: ClassVar[Architecture] = "prototypes"
    from_features = True
    network: PrototypeNetwork

    def __init__(self, settings: Settings, frequency: Tensor):
        super().__init__(settings, frequency)
        loss = settings.loss
        self.teacher: Teacher | None = None
        if loss.similarity > 0:
            teacher = Teacher(loss.teacher)
            if teacher.dimension != settings.model.dimension:
                raise SettingError(
                    f"model.dimension is {settings.model.dimension}, but the teacher {loss.teacher} embeds into "
                    f"{teacher.dimension} numbers and prototypes share its space; "
                    f"use --set model.dimension={teacher.dimension}"
                )
            if loss.refiner == "feature":
                self.cached_teacher = teacher
            else:
                self.teacher = teacher
        if loss.published and self.network.encoder.channels[-1] != settings.model.dimension:
            raise SettingError(
                f"loss.published compares raw prototypes with features and needs model.dimension="
                f"{self.network.encoder.channels[-1]} for this encoder, found {settings.model.dimension}"
            )

    def losses(self, batch: Sample, progress: float) -> dict[str, Tensor]:
        """See `Method.losses`: classification, diversity, similarity and total."""
        return self.losses_of(self.network.activations(self.features(batch)), batch, progress)

    def losses_of(self, out: Activations, batch: Sample, progress: float) -> dict[str, Tensor]:
        """The losses of what the network makes of the batch."""
        settings, labels = self.settings.loss, batch["labels"]
        losses = {"classification": classification_loss(out.logits, labels, settings.scale_weights, self.balance)}
        total = losses["classification"]
        if progress >= settings.warmup:
            if settings.diversity > 0:
                losses["diversity"] = self._diversity(out, labels)
                total = total + settings.diversity * losses["diversity"]
            if settings.similarity > 0:
                losses["similarity"] = self._similarity(out, batch)
                total = total + settings.similarity * losses["similarity"]
        return losses | {"total": total}

    def mosaic_loss(self, maps: Sequence[Tensor], known: Tensor, glass: Tensor) -> Tensor:
        """Pixel loss of class activation maps, fused as for inference, on mosaics without their glass.

        Args:
            maps: class activation maps of scales 2, 3, 4.
            known: label maps of the mosaics, B×S×S.
            glass: where they show it, B×S×S bool.
        """
        lattice = Lattice.under(maps[0], (known.shape[-2], known.shape[-1]))
        return pixel_loss(self.fused(maps, lattice), lattice.pixels(known).masked_fill(lattice.pixels(glass), -1))

    def fused(self, maps: Sequence[Tensor], lattice: Lattice) -> Tensor:
        """Class activation maps of scales 2, 3, 4 as one at pixels of the image, in the way of inference: B×C×H×W."""
        found = [lattice.maps(scale) for scale in maps]
        size = (found[0].shape[-2], found[0].shape[-1])
        return fuse_scales(found, size, self.settings.inference.fusion_weights, "raw")

    def _diversity(self, out: Activations, labels: Tensor) -> Tensor:
        regions = pseudo_regions(out.merged[-1].detach(), labels)
        if self.settings.loss.published:
            return published_diversity_loss(out.features[-1], self.network.bank.prototypes, regions)
        return diversity_loss(out.cosines[-1], regions, self.settings.loss.diversity_temperature)

    def _similarity(self, out: Activations, batch: Sample) -> Tensor:
        settings = self.settings.loss
        maps = out.maps[-1]
        pairs = select_pairs(maps, batch["labels"])
        if self.teacher is not None:
            embedded = image_embeddings(maps, pairs, batch["image"], self.teacher, settings.mask_threshold)
        else:
            embedded = feature_embeddings(maps, pairs, batch["teacher"], settings.mask_threshold)
        prototypes = self.network.bank.prototypes
        loss = contrastive_loss(*embedded, pairs, prototypes, settings.similarity_temperature)
        return loss + settings.activation_penalty * maps.float().mean()

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Prototypes learn at their own rate; see `TrainingSettings.prototype_learning_rate`."""
        training = self.settings.training
        bank = self.network.bank.prototypes
        rest = [p for p in self.network.parameters() if p is not bank and p.requires_grad]
        return [
            {"params": rest, "lr": training.learning_rate},
            {"params": [bank], "lr": training.prototype_learning_rate, "weight_decay": 0.0},
        ]


class PublishedLPD(LPD):
    """LPD with the diversity loss as the published code computes it; see `published_diversity_loss`."""

    preset: ClassVar = {"loss": {"published": True}}
