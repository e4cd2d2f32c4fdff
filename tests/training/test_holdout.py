"""Which patches are held out."""

from __future__ import annotations

from pathlib import Path

from histoproto.data.layouts import Patch
from histoproto.training.holdout import hold_out


def test_held_out_groups_are_whole_and_rare_tissue_stays() -> None:
    def patch(group: str, *labels: int) -> Patch:
        return Patch(Path(f"{group}.png"), labels, None, group)

    common = [patch(f"c{index // 5}", 1, 0) for index in range(100)]
    rare = [patch("r0", 0, 1) for _ in range(18)] + [patch("r1", 0, 1) for _ in range(2)]
    for seed in range(10):
        training, held = hold_out([*common, *rare], 0.1, seed)
        assert len(training) + len(held) == 120
        assert not {p.group for p in training} & {p.group for p in held}
        assert "r0" not in {p.group for p in held}
        assert {p.group for p in held} > {"r1"}
