"""The work that begins when a project is opened: slides are added, labels taken over, tiles looked at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from histoproto.errors import DataError, HistoProtoError, sentence
from histoproto.slides.many.tasks import name_slides
from histoproto.slides.reading.opening import lacks_mpp
from histoproto.slides.task import SlideTask
from histoproto.studio.adding import add_slides, missing_slides
from histoproto.studio.project import Project
from histoproto.studio.scales import Scales, Scan, Waiting
from histoproto.studio.workers import Embedder
from histoproto.words import counted

MANY_PROBLEMS = 3
"""That are told in full."""


class Beginning:
    """Two threads, one that adds slides and labels, and one that looks at tiles as soon as there are any.

    A slide of unknown µm/px waits until a person says it (`use`), and is added then.

    Args:
        tasks: slides to add.
        labels: where labels are that are to be taken over (see `take_over`), once the slides are there.
        told: is given each note as it comes, and what went wrong.

    Attributes:
        busy: what is done now, in words.
        notes: what was assumed of slides, what came of labels, and what else there is to know, in words.
        missing: slides whose files are not where they were.
        embedder: who looks at tiles; None before the start.
        scales: slides that wait for their µm/px; None before the start.
        scan: who looks for such slides before the start; None after, and before anybody asked.
    """

    def __init__(self, tasks: Sequence[SlideTask], labels: Sequence[Path], told: Callable[[str], None]):
        self.tasks, self.labels, self._told = tasks, list(labels), told
        self.busy = ""
        self.notes: list[str] = []
        self.missing: frozenset[str] = frozenset()
        self.embedder: Embedder | None = None
        self.scales: Scales | None = None
        self.scan: Scan | None = None
        self._problems: list[str] = []
        self._adding, self._stopped = True, False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def problem(self) -> str:
        """What went wrong; the first of many things."""
        own = [*self._problems, *([self.embedder.problem] if self.embedder and self.embedder.problem else [])]
        more = len(own) - MANY_PROBLEMS
        return " · ".join(own[:MANY_PROBLEMS]) + (f" · and {more} more" if more > 0 else "")

    def start(self, project: Project, said: Sequence[Waiting] = ()) -> None:
        """Begin.

        Args:
            project: which.
            said: slides of which a person has said the µm/px before there was a project.
        """
        self.busy = "opening the slides"
        self.scales, self.scan = Scales(project.folder), None
        if said:
            self.scales.keep(said)
        self.embedder = self._looking(project)
        self._thread = threading.Thread(target=self._work, args=(project, self.scales), name="beginning", daemon=True)
        self._thread.start()

    def waiting(self) -> list[Waiting]:
        """The slides of which no µm/px is known, left out until it is. Before the start, those found so far."""
        if self.scales:
            return self.scales.unsaid()
        if self.scan is None:
            self.scan = Scan(self.tasks)
            self.scan.start()
        return self.scan.found

    def use(self, project: Project, scales: Mapping[str, Any]) -> None:
        """Add slides that wait, now that their µm/px is known, beside.

        Args:
            project: which.
            scales: µm/px by the name of a slide.

        Raises:
            SettingError: no such slide waits, or an impossible µm/px.
        """
        assert self.scales is not None
        self.scales.say(scales)
        with self._lock:
            if self._adding:
                return  # the thread sees to them
            self._adding, self.busy = True, "opening the slides"
        self._look_on(project)
        self._thread = threading.Thread(target=self._go_on, args=(project, self.scales), name="adding", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until all is done; for whoever works without the page.

        Raises:
            DataError: something went wrong, or no µm/px is known of a slide.
        """
        if self._thread and self.embedder:
            self._thread.join()
            self.embedder.wait()
        if self.problem:
            raise DataError(self.problem)
        if waiting := self.waiting():
            raise DataError(f"{lacks_mpp(waiting[0].path)}; say it: SlideTask(path, mpp)")

    def stop(self) -> None:
        """End looking at tiles."""
        with self._lock:
            self._stopped = True
        if self.embedder:
            self.embedder.stop()

    def _looking(self, project: Project) -> Embedder:
        return Embedder(project, lambda: self.missing, lambda: self._adding)

    def _look_on(self, project: Project) -> None:
        """Look at the tiles that came since the former look ended."""
        with self._lock:
            if not self._stopped and not (self.embedder and self.embedder.working):
                self.embedder = self._looking(project)
                self.embedder.start()

    def _work(self, project: Project, scales: Scales) -> None:
        with self._telling():
            assert self.embedder
            self.missing = frozenset(missing_slides(project))
            self._note_late_tissues(project)
            self.embedder.start()  # of what is there already, while the rest is added
            said = {one.path: one.mpp for one in scales.all()}
            tasks = [replace(task, mpp=task.mpp or said.get(task.path.resolve())) for task in self.tasks]
            self._add(project, scales, name_slides(tasks))  # together: names are told apart
            self._note_missing(project)
            self._take_over(project, scales)
        self._go_on(project, scales)

    def _go_on(self, project: Project, scales: Scales) -> None:
        """Add the slides of which a person says the µm/px, as long as there are any."""
        tried: list[Waiting] = []
        while True:
            with self._lock:
                new = [one for one in scales.all() if one not in tried]
                said = [one for one in new if one.mpp is not None and one.path.exists()]
                if not said:
                    self.busy, self._adding = "", False
                    break
            tried += said
            with self._telling():
                self._add(project, scales, {one.name: one.task for one in said})
                self._take_over(project, scales)
                failed = [one for one in scales.all() if one in said]
                scales.keep([replace(one, mpp=None) for one in failed])  # why was told; it is asked for again
        if tried and self.embedder:
            self.embedder.wait()  # it may have been about to end when the last tiles came
            self._look_on(project)

    def _add(self, project: Project, scales: Scales, tasks: Mapping[str, SlideTask]) -> None:
        add_slides(project, tasks, self._tell, self._note, self._fail, lambda one: self._let_wait(scales, one))
        there = {slide.path for slide in project.store.slides()}
        for one in scales.all():
            if one.path in there:
                scales.drop(one.name)

    def _let_wait(self, scales: Scales, slide: Waiting) -> None:
        scales.keep([slide])
        self._told(f"{lacks_mpp(slide.path, slide.hint)}; the page asks for it, or --mpp says it")

    def _take_over(self, project: Project, scales: Scales) -> None:
        from histoproto.studio.taking_over import take_over  # shapely and more: not for every start

        for source in self.labels:
            self._tell(f"taking over {source}")
            try:
                found = take_over(project, source)
            except HistoProtoError:
                if not scales.unsaid():
                    raise
                self._note(f"labels of {source} are taken over once the µm/px of its slides is known")
            else:
                for note in (f"{found.tiles} labels were taken over from {source}", *found.notes):
                    self._note(note)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell what goes wrong, whatever it is; the rest goes on."""
        try:
            yield
        except HistoProtoError as error:
            self._fail(sentence(error))
        except Exception as error:
            self._fail(f"{type(error).__name__}: {error}")

    def _note_late_tissues(self, project: Project) -> None:
        for name, older in project.store.know_tissues(project.tissues.names).items():
            if older:
                self._note(
                    f"{counted(older, 'label')} {'are' if older > 1 else 'is'} older than the tissue {name} and count "
                    "as without it; label those tiles again that have it"
                )

    def _note_missing(self, project: Project) -> None:
        self.missing = frozenset(lost := missing_slides(project))
        if lost:
            named = ", ".join(lost[:5]) + (" and others" if len(lost) > 5 else "")
            self._note(
                f"{len(lost)} of {len(project.store.slides())} slides are not where they were ({named}) and are left "
                f"out; put them back, or name their new place: histoproto studio SLIDES --project {project.folder}"
            )

    def _tell(self, what: str) -> None:
        self.busy = what

    def _note(self, note: str) -> None:
        self.notes.append(note)
        self._told(note)

    def _fail(self, problem: str) -> None:
        self._problems.append(problem)
        self._told(problem)
