"""Every setting of a training run, typed and validated, with the reason for its default.

Settings come from defaults, then a YAML file (`--config`), then `--set group.key=value`; what results is written to the
run folder as `config.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from histoproto.documents.ranges import Count, Fraction, Mpp, NonNegative, Positive, Processes, Seed, Share, Side
from histoproto.documents.yaml_file import parse_yaml, read_yaml
from histoproto.errors import SettingError, shown

Logger = Literal["tensorboard", "wandb", "mlflow"]
Architecture = Literal["prototypes", "prototypes+decoder", "linear", "segmentation"]
Tuning = Literal["full", "frozen", "head-first"]
Enlargement = Annotated[float, Field(ge=1, le=4, multiple_of=0.5)]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSettings(_Group):
    """What the network is shown."""

    patch_size: Side | None = None
    """Side of the square training patch in pixels; None: that of most training images."""
    mpp: Mpp | None = None
    """Physical scale of the patches in µm/px, which goes into the model; None: as `data cut` recorded it, if it did."""
    fraction: Share = 1.0
    """Part of the training patches to use, drawn by the seed: how many labels does it take? Smaller parts lie within
    larger ones."""
    validation_fraction: Fraction = 0.1
    """Part of the training patches (whole groups) held out to choose the checkpoint by and to calibrate on, by their
    image labels; 0 keeps the last checkpoint."""
    validate_with: Literal["labels", "masks"] = "labels"
    """What chooses the checkpoint: image labels of the held-out part, or masks of the `val` folder (recorded)."""
    allow_leak: bool = False
    """Go on although a group or an image is in two of train, val and test; recorded."""
    stain_jitter: NonNegative = 0.15
    """Optical density of each colour channel is scaled by 1 ± this, at random: stains differ between laboratories."""
    workers: Processes | None = None
    """Processes that load patches; None: one less than the cores at hand, at most 8."""


class ModelSettings(_Group):
    """The network. Enough to build it again before its weights are loaded."""

    architecture: Architecture = "prototypes"
    """What is on top of the encoder; the method decides."""
    encoder: str = "tf_efficientnet_lite0"
    """What `histoproto encoders` lists, any other timm model name or `mit_b0` … `mit_b5`, each also as `NAME@FILE`;
    `hf-hub:OWNER/NAME`, `local-dir:PATH`."""
    encoder_arguments: dict[str, Any] = {}
    """Of its architecture, where the name does not say, as timm's `create_model` takes them."""
    input_scale: Enlargement = 1.0
    """The encoder sees images enlarged this many times, in halves: 2 makes 448 px of 224, maps twice as fine, and four
    times the work."""
    blueprint: dict[str, Any] | None = None
    """How a trained model's encoder is built without the hub or folder that it came from; `train` writes it into
    `model.json`, nobody else needs it."""
    weights: str | None = "imagenet"
    """`imagenet`: the published weights of that encoder; a path: a local weights file or folder; None: random."""
    prototypes: Annotated[Count, Field(le=1000)] = 10
    """Prototypes per tissue, K."""
    dimension: Annotated[Count, Field(le=16384)] = 320
    """Length of a prototype, D; the embedding size of the teacher when a similarity loss is used."""
    merge: Literal["mean", "softmax", "logsumexp"] = "softmax"
    """How a tissue's K maps become one in training (the paper: mean). At inference it is always the softmax-weighted
    sum, except for `logsumexp`."""
    neck: bool = False
    """Standardise the encoder's features and adapt them by a residual 1×1 convolution per scale before the head; the
    tuning decides."""
    pooling: Literal["mean", "logsumexp", "topk"] = "topk"
    """How a map becomes the image's class logit: mean (the paper), log of the mean of exp, mean of the top 25 %."""


class LossSettings(_Group):
    """The three losses. Names and defaults as in the paper unless said otherwise."""

    scale_weights: tuple[NonNegative, NonNegative, NonNegative] = (0.1, 1.0, 1.0)
    """Weight of the classification loss at scales 2, 3, 4."""
    balance: bool = True
    """Let patches with and without a tissue count alike in the classification loss (the paper: false)."""
    diversity: NonNegative = 0.75
    """lambda_div (the paper: 0.5); 0 switches the regulariser off."""
    diversity_temperature: Positive = 0.1
    """T: at T = 1 the cosines are too flat for any gradient."""
    similarity: NonNegative = 0.1
    """lambda_sim; 0 switches the mask refiner off."""
    refiner: Literal["image", "feature"] = "feature"
    """`image`: the paper's, two teacher passes per (patch, prototype) pair; `feature`: pool one dense teacher map."""
    teacher: str = "tf_efficientnet_lite0"
    """The frozen image encoder of the mask refiner: `NAME` of a timm model, `NAME@PATH` with local weights."""
    similarity_temperature: Positive = 0.07
    mask_threshold: Fraction = 0.5
    """alpha: a location belongs to a prototype's mask above this fraction of its map's maximum."""
    activation_penalty: NonNegative = 0.0005
    warmup: Fraction = 0.16
    """Part of the iterations with the classification loss alone (the paper: 3000 of 18,700)."""
    mosaic: NonNegative = 1.0
    """Weight of the pixel loss on mosaics of single-tissue patches, in the methods that use them."""
    decoder: NonNegative = 1.0
    """Weight of the losses of the decoder that learns from the prototypes' masks, in the method that has one."""
    published: bool = False
    """Compute the diversity loss as the published code does (twice-softmaxed, neighbour's region, raw prototypes)."""


class TrainingSettings(_Group):
    """Optimisation and hardware."""

    tuning: Tuning = "full"
    """`full`: the encoder learns with the head. `frozen`: the head alone, on features that are computed once and kept
    (`histoproto features`). `head-first`: as `frozen`, then both at a low rate."""
    views: Count = 2
    """Augmented views of each patch that features are kept of, with a frozen encoder; the first is the patch itself."""
    epochs: Count | None = None
    """Times that every patch is seen; None: 6, or with few patches as many as it takes for about 350 steps (200
    with a frozen encoder)."""
    batch_size: Annotated[Count, Field(le=65536)] = 16
    learning_rate: Positive = 1e-3
    prototype_learning_rate: Positive = 1e-3
    """Prototypes start at unit norm and would hardly move at the encoder's rate in a short run."""
    weight_decay: NonNegative = 1e-3
    with_encoder: bool = False
    """Hold the encoder's weights in the run folder even where they were not tuned and are large, or must not be passed
    on; otherwise such weights are referred to."""
    second_stage: bool = False
    """Afterwards train a segmentation network on the masks that the method finds for its own training patches; it is
    what the run then holds."""
    second_stage_encoder: Literal["first", "pretrained"] = "first"
    """What the encoder of the second stage starts from: that of the first stage, or `model.weights` once more."""
    second_stage_epochs: Count | None = None
    """Epochs of the second stage; None: as many as the first has, or half as many if it goes on with its encoder."""
    second_stage_averaging: Fraction = 0.5
    """As `averaging`, in the second stage."""
    averaging: Fraction = 0.0
    """Part of the steps, the last ones, over which the weights are averaged; the learning rate then stays as it is, in
    place of falling to zero, and the average is what is saved. 0: no averaging."""
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    """`auto`: mixed bfloat16 on a GPU that has it, 32 bit elsewhere."""
    accelerator: str = "auto"
    devices: Annotated[Count, Field(le=1024)] | Literal["auto"] = "auto"
    nodes: Annotated[Count, Field(le=1024)] = 1
    logger: Logger = "tensorboard"
    """Who draws the curves beside history.csv: a folder of the run; or `wandb`, `mlflow`, whose packages are extras and
    which send losses and scores to wherever they are set up for."""
    checkpoint_every: Count = 500
    """Steps between two checkpoints for resuming; one is also written after each validation, which comes after each
    epoch, but at most twenty times."""


class InferenceSettings(_Group):
    """From activation maps to masks. Saved with the model as its defaults; each can be overridden when predicting."""

    fusion: Literal["raw", "minmax"] = "raw"
    """`minmax` (the paper): ReLU and stretch each map to [0, 1] before the scales are fused."""
    fusion_weights: tuple[NonNegative, NonNegative, NonNegative] = (0.3, 0.5, 0.2)
    """Weights of scales 2, 3, 4 (the paper: 0.3, 0.3, 0.4). Scale 4 is pushed apart by the diversity loss."""
    background: Literal["none", "activation", "glass"] = "glass"
    """`none`: every pixel gets a tissue; `activation` (the paper): (1 − max)^10; `glass`: bright, colourless pixels."""
    views: Literal[1, 6] = 1
    crf: bool = False
    abstain: Fraction = 0.0
    """A place whose chance is lower is left `uncertain`, of no tissue; 0: none is."""

    @field_validator("fusion_weights")
    @classmethod
    def _some_scale_counts(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        if not any(weights):
            raise ValueError("at least one weight must be above 0")
        return weights


class Settings(_Group):
    """All settings of a run."""

    method: str = "lpd"
    seed: Seed = 0
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    loss: LossSettings = LossSettings()
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()

    def to_yaml(self) -> str:
        """As YAML text that `load_settings` reads back."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


TUNED: dict[Tuning, dict[str, dict[str, Any]]] = {
    "full": {},
    "frozen": {
        "training": {"batch_size": 32, "learning_rate": 1e-3, "prototype_learning_rate": 1e-3},
        "loss": {"similarity": 0.0},
    },
    "head-first": {"training": {"learning_rate": 3e-4, "prototype_learning_rate": 3e-4}},
}
"""By tuning: the settings it starts from where they are not the general ones."""

Presets = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By method: the settings it starts from where they are not the general ones, `{group: {key: value}}`."""


def load_settings(
    file: Path | None = None, overrides: list[str] | None = None, presets: Presets | None = None
) -> Settings:
    """Settings from defaults, a YAML file and `group.key=value` overrides (values in YAML notation), in that order.

    Args:
        file: YAML with groups of keys, such as a run's `config.yaml`.
        overrides: `group.key=value`.
        presets: what the method starts from in place of the general defaults (`methods.registry.PRESETS`).

    Raises:
        DocumentError: a file that cannot be read.
        SettingError: an unknown key, or a value of the wrong type or out of range.

    >>> load_settings(overrides=["model.prototypes=3"]).model.prototypes
    3
    """
    content: Any = {}
    if file is not None:
        content = read_yaml(file)
        content = {} if content is None else content
        if not isinstance(content, dict):
            raise SettingError(f"the settings file {file} must hold groups of keys, found {type(content).__name__}")
    for override in overrides or []:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise SettingError(f"--set takes group.key=value, found {override!r}")
        value = parse_yaml(text, f"--set {key}")
        *groups, last = key.split(".")
        place = content
        for group in groups:
            place = place.setdefault(group, {})
            if not isinstance(place, dict):
                raise SettingError(f"--set {override!r}: {group!r} is no group of settings")
        place[last] = value
    training = content.get("training")
    tuning = training.get("tuning") if isinstance(training, dict) else None
    for starts in (
        (presets or {}).get(str(content.get("method", Settings().method)), {}),
        TUNED.get(tuning or TrainingSettings().tuning, {}),
    ):
        for group, values in starts.items():
            given = content.setdefault(group, {})
            if isinstance(given, dict):  # anything else is refused below
                content[group] = {**values, **given}
    return _validated(content)


def _validated(content: dict[str, Any]) -> Settings:
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        unknown = first["type"] == "extra_forbidden"
        # What comes after group and name (an index, the member of a union) says nothing to a user.
        where = ".".join(str(part) for part in first["loc"][: None if unknown else 2])
        if unknown:
            group: type[BaseModel] = Settings
            for part in first["loc"][:-1]:
                group = type(getattr(group(), str(part)))
            raise SettingError(f"there is no setting {where!r}; there are {', '.join(group.model_fields)}") from error
        raise SettingError(f"setting {where}: {first['msg']}, found {shown(first['input'])}") from error
