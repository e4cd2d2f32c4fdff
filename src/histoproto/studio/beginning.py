"""The work that begins when a project is opened: slides are added, labels taken over, tiles looked at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from histoproto.errors import HistoProtoError, sentence
from histoproto.slides.task import SlideTask
from histoproto.studio.adding import add_slides, missing_slides
from histoproto.studio.project import Project
from histoproto.studio.workers import Embedder
from histoproto.words import counted

MANY_PROBLEMS = 3
"""That are told in full."""


class Beginning:
    """Two threads, one that adds slides and labels, and one that looks at tiles as soon as there are any.

    Args:
        tasks: slides to add.
        labels: where labels are that are to be taken over (see `take_over`), once the slides are there.
        told: is given each note as it comes, and what went wrong.

    Attributes:
        busy: what is done now, in words.
        notes: what was assumed of slides, what came of labels, and what else there is to know, in words.
        missing: slides whose files are not where they were.
        embedder: who looks at tiles; None before the start.
    """

    def __init__(self, tasks: Sequence[SlideTask], labels: Sequence[Path], told: Callable[[str], None]):
        self.tasks, self.labels, self._told = tasks, list(labels), told
        self.busy = ""
        self.notes: list[str] = []
        self.missing: frozenset[str] = frozenset()
        self.embedder: Embedder | None = None
        self._problems: list[str] = []
        self._adding = True
        self._thread: threading.Thread | None = None

    @property
    def problem(self) -> str:
        """What went wrong; the first of many things."""
        own = [*self._problems, *([self.embedder.problem] if self.embedder and self.embedder.problem else [])]
        more = len(own) - MANY_PROBLEMS
        return " · ".join(own[:MANY_PROBLEMS]) + (f" · and {more} more" if more > 0 else "")

    def start(self, project: Project) -> None:
        """Begin."""
        self.busy = "opening the slides"
        self.embedder = Embedder(project, lambda: self.missing, lambda: self._adding)
        self._thread = threading.Thread(target=self._work, args=(project, self.embedder), name="beginning", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until all is done."""
        if self._thread and self.embedder:
            self._thread.join()
            self.embedder.wait()

    def stop(self) -> None:
        """End looking at tiles."""
        if self.embedder:
            self.embedder.stop()

    def _work(self, project: Project, embedder: Embedder) -> None:
        try:
            self.missing = frozenset(missing_slides(project))
            self._note_late_tissues(project)
            embedder.start()  # of what is there already, while the rest is added
            add_slides(project, self.tasks, self._tell, self._note, self._fail)  # together: names are told apart
            self._note_missing(project)
            from histoproto.studio.taking_over import take_over  # shapely and more: not for every start

            for source in self.labels:
                self._tell(f"taking over {source}")
                found = take_over(project, source)
                for note in (f"{found.tiles} labels were taken over from {source}", *found.notes):
                    self._note(note)
        except HistoProtoError as error:
            self._fail(sentence(error))
        except Exception as error:  # told on the page, whatever it is; the rest goes on
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            self.busy, self._adding = "", False

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
