"""What the page asks of a project, as plain calls: the next tile and why, what was said, rounds, pieces of slides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from histoproto.errors import DataError, SettingError
from histoproto.slides.task import SlideTask
from histoproto.studio.advice import seek
from histoproto.studio.agreement import agreement
from histoproto.studio.beginning import Beginning
from histoproto.studio.claims import Claims
from histoproto.studio.described import described, named
from histoproto.studio.jobs import Jobs
from histoproto.studio.plateau import Plateau, plateau
from histoproto.studio.pool import Pool
from histoproto.studio.project import Project, ProjectSettings
from histoproto.studio.queue import FIRST, SECOND, Known, Suggestion, disagreements, like, second_readings, suggest
from histoproto.studio.records import VERDICTS, Tile
from histoproto.studio.rounds import finished_rounds, read_guesses
from histoproto.studio.scales import answered
from histoproto.studio.viewer import Viewer
from histoproto.studio.workers import Learner, pool_order

LEARN_EVERY = 10  # labels after which a round begins by itself
WARM_AFTER = 3.0  # seconds after which a model is loaded for its map, so that it does not delay the first tile


class Session:
    """A project that people work on. Threads may share it.

    Args:
        folder: of the project, there or to be made.
        tasks: slides to add.
        labels: where labels are that are to be taken over (see `take_over`), once the slides are there.
        automatic: begin a round after every few labels.
        told: is given each note as it comes, and what went wrong.

    Attributes:
        beginning: the work that begins when the project is opened.
    """

    def __init__(
        self,
        folder: Path,
        tasks: Sequence[SlideTask] = (),
        labels: Sequence[Path] = (),
        automatic: bool = True,
        told: Callable[[str], None] = lambda _: None,
    ):
        self.folder, self.tasks, self.automatic = folder, list(tasks), automatic
        self.beginning = Beginning(self.tasks, labels, told)
        self.project: Project | None = None
        self.viewer: Viewer | None = None
        self.jobs: Jobs | None = None
        self.learner: Learner | None = None
        self._claims = Claims()
        self._guesses: tuple[int, dict[int, NDArray[np.float32]]] = (0, {})
        self.plateau: Plateau | None = None
        self._pool: Pool | None = None
        self._lock = threading.RLock()
        self._since_round = 0

    def begin(self, settings: ProjectSettings | None = None, scales: Mapping[str, Any] | None = None) -> None:
        """Open the project, or make it with these settings, and plan the tiles of its slides beside.

        `scales` is µm/px of slides that do not say it, by name; raises as `Beginning.use` does.
        """
        if self.project is None:
            said = answered(self.beginning.waiting(), scales) if scales else []
            self.project = Project.create(self.folder, settings) if settings else Project.open(self.folder)
            self.jobs, self._pool = Jobs(self.project), Pool(self.project)
            self.viewer = Viewer(self.project, lambda: self.round, lambda: bool(self.learner and self.learner.working))
            if rounds := finished_rounds(self.project):
                self.use_round(rounds[-1])
            self.learner = Learner(self.project, self.use_round)
            self.beginning.start(self.project, said)

    def wait(self) -> None:
        """Until all slides are planned and their tiles looked at; raises as `Beginning.wait` does."""
        self.beginning.wait()

    def end(self) -> None:
        """Stop what goes on beside and close everything; labels are safe at any time."""
        if self.learner:
            self.learner.stop()
        self.beginning.stop()
        if self.viewer:
            self.viewer.close()
        if self.project:
            self.project.store.close()

    def opened(self) -> Project:
        """The project.

        Raises:
            SettingError: it has not been made yet.
        """
        if self.project is None:
            raise SettingError("there is no project yet; name its tissues first")
        return self.project

    def looked(self) -> Viewer:
        """Pictures of the project; raises as `opened` does."""
        self.opened()
        assert self.viewer is not None
        return self.viewer

    def worked(self) -> Jobs:
        """Commands beside; raises as `opened` does."""
        self.opened()
        assert self.jobs is not None
        return self.jobs

    def use_round(self, number: int) -> None:
        """Let the queue and the guesses be those of a finished round."""
        guesses = read_guesses(self.opened(), number)
        self.plateau = plateau(self.opened())
        with self._lock:
            self._guesses = number, guesses
            self._since_round = 0
        warming = threading.Timer(WARM_AFTER, self.looked().maps.warm, (number,))
        warming.daemon = True
        warming.start()

    @property
    def round(self) -> int:
        """The last finished round; 0 before there is one."""
        return self._guesses[0]

    def known(self, hand: str = "") -> tuple[list[Tile], Known]:
        """The tiles that have been looked at, and all that is known of them, for the queue."""
        project, pool = self.opened(), self._pool
        assert pool is not None
        with self._lock:
            known = pool.known(project.store.labels(), self._claims.of_others(hand), *self._guesses)
            return pool.tiles, known  # as they are since then

    def next(self, who: str, count: int = 1, without: Sequence[int] = (), hand: str = "") -> list[dict[str, Any]]:
        """The next tiles for somebody, each with the reason; nobody else is given them for a while.

        Args:
            who: initials.
            count: how many tiles.
            without: tiles that the person was given before.
            hand: in whose hands they are then, a page for instance; "": those of `who`.
        """
        hand = hand or who
        project, skip = self.opened(), {*without, *self._lost()}
        with self._lock:  # all of it, for two people may ask at once
            pool, known = self.known(hand)
            known.done[[index for index, tile in enumerate(pool) if tile.id in skip]] = True
            found = [(pool[one.tile], one) for one in suggest(known, count, project.settings.seed)]
            held = self._claims.of_others(hand) | skip
            if not pool:  # nobody waits for the first to be looked at
                order = pool_order(list(project.store.tiles().values()), project.settings.seed)
                free = (tile for tile in order if tile.id not in held and tile.id not in project.store.labels())
                found = [(tile, FIRST) for tile in islice(free, count)]
            if share := project.settings.doubles:
                seconds = second_readings(project.store.by_person(), who, share, held, without, count)
                found = [*((project.store.tile(tile), SECOND) for tile in seconds), *found][:count]
            self._claims.give(hand, (tile.id for tile, _ in found))
        return [self.describe(tile, why) for tile, why in found]

    def _lost(self) -> set[int]:
        """Tiles of slides that are not there."""
        missing = self.beginning.missing
        tiles = self.opened().store.tiles().values() if missing else ()
        return {tile.id for tile in tiles if tile.slide in missing}

    def describe(self, tile: Tile, why: Suggestion | None = None, reason: str = "") -> dict[str, Any]:
        """What the page is told of a tile: where it is, what stands, what the model guesses, why it is asked for."""
        label = None if why is SECOND else self.opened().store.labels().get(tile.id)
        number, guesses = self._guesses
        reason = why.reason if why else reason
        return described(tile, label, self._named(guesses.get(tile.id)), number, why.kind if why else "picked", reason)

    def _named(self, chances: NDArray[np.float32] | None) -> dict[str, float] | None:
        return None if chances is None else named(chances, self.opened().tissues.names)

    def say(
        self,
        who: str,
        tile: int,
        verdict: str,
        ticks: Sequence[str] = (),
        reason: str = "",
        seconds: float | None = None,
    ) -> dict[str, Any]:
        """Record what somebody says of a tile; when this returns it is on the disk.

        Raises:
            SettingError: no such tile, tissue or verdict.
        """
        project = self.opened()
        unknown = [tick for tick in ticks if tick not in project.tissues.names]
        if verdict not in VERDICTS or unknown or (ticks and verdict != "label"):
            raise SettingError(f"{verdict!r} with {unknown or list(ticks)} cannot be said of a tile of this project")
        number, guesses = self._guesses
        event = project.store.say(
            who,
            tile,
            cast(Any, verdict),
            ticks,
            guess=self._named(guesses.get(tile)),
            round=number or None,
            reason=reason,
            seconds=seconds,
        )
        self._since_round += 1
        if self.automatic and self.learner and self._since_round == LEARN_EVERY // 2:
            self.learner.warm()
        if self.automatic and self._since_round >= LEARN_EVERY and self.learner and not self.learner.working:
            self._since_round = 0
            self.learner.start()
        return {"event": event}

    def undo(self, who: str) -> dict[str, Any] | None:
        """Take back what this person said last; its tile."""
        tile = self.opened().store.undo(who)
        return None if tile is None else self.describe(self.opened().store.tile(tile), reason="taken back")

    def redo(self, who: str) -> dict[str, Any] | None:
        """Say again what this person took back last; its tile."""
        tile = self.opened().store.redo(who)
        return None if tile is None else self.describe(self.opened().store.tile(tile), reason="said again")

    def learn(self) -> bool:
        """Begin a round; whether none was under way."""
        self.opened()
        return bool(self.learner and self.learner.start())

    def switch_prototype(self, round: int, tissue: int, prototype: int, off: bool) -> None:
        """Begin a round that is the last one without a prototype, or with it again.

        Raises:
            SettingError: another round is the last one, or one is under way.
        """
        if round != self.round:
            raise SettingError(f"round {self.round} is the last one; look at its prototypes")
        if not (self.learner and self.learner.start((tissue, prototype, off))):
            raise SettingError("a round is being learnt; switch the prototype when it is there")

    def stop_learning(self) -> None:
        """End the round under way."""
        if self.learner:
            self.learner.stop()

    def at(self, slide: str, x: float, y: float) -> dict[str, Any]:
        """The tile at a place of a slide, in pixels of level 0.

        Raises:
            DataError: there is none; the place is glass, or no slide.
        """
        if tile := self.opened().store.tile_at(slide, x, y):
            return self.describe(tile, reason="picked on the slide")
        raise DataError(f"there is no tile at {x:.0f}, {y:.0f} of {slide}; it is glass")

    def like(self, tile: int, count: int = 24) -> list[dict[str, Any]]:
        """The tiles most like one, itself first."""
        pool, known = self.known()
        assert self._pool is not None
        place = self._pool.place.get(tile)
        if place is None:
            raise DataError(f"tile {tile} has not been looked at yet")
        return [self.describe(pool[index], reason="like the one picked") for index in like(known, place, count)]

    def seek(self, wanted: Sequence[str], unwanted: Sequence[str]) -> list[dict[str, Any]]:
        """Tiles that have some tissues and lack others, as the model sees it, the likeliest first."""
        pool, known = self.known()
        words = " and ".join([*wanted, *(f"no {name}" for name in unwanted)])
        return [self.describe(pool[index], reason=f"looked for: {words}") for index in seek(known, wanted, unwanted)]

    def disagreements(self) -> list[dict[str, Any]]:
        """Labelled tiles that the model contradicts, the most flagrant first; not those said in view of this model."""
        pool, known = self.known()
        labels = self.opened().store.labels()
        found = [(pool[index], why) for index, why in disagreements(known)]
        return [self.describe(tile, reason=why) for tile, why in found if labels[tile.id].round != self.round]

    def read_twice(self, share: float) -> None:
        """Set the part of what each person is given that another has labelled already.

        Raises:
            SettingError: it is not in [0, 0.5].
        """
        with self._lock:
            self.project = self.opened().with_doubles(share)

    def agreement(self) -> list[dict[str, Any]]:
        """How far people agree, each pair on each tissue; see `Agreement`."""
        return [vars(one) for one in agreement(self.opened().store.by_person(), self.opened().tissues.names)]
