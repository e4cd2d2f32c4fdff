"""Lines of a log say how far slides are, seldom, and can be read back."""

from __future__ import annotations

import pytest

from histoproto.slides.many.progress import ProgressLines, SlideProgress


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize("name", ["a", "a, 50 %: b", "progress: slide 1 of 2, 3 %: c", "[red]x", ""])
@pytest.mark.parametrize("left", [None, 0, 130])
def test_a_line_is_read_back(name: str, left: int | None) -> None:
    said = SlideProgress(2, 3, 42, left, name)
    assert SlideProgress.of_line(str(said)) == said


@pytest.mark.parametrize("line", ["", "a note", "progress: slide", " progress: slide 1 of 2, 3 %: a", "slide 1 of 2"])
def test_other_lines_are_none(line: str) -> None:
    assert SlideProgress.of_line(line) is None


def test_lines_are_seldom_and_tell_the_time_left(clock: Clock) -> None:
    lines: list[str] = []
    said = ProgressLines(lines.append, 3, clock)
    for second in range(11):
        clock.now = float(second)
        said.tiles("a", 10 * second, 100)
    assert len(lines) == 5  # every other second
    assert lines[0] == "progress: slide 1 of 3, 20 %, about 8 s: a"
    assert lines[-1] == "progress: slide 1 of 3, 100 %, about 0 s: a"


def test_slides_are_counted_while_the_files_of_one_are_written(clock: Clock) -> None:
    lines: list[SlideProgress | None] = []
    said = ProgressLines(lambda line: lines.append(SlideProgress.of_line(line)), 5, clock)
    for name in ("done before", "failed"):
        said.slide(name, 1 + ["done before", "failed"].index(name))
    said.tiles("a", 100, 100)
    clock.now = 5
    said.tiles("b", 1, 4)
    clock.now = 10
    said.tiles("b", 2, 4)
    said.slide("a", 3)
    clock.now = 15
    said.tiles("b", 3, 4)
    assert lines == [
        SlideProgress(4, 5, 25, None, "b"),
        SlideProgress(4, 5, 50, 10, "b"),
        SlideProgress(4, 5, 75, 5, "b"),
    ]
