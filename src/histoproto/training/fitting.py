"""The fitting itself: Lightning's trainer, its callbacks and loaders, resumable at any step."""

from __future__ import annotations

import logging
import math
import os
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader

from histoproto.config import Settings
from histoproto.data.dataset import ResumableLoader, StepSampler
from histoproto.errors import SettingError
from histoproto.methods.base import Method
from histoproto.training.begun import CHECKPOINTS, Begun
from histoproto.training.callbacks import Checkpoints, History, Pace, ProgressBar, WeightAveraging
from histoproto.training.checkpoint import find_checkpoint
from histoproto.training.epochs import count_epochs
from histoproto.training.folder import HISTORY_FILE, PROGRESS_FILE, begin
from histoproto.training.frozen import freeze
from histoproto.training.loggers import make_logger
from histoproto.training.mask_validation import MaskValidation
from histoproto.training.material import Material
from histoproto.training.module import TrainingModule
from histoproto.training.saving import make_card
from histoproto.training.teacher_maps import write_teacher_maps

MOST_VALIDATIONS = 20
"""Of a training. One comes after each epoch, but where patches are few there are more epochs than that, of a step or
two each, and validating and writing checkpoints would take longer than learning."""


def fit(
    method: Method, material: Material, settings: Settings, out: Path, begun: Begun
) -> tuple[Any, TrainingModule, Checkpoints, Material]:
    """Train, from the last checkpoint of the run folder if there is one.

    Returns:
        The trainer, its module and its checkpoints, and the material, as features where the encoder is frozen.

    Raises:
        RunError: training diverges, or no checkpoint of the run folder can be used.
        SettingError: a device or precision that this machine lacks.
        KeyboardInterrupt: it was stopped; what is needed to resume is written.
    """
    training = settings.training
    folder = out / CHECKPOINTS
    precision: Any = {"auto": "32-true", "32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}[training.precision]
    if training.precision == "auto" and torch.cuda.is_available() and torch.cuda.is_bf16_supported():
        precision = "bf16-mixed"
    _quieten_lightning()

    epochs = count_epochs(training, len(material.training))
    mosaics = type(method).replaces(settings)

    def sampler_of(rank: int, world: int) -> StepSampler:
        patches = len(material.training)
        return StepSampler(patches, training.batch_size, epochs, settings.seed, rank, world, mosaics)

    plan = sampler_of(0, 1)
    callbacks: list[lightning.Callback] = [WeightAveraging()]
    # What could not be written at the end is found out before the beginning.
    provisional = make_card(method, material, settings, (0.5,) * len(material.folder.tissues), "in training")
    criterion = "val_map" if material.held_out else None
    if settings.data.validate_with == "masks":
        criterion = "val_miou"
        callbacks.append(MaskValidation(material.folder.split("val"), provisional))
    checkpoints = Checkpoints(folder, training.checkpoint_every, criterion, begun.key)
    logger = make_logger(training.logger, out)
    interval = max(1, plan.steps // 200)
    validate_every = plan.steps_per_epoch * math.ceil(epochs / MOST_VALIDATIONS)
    try:
        trainer = lightning.Trainer(
            accelerator=training.accelerator,
            devices=training.devices,
            num_nodes=training.nodes,
            precision=precision,
            max_epochs=1,  # one pass over a sampler that holds all epochs: resuming is then exact at any step
            val_check_interval=validate_every,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            log_every_n_steps=interval,
            logger=logger,
            callbacks=[
                *callbacks,
                History(out / HISTORY_FILE, interval, plan.steps_per_epoch),
                Pace(out / PROGRESS_FILE),
                ProgressBar(),
                checkpoints,
            ],
        )
    except (ValueError, MisconfigurationException) as error:
        # What the user chose but the machine lacks; everything else given here is ours.
        raise SettingError(
            f"training.accelerator={training.accelerator}, devices={training.devices}, precision={training.precision} "
            f"cannot be had on this machine: {str(error).splitlines()[0]}"
        ) from error
    checkpoint = find_checkpoint(checkpoints.resume_path, checkpoints.former_path, begun.key)
    begin(out, settings, begun)
    workers = _workers(settings)
    if training.tuning == "frozen":
        material = freeze(method, material, settings, trainer.strategy.root_device)
        workers = 0  # a row of a file is read quicker than handed over
    elif method.cached_teacher is not None:
        path = folder / f"teacher-{begun.key}.npy"
        if trainer.is_global_zero:
            write_teacher_maps(
                material.training.plain(), method.cached_teacher, path, trainer.strategy.root_device, workers
            )
        material.training.teacher_maps = path
    groups = [patch.group for patch in material.held_out.patches] if material.held_out else []
    module = TrainingModule(method, plan.steps, validate_every, groups)
    sampler = sampler_of(trainer.global_rank, trainer.world_size)
    loader = ResumableLoader(material.training, sampler, lambda: trainer.global_step, workers)
    held = DataLoader(material.held_out, batch_size=64, num_workers=workers) if material.held_out else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            trainer.fit(module, loader, held, ckpt_path=checkpoint, weights_only=True)
        except SystemExit:  # how newer versions of Lightning end after Ctrl-C; older ones return
            if not trainer.interrupted:
                raise
    if trainer.interrupted:
        raise KeyboardInterrupt
    return trainer, module, checkpoints, material


def _workers(settings: Settings) -> int:
    if settings.data.workers is not None:
        return settings.data.workers
    return min(8, (os.cpu_count() or 1) - 1)


def _quieten_lightning() -> None:
    """Lightning's hints (GPU available, tips) would bury our own lines; warnings and errors still come through."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
