"""`train`: from a data folder and settings to a run folder, resumable at any moment."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities import rank_zero_only

from histoproto.config import TUNED, Settings
from histoproto.data.fingerprint import fingerprint
from histoproto.errors import HistoProtoError
from histoproto.lock import LOCK_FILE
from histoproto.methods.registry import build_method, resolve
from histoproto.model.looking import scale_warning
from histoproto.model.saving import CARD_FILE, load_model
from histoproto.printable import printable
from histoproto.record import environment, now, peak_memory_mib, processor_seconds, read_record, write_record
from histoproto.training.begun import CHECKPOINTS, Begun
from histoproto.training.epochs import count_epochs
from histoproto.training.fitting import fit
from histoproto.training.folder import CONFIG_FILE, RECORD_FILE, begin, only_process, settings_for
from histoproto.training.frozen import require_freezable
from histoproto.training.material import Material, gather
from histoproto.training.saving import save
from histoproto.training.stages import (
    PseudoMaskReader,
    copy_run,
    encoder_weights,
    without_second_stage,
    write_pseudo_masks,
)

_log = logging.getLogger(__name__)


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
    settings = settings_for(out, settings, resume)
    if (out / CARD_FILE).exists() and not (out / LOCK_FILE).exists():
        return out
    with only_process(out):  # which clears what one that was killed at its very end has left
        settings = settings_for(out, settings, resume)
        if not (out / CARD_FILE).exists():
            _train(data, out, settings, resume, first_stage)
    return out


def _train(data: Path, out: Path, settings: Settings, resume: bool, first_stage: Path | None) -> None:
    require_freezable(settings)
    material = gather(data, settings)
    if (line := scale_warning(settings.model.encoder, material.mpp)) and rank_zero_only.rank == 0:
        print(printable(line), file=sys.stderr)
    _log.debug(
        "%s: %s patches to train on, %s held out, %s px, %s µm/px",
        data,
        len(material.training),
        len(material.held_out or ()),
        material.patch_size,
        material.mpp,
    )
    if rank_zero_only.rank == 0:
        for note in material.notes:
            print(f"note: {note}", file=sys.stderr)
    begun = Begun.of(material, settings)
    if resume:
        begun.check(out)
    first = None
    if settings.training.second_stage:
        first = _first_stage(data, out, settings, resume, first_stage, material, begun)
    head = _head(data, out, settings, begun) if settings.training.tuning == "head-first" else None
    lightning.seed_everything(settings.seed, workers=True, verbose=False)
    started, clock, processor = now(), time.monotonic(), processor_seconds()
    if first is not None:
        _use_masks_of(first, out / "pseudo-masks", material)
    earlier = read_record(first / RECORD_FILE) if first else {}
    if head is not None:
        earlier = {name: value for name, value in read_record(head / RECORD_FILE).items() if name != "parameters"}
    method = build_method(settings, material.frequency)
    method.prepare(material.training)
    tuned = settings.training.tuning != "frozen"  # else that of the first is what it was
    if first is not None and tuned and settings.training.second_stage_encoder == "first":
        method.network.encoder.load_state_dict(encoder_weights(first))
    if head is not None:
        method.network.load_state_dict(load_model(head)[0].state_dict())

    trainer, module, checkpoints, material = fit(method, material, settings, out, begun)
    if trainer.is_global_zero:
        save(method, module, checkpoints, material, settings, out)
        write_record(
            out / RECORD_FILE,
            {
                **environment(),
                "data": str(data.resolve()),
                "notes": list(material.notes),
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
        for spare in (checkpoints.former_path, *checkpoints.folder.glob("teacher-*.npy")):
            spare.unlink(missing_ok=True)
        shutil.rmtree(out / "pseudo-masks", ignore_errors=True)
    trainer.strategy.barrier()


def _first_stage(
    data: Path, out: Path, settings: Settings, resume: bool, given: Path | None, material: Material, begun: Begun
) -> Path:
    """Train the method itself in `out/first-stage`, or copy it from where it is given, as far as that is not done."""
    first = out / "first-stage"
    alone = resolve(settings.model_copy(update={"training": without_second_stage(settings.training)}))
    if given is not None and not (first / CONFIG_FILE).exists():
        copy_run(given, first, alone, fingerprint(material.patches))
    half_done = (first / CONFIG_FILE).exists()
    begin(out, settings, begun)
    try:
        return train(data, first, alone, half_done and (resume or given is not None))
    except HistoProtoError:
        if not (first / CONFIG_FILE).exists():  # nothing was begun
            (out / CONFIG_FILE).unlink()
            shutil.rmtree(out / CHECKPOINTS)
        raise


def _head(data: Path, out: Path, settings: Settings, begun: Begun) -> Path:
    """Train the head alone in `out/head`, as far as that is not done."""
    head = out / "head"
    begin(out, settings, begun)
    frozen: dict[str, Any] = {"tuning": "frozen", **TUNED["frozen"]["training"]}
    alone = resolve(settings.model_copy(update={"training": settings.training.model_copy(update=frozen)}))
    return train(data, head, alone, resume=(head / CONFIG_FILE).exists())


def _use_masks_of(first: Path, folder: Path, material: Material) -> None:
    """Let the training patches carry the masks that the first stage finds for them."""
    patches = material.training.patches
    if rank_zero_only.rank == 0:
        write_pseudo_masks(first, patches, folder)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
    material.training.read_label_map = PseudoMaskReader(folder, patches, material.folder.tissues)
