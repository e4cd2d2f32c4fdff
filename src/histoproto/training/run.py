"""`train`: from a data folder and settings to a run folder, resumable at any moment."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from histoproto.config import Settings, TrainingSettings, load_settings
from histoproto.data.cut import recorded_mpp
from histoproto.data.dataset import Augmentation, PatchDataset, ResumableLoader, StepSampler
from histoproto.data.fingerprint import fingerprint
from histoproto.data.images import read_image, read_mask
from histoproto.data.layouts import DataFolder, Patch, open_data
from histoproto.data.mosaic import MixedDataset, MosaicDataset
from histoproto.errors import DataError, HistoProtoError, RunError, SettingError
from histoproto.files import replace_atomically
from histoproto.methods.base import Method
from histoproto.methods.registry import build_method, method_class, resolve
from histoproto.model.saving import CARD_FILE, ModelCard, save_model
from histoproto.model.weights import read_state_dict
from histoproto.tissue import TissueSet
from histoproto.training.calibration import calibrate_thresholds
from histoproto.training.callbacks import Checkpoints, History, ProgressBar, WeightAveraging
from histoproto.training.holdout import hold_out
from histoproto.training.mask_validation import MaskValidation
from histoproto.training.module import TrainingModule
from histoproto.training.record import environment, now, peak_memory_mib, processor_seconds, write_record
from histoproto.training.stages import (
    PseudoMaskReader,
    copy_run,
    encoder_weights,
    without_second_stage,
    write_pseudo_masks,
)
from histoproto.training.teacher_maps import write_teacher_maps

LEAST_EPOCHS, LEAST_STEPS = 6, 350
CONFIG_FILE, RECORD_FILE, HISTORY_FILE = "config.yaml", "record.json", "history.csv"


@dataclass(frozen=True)
class _Material:
    """The patches of a run, as datasets."""

    folder: DataFolder
    training: PatchDataset
    held_out: PatchDataset | None
    patch_size: int
    mpp: float | None

    @property
    def patches(self) -> tuple[Patch, ...]:
        """All that the run knows of, for training and for choosing the checkpoint."""
        return (*self.training.patches, *(self.held_out.patches if self.held_out else ()))


def train(
    data: Path | str,
    out: Path | str,
    settings: Settings | None = None,
    resume: bool = False,
    first_stage: Path | None = None,
) -> Path:
    """Train a method on image-level labels.

    Args:
        data: a data folder (see `open_data`); only its training patches are used, and no mask, unless
            `data.validate_with` says so.
        out: the run folder to make.
        settings: defaults if None; when resuming, those of the run folder.
        resume: go on from the last checkpoint of `out`; a finished run is left as it is.
        first_stage: a finished run with the same settings but for the second stage, to be copied and used in place of
            training the first stage anew.

    Returns:
        The run folder, with config.yaml, model.safetensors, model.json, history.csv, record.json, checkpoints/ and
        tensorboard/. With `training.second_stage`, seconds and parameters in the record are those of both stages, and
        `first-stage/` is the run folder of the first.

    Raises:
        RunError: `out` already holds a run and `resume` is false, there is nothing to resume, or `first_stage` is not
            what these settings would train.
        HistoProtoError: see the rooms below.
    """
    data, out = Path(data), Path(out)
    settings = _prepare(out, settings, resume)
    if (out / CARD_FILE).exists():
        return out
    material = _material(data, settings)
    first = _first_stage(data, out, settings, resume, first_stage, material) if settings.training.second_stage else None
    lightning.seed_everything(settings.seed, workers=True, verbose=False)
    started, clock, processor = now(), time.monotonic(), processor_seconds()
    if first is not None:
        _use_masks_of(first, out / "pseudo-masks", material)
    labels = torch.tensor([patch.labels for patch in material.training.patches], dtype=torch.float32)
    method = build_method(settings, labels.mean(dim=0))
    method.prepare(material.training)
    if first is not None and settings.training.second_stage_encoder == "first":
        method.network.encoder.load_state_dict(encoder_weights(first))

    trainer, module, checkpoints = _fit(method, material, settings, out, resume)
    if trainer.is_global_zero:
        _save(method, module, checkpoints, material, settings, out)
        earlier = json.loads((first / RECORD_FILE).read_text(encoding="utf-8")) if first else {}
        write_record(
            out / RECORD_FILE,
            {
                **environment(),
                "data": str(data.resolve()),
                "seed": settings.seed,
                "epochs": count_epochs(settings.training, len(material.training)),
                "started": started,
                "finished": now(),
                "resumed": resume,
                "seconds": round(time.monotonic() - clock, 1) + earlier.get("seconds", 0),
                "processor_seconds": round(processor_seconds() - processor, 1) + earlier.get("processor_seconds", 0),
                "peak_memory_mib": round(peak_memory_mib()),
                "parameters": sum(p.numel() for p in method.network.parameters()) + earlier.get("parameters", 0),
                "best": checkpoints.best,
            },
        )
        (checkpoints.folder / "teacher.npy").unlink(missing_ok=True)
        shutil.rmtree(out / "pseudo-masks", ignore_errors=True)
    trainer.strategy.barrier()
    return out


def count_epochs(training: TrainingSettings, patches: int) -> int:
    """Epochs of a stage for so many training patches.

    Those that were asked for or, by default, 6 and at least about 350 steps; see `second_stage_epochs` for the second.
    """
    epochs = training.epochs or max(LEAST_EPOCHS, round(LEAST_STEPS / max(1, patches // training.batch_size)))
    if not training.second_stage:
        return epochs
    usual = epochs if training.second_stage_encoder == "pretrained" else math.ceil(epochs / 2)
    return training.second_stage_epochs or usual


def _first_stage(
    data: Path, out: Path, settings: Settings, resume: bool, given: Path | None, material: _Material
) -> Path:
    """Train the method itself in `out/first-stage`, or copy it from where it is given, as far as that is not done."""
    first = out / "first-stage"
    alone = resolve(settings.model_copy(update={"training": without_second_stage(settings.training)}))
    if given is not None and not (first / CONFIG_FILE).exists():
        copy_run(given, first, alone, fingerprint(material.patches))
    begun = (first / CONFIG_FILE).exists()
    _write_config(out, settings)
    try:
        return train(data, first, alone, begun and (resume or given is not None))
    except HistoProtoError:
        if not (first / CONFIG_FILE).exists():
            (out / CONFIG_FILE).unlink()  # nothing was begun
        raise


def _use_masks_of(first: Path, folder: Path, material: _Material) -> None:
    """Let the training patches carry the masks that the first stage finds for them."""
    patches = material.training.patches
    if rank_zero_only.rank == 0:
        write_pseudo_masks(first, patches, folder)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
    material.training.read_label_map = PseudoMaskReader(folder, patches, material.folder.tissues)


def _prepare(out: Path, settings: Settings | None, resume: bool) -> Settings:
    """The settings to use; makes sure that no finished or foreign run is overwritten."""
    config = out / CONFIG_FILE
    if resume:
        if not config.is_file():
            raise RunError(f"{out} holds no run to resume ({CONFIG_FILE} is missing); leave out --resume to start one")
        recorded = load_settings(config)
        if settings is not None and resolve(settings) != recorded:
            raise RunError(
                f"{config} holds other settings than those given; resume without settings, or use another folder"
            )
        return recorded
    # Processes beside the first find the folder that it has made.
    beside = rank_zero_only.rank > 0 or os.environ.get("NODE_RANK", "0") != "0"
    if config.exists() and not beside:
        raise RunError(f"{out} already holds a run; continue it with --resume, or give another folder")
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; give a folder for the run")
    return resolve(settings or Settings())


def _material(data: Path, settings: Settings) -> _Material:
    folder = open_data(data)
    patches = folder.split("train")
    unlabelled = [patch.image.name for patch in patches if patch.labels is None]
    if unlabelled:
        raise DataError(
            f"{len(unlabelled)} of {len(patches)} training patches carry no image label (the first is "
            f"{unlabelled[0]}); training needs one for each"
        )
    training: list[Patch] = list(patches)
    held: list[Patch] = []
    if settings.data.fraction < 1:
        order = np.random.default_rng(settings.seed).permutation(len(training))
        training = [training[index] for index in sorted(order[: math.ceil(settings.data.fraction * len(training))])]
    if settings.data.validation_fraction > 0:
        training, held = hold_out(training, settings.data.validation_fraction, settings.seed)
    size = settings.data.patch_size or min(read_image(training[0].image).shape[:2])
    augmentation = Augmentation(settings.data.stain_jitter, settings.seed)
    if settings.data.validate_with == "masks" and not held:
        raise SettingError(
            "data.validate_with=masks chooses the checkpoint, but thresholds still need held-out patches; "
            "set data.validation_fraction above 0"
        )
    return _Material(
        folder,
        _with_extras(PatchDataset(training, size, augmentation), settings, folder.tissues),
        PatchDataset(held, size) if held else None,
        size,
        settings.data.mpp or recorded_mpp(data),
    )


def _with_extras(plain: PatchDataset, settings: Settings, tissues: TissueSet) -> PatchDataset:
    """The training patches with whatever else the method learns from."""
    method = method_class(settings)
    if method.replaced:
        return MixedDataset(plain, tissues.names)
    if "masks" in method.extras and not settings.training.second_stage:
        missing = [patch.image.name for patch in plain.patches if patch.mask is None]
        if missing:
            raise DataError(
                f"{settings.method} trains on pixel labels, but {len(missing)} of {len(plain.patches)} training "
                f"patches have no mask (the first is {missing[0]}); `histoproto data cut --train-masks` writes them"
            )
        plain.read_label_map = partial(_true_mask, tissues=tissues)
    return MosaicDataset(plain, tissues.names) if "mosaics" in method.extras else plain


def _true_mask(patch: Patch, tissues: TissueSet) -> NDArray[np.uint8]:
    assert patch.mask is not None
    return read_mask(patch.mask, tissues)


def _write_config(out: Path, settings: Settings) -> None:
    with replace_atomically(out / CONFIG_FILE) as temporary:
        temporary.write_text(settings.to_yaml(), encoding="utf-8")


def _fit(
    method: Method, material: _Material, settings: Settings, out: Path, resume: bool
) -> tuple[Any, TrainingModule, Checkpoints]:
    training = settings.training
    folder = out / "checkpoints"
    precision: Any = {"auto": "32-true", "32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}[training.precision]
    if training.precision == "auto" and torch.cuda.is_available() and torch.cuda.is_bf16_supported():
        precision = "bf16-mixed"
    _quieten_lightning()

    epochs = count_epochs(training, len(material.training))

    def sampler_of(rank: int, world: int) -> StepSampler:
        patches = len(material.training)
        return StepSampler(patches, training.batch_size, epochs, settings.seed, rank, world, method.replaced)

    plan = sampler_of(0, 1)
    callbacks: list[lightning.Callback] = [WeightAveraging()]
    criterion = "val_map" if material.held_out else None
    if settings.data.validate_with == "masks":
        criterion = "val_miou"
        provisional = _card(method, material, settings, (0.5,) * len(material.folder.tissues), "in training")
        callbacks.append(MaskValidation(material.folder.split("val"), provisional))
    checkpoints = Checkpoints(folder, training.checkpoint_every, criterion)
    interval = max(1, plan.steps // 200)
    try:
        trainer = lightning.Trainer(
            accelerator=training.accelerator,
            devices=training.devices,
            num_nodes=training.nodes,
            precision=precision,
            max_epochs=1,  # one pass over a sampler that holds all epochs: resuming is then exact at any step
            val_check_interval=plan.steps_per_epoch,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            log_every_n_steps=interval,
            logger=TensorBoardLogger(out, name="", version="tensorboard"),
            callbacks=[
                *callbacks,
                History(out / HISTORY_FILE, interval, plan.steps_per_epoch),
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
    _write_config(out, settings)
    folder.mkdir(exist_ok=True)
    workers = _workers(settings)
    if method.cached_teacher is not None:
        path = folder / "teacher.npy"
        plain = PatchDataset(material.training.patches, material.patch_size)
        if trainer.is_global_zero:
            write_teacher_maps(plain, method.cached_teacher, path, trainer.strategy.root_device, workers)
        material.training.teacher_maps = path
    groups = [patch.group for patch in material.held_out.patches] if material.held_out else []
    module = TrainingModule(method, plan.steps, plan.steps_per_epoch, groups)
    sampler = sampler_of(trainer.global_rank, trainer.world_size)
    loader = ResumableLoader(material.training, sampler, lambda: trainer.global_step, workers)
    held = DataLoader(material.held_out, batch_size=64, num_workers=workers) if material.held_out else None
    checkpoint = checkpoints.resume_path if resume and checkpoints.resume_path.exists() else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            trainer.fit(module, loader, held, ckpt_path=checkpoint, weights_only=True)
        except SystemExit:  # how newer versions of Lightning end after Ctrl-C; older ones return
            if not trainer.interrupted:
                raise
    if trainer.interrupted:
        raise KeyboardInterrupt
    return trainer, module, checkpoints


def _save(
    method: Method,
    module: TrainingModule,
    checkpoints: Checkpoints,
    material: _Material,
    settings: Settings,
    out: Path,
) -> None:
    """Write the final weights and their card; the card comes last and marks the run as finished."""
    network = module.final_network.to("cpu")
    chosen = "last step; no patches were held out"
    if material.held_out is not None:
        network.load_state_dict(read_state_dict(checkpoints.best_path))
        by = f"mean average precision of image labels of {len(material.held_out)} held-out patches; no mask was used"
        if settings.data.validate_with == "masks":
            by = f"mIoU on {len(material.folder.val)} validation patches with MASKS"
        chosen = f"step {checkpoints.best['step']:.0f}, score {checkpoints.best['score']:.4f}: the latest within one "
        chosen += f"standard error of the best late {by}"
    plain = PatchDataset(material.training.patches, material.patch_size)
    thresholds = calibrate_thresholds(network, plain, material.held_out)
    save_model(out, network, _card(method, material, settings, thresholds, chosen))


def _card(
    method: Method, material: _Material, settings: Settings, thresholds: tuple[float, ...], chosen: str
) -> ModelCard:
    held_out = len(material.patches) - len(material.training)
    encoder = method.network.encoder
    return ModelCard(
        method=settings.method,
        second_stage=settings.training.second_stage,
        model=settings.model,
        inference=settings.inference,
        classes=material.folder.tissues.to_dict(),
        patch_size=material.patch_size,
        mpp=material.mpp,
        thresholds=thresholds,
        calibrated_on=f"image labels of {len(material.training)} training and {held_out} held-out patches",
        checkpoint=chosen,
        normalisation={"mean": encoder.mean.flatten().tolist(), "std": encoder.std.flatten().tolist()},
        encoder_licence=encoder.licence,
        training_data={
            "layout": material.folder.layout,
            "patches": len(material.training),
            "held_out": held_out,
            "fingerprint": fingerprint(material.patches),
        },
    )


def _workers(settings: Settings) -> int:
    if settings.data.workers is not None:
        return settings.data.workers
    return min(8, (os.cpu_count() or 1) - 1)


def _quieten_lightning() -> None:
    """Lightning's hints (GPU available, tips) would bury our own lines; warnings and errors still come through."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
