"""What a method is to the training room."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn

from histoproto.config import Settings
from histoproto.data.dataset import Sample
from histoproto.model.network import PrototypeNetwork
from histoproto.model.teachers import Teacher


class Method(nn.Module):
    """A network and the losses that train it.

    Attributes:
        network: what is trained, saved and used for prediction.
        cached_teacher: a teacher whose dense features of every training patch shall be computed once, before training,
            and handed to `losses` as `batch["teacher"]`; None if the method needs none.
    """

    network: PrototypeNetwork

    def __init__(self, settings: Settings):
        super().__init__()
        self.settings = settings
        self.cached_teacher: Teacher | None = None

    @abstractmethod
    def losses(self, batch: Sample, progress: float) -> dict[str, Tensor]:
        """Losses of one batch.

        Args:
            batch: image B×3×S×S, labels B×C, and teacher B×D×h×w if `cached_teacher` is set.
            progress: part of the training steps done, in [0, 1).

        Returns:
            Scalars by name; `total` is what is minimised, the others are logged.
        """

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameter groups for AdamW, each with its `lr`."""
