"""One slide of many: taken if nobody else has it, done once, and a failure becomes a sentence."""

from __future__ import annotations

import re
import shutil
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from histoproto.errors import DocumentError, HistoProtoError, sentence
from histoproto.inference.segmenter import Segmenter
from histoproto.printable import one_line
from histoproto.slides.export.finished import is_begun, read_finished, set_aside
from histoproto.slides.many.lock import slide_lock
from histoproto.slides.options import SlideOptions
from histoproto.slides.segment import slide_steps
from histoproto.slides.steps import finish
from histoproto.slides.task import SlideTask


@dataclass(frozen=True)
class Job:
    """A slide, the name of its folder, and whether to wait for it if another process has it in hand."""

    name: str
    task: SlideTask
    wait: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        job: the slide.
        state: `done` now, `finished` before (or by another process), `failed`, or `busy`: in another process's hands.
        sentence: why it failed.
        trace: where, if it is not the user's to mend.
        notes: what was chosen, assumed or left out.
    """

    job: Job
    state: Literal["done", "finished", "failed", "busy"]
    sentence: str = ""
    trace: str = ""
    notes: tuple[str, ...] = ()


def is_finished(out: Path, name: str) -> bool:
    """Whether the results of a slide are there, all of them, and can be read: its record is written last."""
    try:
        read_finished(out / name)
    except DocumentError:
        return False
    return True


def do_job(
    segmenter: Segmenter, job: Job, out: Path, options: SlideOptions, tiles: Callable[[int, int], None] | None = None
) -> Outcome:
    """Segment a slide into OUT/NAME under its lock, unless it is finished or in hand; only an interrupt is raised."""
    return finish(job_steps(segmenter, job, out, options, tiles))


def job_steps(
    segmenter: Segmenter, job: Job, out: Path, options: SlideOptions, tiles: Callable[[int, int], None] | None = None
) -> Generator[None, None, Outcome]:
    """`do_job` in the steps of `slide_steps`; the lock is held to the end of the last."""
    try:
        with slide_lock(out, job.name, job.wait) as lock:
            if lock is None:
                return Outcome(job, "busy")
            if is_finished(out, job.name):  # asked under the lock, or two processes could do it one after the other
                return Outcome(job, "finished")
            sweep(out, job.name)
            broken = _set_aside_broken(out / job.name)
            try:
                summary = yield from slide_steps(segmenter, job.task, out / job.name, options, tiles)
            except Exception:
                if lock.compromise:  # this machine was taken for dead, and another one has the slide now
                    return Outcome(job, "busy")
                raise
        return Outcome(job, "done", notes=(*broken, *summary.notes))
    except HistoProtoError as error:
        return Outcome(job, "failed", sentence(error))
    except OSError as error:
        return Outcome(job, "failed", f"{job.task.path}: {error.filename or out}: {error.strerror or error}")
    except Exception as error:
        said = one_line(f"{job.task.path}: unexpected {type(error).__name__}: {error}")
        return Outcome(job, "failed", said, traceback.format_exc())


def _set_aside_broken(folder: Path) -> tuple[str, ...]:
    """Move results with a record that is broken out of the way, and say so; they are nobody's to delete."""
    if not is_begun(folder):
        return ()
    try:
        read_finished(folder)
    except DocumentError as error:
        return (f"there were results that are not whole ({error}); they are now in {set_aside(folder)}",)
    return ()


def sweep(out: Path, name: str) -> None:
    """Remove what a dead process left of a slide; only for the holder of its lock."""
    leftover = re.compile(rf"\.{re.escape(name)}\.[^.]+\.partial")
    for path in out.iterdir():
        if leftover.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
