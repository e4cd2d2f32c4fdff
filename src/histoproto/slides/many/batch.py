"""Many slides: in this process, in several, or on the machines of a Ray cluster; all may share one output folder.

What keeps them apart is one lock per slide (`histoproto.slides.many.lock`), whoever started them. Finished slides are
skipped, so that a batch that was stopped, however harshly, goes on when it is started again.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal

from histoproto.config import InferenceSettings
from histoproto.errors import DataError, OutputError, SettingError
from histoproto.ledger import Ledger
from histoproto.model.archive import opened
from histoproto.model.saving import ModelCard, load_card
from histoproto.slides.export.finished import read_finished
from histoproto.slides.export.packages import require_packages
from histoproto.slides.export.summary import SUMMARY_PAGE, SUMMARY_TABLE, Failure, has_failed, write_summary
from histoproto.slides.many.job import Job, Outcome, is_finished
from histoproto.slides.many.lock import clear_lock
from histoproto.slides.many.processes import Setup, Tiles, in_processes, in_this_process
from histoproto.slides.many.ray_engine import on_ray
from histoproto.slides.many.tasks import name_slides
from histoproto.slides.options import SlideOptions
from histoproto.slides.task import SlideTask
from histoproto.words import counted

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class BatchReport:
    """What became of all slides, in the order of the list.

    Attributes:
        outcomes: one per slide.
        outdated: names of slides that were finished before, with other settings, another model or from another file.
        broken: sentences on earlier results that could not be read for the summary.
    """

    outcomes: tuple[Outcome, ...]
    outdated: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    def names(self, *states: str) -> list[str]:
        """The slides in these states."""
        return [outcome.job.name for outcome in self.outcomes if outcome.state in states]

    @property
    def failed(self) -> list[Outcome]:
        """Those that failed, each with its sentence."""
        return [outcome for outcome in self.outcomes if outcome.state == "failed"]


def segment_slides(
    run: Path,
    tasks: Sequence[SlideTask],
    out: Path,
    options: SlideOptions | None = None,
    *,
    workers: int | None = None,
    engine: Engine = "local",
    address: str | None = None,
    device: str = "auto",
    tiles: Tiles | None = None,
    slides: Callable[[Outcome, int, int], None] | None = None,
    retry_failed: bool = False,
    left_out: Sequence[str] = (),
) -> BatchReport:
    """Segment slides into OUT/NAME, each once, and write OUT/summary.csv and OUT/summary.html.

    A slide that fails does not stop the others. One that another process has in hand is waited for at the end, so that
    after this call every slide is finished or has failed.

    Args:
        run: run folder of the model.
        tasks: the slides (`find_slides`).
        out: where the folders of the slides go.
        options: how to segment.
        workers: processes, or actors with Ray. None: one process; with Ray one actor per GPU or machine.
        engine: `local`: this machine; `ray`: a cluster.
        address: of the Ray cluster.
        device: `auto`, `cpu`, `cuda` …; several workers share out the GPUs.
        tiles: told of progress in a slide: its name, tiles done, tiles in all (not with Ray).
        slides: told of each outcome, slides done with, and slides in all.
        retry_failed: only those that failed before.
        left_out: sentences on what was found and not taken, for the summary.

    Raises:
        RunError, SettingError: a model or a setting that will not do for any slide.
        DataError: two slides that nothing tells apart, or none that failed to retry.
        OutputError: nothing can be written to `out`.
    """
    if workers is not None and workers < 1:
        raise SettingError(f"the number of workers must be at least 1, found {workers}")
    if address is not None and engine != "ray":
        raise SettingError("an address is that of a Ray cluster; add --engine ray")
    options, card = options or SlideOptions(), load_card(opened(run))
    options.settings(card.inference)  # what no slide could change is answered before any work
    options.scale(card)
    require_packages(options)
    _check_writable(out)
    check_summary(out)
    named = [Job(name, task) for name, task in name_slides(tasks).items()]
    if retry_failed:
        named = [job for job in named if has_failed(out, job.name) and not is_finished(out, job.name)]
        if not named:
            raise DataError(f"none of {counted(len(tasks), 'slide')} failed before in {out}; leave --retry-failed out")
    outcomes = {job.name: Outcome(job, "finished") for job in named if is_finished(out, job.name)}
    for count, outcome in enumerate(outcomes.values(), start=1):
        clear_lock(out, outcome.job.name)
        if slides:
            slides(outcome, count, len(named))
    outdated = tuple(name for name, one in outcomes.items() if is_outdated(out / name, one.job.task, options, card))
    jobs = deque(job for job in named if job.name not in outcomes)
    setup, ignore = Setup(run, out, options, device), lambda *_: None
    if engine == "ray":
        stream = on_ray(jobs, setup, workers, address)
    elif workers is None or min(workers, len(jobs)) < 2:
        stream = in_this_process(jobs, setup, tiles or ignore)
    else:
        stream = in_processes(jobs, setup, min(workers, len(jobs)), tiles or ignore)
    with closing(stream):  # stops workers at once, whatever happens here
        for outcome in stream if jobs else ():
            if outcome.state == "busy":
                jobs.append(replace(outcome.job, wait=True))  # after all others
                continue
            outcomes[outcome.job.name] = outcome
            if slides:
                slides(outcome, len(outcomes), len(named))
    report = BatchReport(tuple(outcomes[job.name] for job in named), outdated)
    failed = [Failure(one.job.name, one.job.task.path, one.sentence) for one in report.failed]
    return replace(report, broken=tuple(write_summary(out, failed, left_out)))


def check_summary(out: Path) -> None:
    """Refuse a folder that is none, or where a summary lies that is not ours.

    Raises:
        OutputError: it is.
    """
    if os.path.lexists(out) and not out.is_dir():
        raise OutputError(f"{out} is there already and no folder; choose another place for the results")
    Ledger(out).require_own(out / name for name in (SUMMARY_TABLE, SUMMARY_PAGE))


def is_outdated(folder: Path, task: SlideTask, options: SlideOptions, card: ModelCard) -> bool:
    """Whether a finished slide was another file, or done in another way."""
    record = read_finished(folder).record
    settings = {**asdict(options), **options.settings(card.inference).model_dump(), "model_mpp": options.scale(card)}
    wanted = {
        "slide": str(task.path.absolute()),
        "regions": task.regions and str(task.regions.absolute()),
        "image_told": task.image,
        "settings": settings,
        "training_data": card.training_data,
    }
    earlier = {**asdict(SlideOptions()), **InferenceSettings().model_dump()}
    for name, default in earlier.items():  # an option that came after the slide was done
        record.settings.setdefault(name, default)
    for each in (settings, record.settings):  # what decides nothing but speed
        each |= {"readers": None, "batch_size": None}
    return any(getattr(record, name) != value for name, value in json.loads(json.dumps(wanted)).items())


def _check_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out) as file:
            file.write(bytes(4096))
    except OSError as error:
        raise OutputError(f"the folder {out} cannot be written: {error.strerror or error}") from error
