"""One run of a comparison, in a process of its own: train it, as far as that is not done, and measure it.

`python -m histoproto.compare.work JOB`, where JOB is `Job` as JSON. A lock beside the run folder keeps two comparisons
from working on one run at once: the second waits, and then finds it done.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from histoproto.compare.parent import end_with_parent, start
from histoproto.errors import HistoProtoError
from histoproto.files import replace_atomically

if TYPE_CHECKING:
    from torch import nn

    from histoproto.model.network import Network
    from histoproto.model.saving import ModelCard

# What needs torch is imported where it is used: while a job trains or waits, it should take no memory.

PROTOTYPES_FILE = "prototypes.json"
FIRST_STAGE = "first-stage"
VIEWS = 400
"""Patches, evenly spaced over the test part, on which prototypes are measured."""
CONFIG_FILE, CARD_FILE = "config.yaml", "model.json"


@dataclass(frozen=True)
class Job:
    """One run: a method, a seed and a data folder.

    Attributes:
        data: the data folder.
        run: the run folder.
        training: options of `histoproto train` beside the two folders.
        paper: whether to measure under the protocol `paper` too.
        first: a run folder that, once it is finished, serves as the first of two stages.
    """

    data: str
    run: str
    training: tuple[str, ...]
    paper: bool = False
    first: str | None = None


def finish(job: Job) -> None:
    """Train and measure, as far as that is not done.

    Raises:
        HistoProtoError: a measurement cannot be made.
        CalledProcessError: training failed; it has said why.
    """
    run = Path(job.run)
    run.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(_lock_of(run)):
        if not (run / CARD_FILE).is_file():
            # A stopped run knows its own settings.
            options = ("--resume",) if (run / CONFIG_FILE).is_file() else (*job.training, *_first_stage(job))
            command = [
                sys.executable,
                "-m",
                "histoproto.compare.child",
                "train",
                job.data,
                "--out",
                job.run,
                "--no-report",
                *options,
            ]
            with start(command) as training:  # left early, it closes the pipe, which ends the training
                code = training.wait()
            if code:
                raise subprocess.CalledProcessError(code, command)
        measure(run, Path(job.data), job.paper)


def _first_stage(job: Job) -> tuple[str, ...]:
    """The option that names a finished first stage; waits for one that is being trained."""
    if job.first is None:
        return ()
    first = Path(job.first)
    with FileLock(_lock_of(first)):
        return ("--first-stage", job.first) if (first / CARD_FILE).is_file() else ()


def _lock_of(run: Path) -> Path:
    return run.with_name(f".{run.name}.lock")


def measure(run: Path, data: Path, paper: bool = False) -> None:
    """Score a finished run under the protocols, with a confusion matrix per region, and measure its prototypes.

    What was measured on these very patches is not measured again.
    """
    from histoproto.config import load_settings
    from histoproto.data.fingerprint import fingerprint
    from histoproto.data.layouts import open_data
    from histoproto.evaluation.protocols import PROTOCOLS, Protocol, evaluate, load_metrics
    from histoproto.inference.segmenter import Segmenter

    patches = open_data(data).split("test")
    wanted, print_ = [Protocol(), Protocol(labels="oracle")], fingerprint(patches)
    if paper:
        wanted.append(PROTOCOLS["paper"])
    found = {name: splits.get("test", {}) for name, splits in load_metrics(run).items()}
    missing = [
        protocol
        for protocol in wanted
        if "groups" not in (known := found.get(protocol.name, {})) or known["data"]["fingerprint"] != print_
    ]
    if missing:
        allowed = load_settings(run / CONFIG_FILE).data.allow_leak  # who trained with leaks has said so
        evaluate(run, data, missing, groups=True, segmenter=Segmenter(*_load(run)), allow_leak=allowed)
    if not (run / PROTOTYPES_FILE).is_file():
        with replace_atomically(run / PROTOTYPES_FILE) as temporary:
            temporary.write_text(json.dumps(measure_prototypes(run, data), indent=2), encoding="utf-8")


def _load(run: Path) -> tuple[Network, ModelCard]:
    """The model of a run; where its encoder was frozen, it looks features up that are kept."""
    from histoproto.config import load_settings
    from histoproto.features.stored import use_stored_features
    from histoproto.model.rewriting import fold_normalisation
    from histoproto.model.saving import load_model

    network, card = load_model(run)
    if load_settings(run / CONFIG_FILE).training.tuning == "frozen":
        return use_stored_features(network, card.model.encoder, card.patch_size), card
    return fold_normalisation(network), card


def measure_prototypes(run: Path, data: Path) -> dict[str, Any]:
    """Coverage, overlap, effective number and purity of a run's prototypes on test patches, means over tissues.

    Those of its first stage where the network of the run has none; `{"from": None}` where neither has any.
    """
    from histoproto.data.layouts import open_data
    from histoproto.model.network import HasPrototypes
    from histoproto.report.prototypes import collect_maps
    from histoproto.report.prototypes import measure as scores_of

    folder = open_data(data)
    for source in (run, run / FIRST_STAGE):
        if not (source / CARD_FILE).is_file():
            continue
        network: nn.Module
        network, card = _load(source)
        if not isinstance(network, HasPrototypes):
            continue
        found = collect_maps(network, card, folder.split("test"), folder.tissues, VIEWS)
        scores = scores_of(found)
        means = {
            "coverage": scores.mean_coverage,
            "overlap": scores.mean_overlap,
            "effective": scores.mean_effective,
            "purity": scores.mean_purity,
        }
        return {
            "from": source.name if source != run else ".",
            "views": len(found.views),
            "prototypes": found.maps.shape[2],
            **{name: None if math.isnan(value) else value for name, value in means.items()},
        }
    return {"from": None}


def main() -> None:
    """Finish the job that is given; its mistakes end in one sentence."""
    end_with_parent()
    # Whoever ends this process means the training that it has started, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        finish(Job(**json.loads(sys.argv[1])))
    except HistoProtoError as error:
        sys.exit(f"error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
