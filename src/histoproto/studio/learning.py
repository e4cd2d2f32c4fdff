"""A round: train on the labels that stand, then guess what is in the tiles, and measure it on the random share."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np
import torch
from numpy.typing import NDArray

from histoproto.config import Settings, load_settings
from histoproto.errors import DataError
from histoproto.evaluation.classifier import classifier_scores
from histoproto.features.stored import StoredEncoder
from histoproto.files import replace_atomically
from histoproto.inference.patches import as_batch
from histoproto.inference.segmenter import Segmenter
from histoproto.methods.registry import PRESETS
from histoproto.model.network import EncodedNetwork
from histoproto.model.saving import load_model
from histoproto.studio.features import kept_with, with_features
from histoproto.studio.project import Project
from histoproto.studio.prototypes import carry_over
from histoproto.studio.records import Tile
from histoproto.studio.rounds import Score, next_round, round_folder
from histoproto.training.run import train

LEAST_LABELS = 4
"""Below, nothing is learnt."""
BATCH = 32
BOOTSTRAP = 500
SETTINGS = (
    "training.tuning=frozen",
    "training.views=4",
    "training.batch_size=16",
    "training.learning_rate=0.003",
    "training.prototype_learning_rate=0.003",
    "data.workers=0",
    "loss.similarity=0",
)
"""Of the training of a round, beside the defaults."""
STEPS = 100
"""Of a round, about; docs/results.md tells what that costs."""

Told = Callable[[str, int, int], None]
"""Told of progress: what is being done, how much of it is done, and how much there is."""


def learn(project: Project, told: Told = lambda *_: None) -> int:
    """Train on the labels that stand and guess; the number of the round.

    `rounds/NNNN/` holds `data/` (the labelled tiles as a data folder), `run/` (an ordinary run folder), `guesses.npz`
    (chances of all tiles that are known well enough) and `score.json`.

    Raises:
        DataError: there are too few labels, or each tissue is in none or all of them.
        HistoProtoError: see `train`.
    """
    number = next_round(project)
    folder = round_folder(project, number)
    shutil.rmtree(folder, ignore_errors=True)  # of a round that was stopped
    labels = {tile: label for tile, label in project.store.labels().items() if label.verdict == "label"}
    tiles = project.store.tiles()
    usable = [label for tile, label in labels.items() if not tiles[tile].checks]
    ticks = [label.ticks for label in usable]
    learnt_from = _learnt_from(project, ticks)
    _refuse_too_few(project, ticks, learnt_from)
    told("reading tiles", 0, len(usable))
    project.export_labels(folder / "data")
    told("training", 0, 1)
    with kept_with(project):
        run = train(folder / "data", folder / "run", _settings(project, len(usable)))
    carry_over(project, run)
    finish_round(project, number, learnt_from, told)
    return number


def finish_round(project: Project, number: int, learnt_from: Score, told: Told = lambda *_: None) -> None:
    """Guess what is in the tiles with the model of a round, and measure it: with that the round is there.

    Args:
        project: which.
        number: of the round; `run/` in its folder is the model.
        learnt_from: its score as far as that is known from the labels it was trained on.
        told: see `Told`.
    """
    folder = round_folder(project, number)
    standing, tiles = project.store.labels(), project.store.tiles()
    numbers, _ = project.store.embeddings()
    labelled = [tile for tile, label in standing.items() if label.verdict == "label"]
    wanted = [tiles[int(tile)] for tile in dict.fromkeys([*labelled, *numbers.tolist()])]
    network, card = load_model(folder / "run")
    segmenter = Segmenter(with_features(project, network, card.model.encoder), card, "cpu")
    chances = guess(project, segmenter, wanted, told)
    ids = np.array([tile.id for tile in wanted], np.int64)
    score = _score(project, ids, chances, segmenter.card.thresholds, learnt_from)
    with replace_atomically(folder / "score.json") as temporary:
        temporary.write_text(json.dumps(asdict(score)) + "\n", encoding="utf-8")
    with replace_atomically(folder / "guesses.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, tiles=ids, chances=chances)


def _refuse_too_few(project: Project, ticks: Sequence[tuple[str, ...]], learnt_from: Score) -> None:
    if len(ticks) < LEAST_LABELS:
        raise DataError(f"{len(ticks)} tiles are labelled that may be trained on; label at least {LEAST_LABELS}")
    names = project.tissues.names
    if len(learnt_from.untaught) + len(learnt_from.everywhere) == len(names):
        raise DataError(
            f"all {len(ticks)} labels say the same ({', '.join(ticks[0]) or 'none of the tissues'}); a tissue is "
            f"learnt from tiles that have it and tiles that do not: label a tile {_contrast(names, ticks[0])}"
        )


def _contrast(names: Sequence[str], ticks: Sequence[str]) -> str:
    return f"without {ticks[0]}" if ticks else f"with {' or '.join(names)}"


def _learnt_from(project: Project, ticks: Sequence[tuple[str, ...]]) -> Score:
    """What is known of the score of a round before it is measured, from the labels it is trained on."""
    names = tuple(project.tissues.names)
    counts = {name: sum(name in row for row in ticks) for name in names}
    return Score(
        len(ticks),
        0,
        untaught=tuple(name for name in names if counts[name] == 0),
        everywhere=tuple(name for name in names if counts[name] == len(ticks)),
        tissues=names,
    )


def _settings(project: Project, labels: int) -> Settings:
    settings = project.settings
    own = [f"data.mpp={settings.mpp}", f"data.patch_size={settings.tile}", f"seed={settings.seed}"]
    own.append(f"training.epochs={max(3, round(16 * STEPS / max(16, labels)))}")
    return load_settings(overrides=[*SETTINGS, *own], presets=PRESETS)


@torch.inference_mode()
def guess(
    project: Project, segmenter: Segmenter, tiles: Sequence[Tile], told: Told = lambda *_: None
) -> NDArray[np.float32]:
    """The chance of each tissue being in each tile, N×C in [0, 1]."""
    found = [np.empty((0, len(segmenter.tissues)), np.float32)]
    network, digests = segmenter.network, project.store.digests()
    for start in range(0, len(tiles), BATCH):
        told("looking at tiles", start, len(tiles))
        batch = tiles[start : start + BATCH]
        names = [digests.get(tile.id, b"") for tile in batch]
        if isinstance(network, EncodedNetwork) and (kept := _kept(network.encoder, names)):
            logits = network.head(network.neck(kept)).logits
        else:
            pixels = np.stack([project.read_tile(tile) for tile in batch])
            logits = network.class_maps(as_batch(pixels, segmenter.device)).logits
        found.append(logits.sigmoid().float().cpu().numpy())
    return np.concatenate(found)


def _kept(encoder: object, names: Sequence[bytes]) -> list[torch.Tensor] | None:
    """The features of these names where an encoder can look all of them up, so that no picture need be read."""
    if isinstance(encoder, StoredEncoder) and all(name in encoder.shelf for name in names):
        return encoder.of(names)
    return None


def _score(
    project: Project,
    ids: NDArray[np.int64],
    chances: NDArray[np.float32],
    thresholds: Sequence[float],
    learnt_from: Score,
) -> Score:
    tiles = project.store.tiles()
    standing = project.store.labels()
    rows = [place for place, tile in enumerate(ids.tolist()) if tiles[tile].checks and tile in standing]
    rows = [place for place in rows if standing[int(ids[place])].verdict == "label"]
    present = np.array(
        [[name in standing[int(ids[place])].ticks for name in project.tissues.names] for place in rows], np.bool_
    ).reshape(len(rows), len(project.tissues))
    if len(rows) < 5 or not present.any():
        return replace(learnt_from, checks=len(rows))
    found = chances[rows]
    scores = classifier_scores(found, present, thresholds)
    rng = np.random.default_rng(0)
    drawn = [rng.integers(len(rows), size=len(rows)) for _ in range(BOOTSTRAP)]
    means = [classifier_scores(found[draw], present[draw], thresholds).mean_average_precision for draw in drawn]
    low, high = (float(value) for value in np.nanquantile(means, (0.025, 0.975)))
    own = scores.mean_average_precision
    return replace(learnt_from, checks=len(rows), average_precision=own, low=low, high=high, f1=scores.mean_f1)
