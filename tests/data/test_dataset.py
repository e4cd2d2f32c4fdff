"""The order of patches, shared by processes."""

from __future__ import annotations

from histoproto.data.dataset import StepSampler


def test_two_processes_share_each_batch() -> None:
    one = list(StepSampler(10, 4, epochs=2, seed=3))
    halves = [list(StepSampler(10, 4, epochs=2, seed=3, rank=rank, world=2)) for rank in (0, 1)]
    for step in range(4):
        both = {*halves[0][2 * step : 2 * step + 2], *halves[1][2 * step : 2 * step + 2]}
        assert both == set(one[4 * step : 4 * step + 4])
    late = StepSampler(10, 4, epochs=2, seed=3)
    late.start = 3
    assert list(late) == one[12:]
