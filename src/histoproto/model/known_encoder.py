"""What is known of a published encoder: one typed record each, see `known_encoders`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from histoproto.model.blueprint import Triple

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class KnownEncoder:
    """Facts about an encoder's weights, as their publishers or those who use them state them; None: not confirmed."""

    name: str
    """What `model.encoder` and `loss.teacher` take, also as `NAME@FILE`."""
    about: str
    repository: str | None
    """Of the Hugging Face hub; None: it comes with a package, or is fetched by timm under its own name."""
    architecture: str
    """timm's name, or transformers' `model_type`."""
    parameters: float
    """In millions."""
    embedding: int
    token: int | None
    """Pixels of the side of a token; None: it has stages of several strides."""
    licence: str
    commercial: bool | None
    """Whether the licence allows commercial use."""
    gated: bool
    """Whether its publisher must let a user in first."""
    mpp: tuple[float, ...] | None = None
    """µm/px of the tiles that it was trained on; empty: on photographs."""
    library: Literal["timm", "transformers", "histoproto"] = "timm"
    arguments: dict[str, Any] = field(default_factory=dict)
    """Of the architecture, where a bare weights file does not say."""
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    problem: str | None = None
    """Why it cannot be used here; None: it can."""

    @property
    def may_be_copied(self) -> bool:
        """Whether weights may be passed on with a run: of open repositories with a licence that allows any use."""
        return not self.gated and self.commercial is True
