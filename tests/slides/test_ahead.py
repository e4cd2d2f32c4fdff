"""Threads that read ahead."""

from __future__ import annotations

import pytest

from histoproto.errors import ImageError
from histoproto.slides.ahead import read_ahead


def test_reading_ahead_is_bounded_and_stops_at_the_first_error() -> None:
    started: list[int] = []

    def work(step: int) -> int:
        started.append(step)
        if step == 20:
            raise ImageError("broken")
        return step

    results = read_ahead(work, range(1000), threads=2)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert max(started) <= 5 + 4
    with pytest.raises(ImageError, match="broken"):
        list(results)
    assert max(started) < 30
