"""Windows gathered for the network."""

from __future__ import annotations

import numpy as np

from histoproto.slides.labelling.batches import Batch, in_batches


def test_batches_do_not_cross_the_end_of_a_row() -> None:
    def batch(count: int, first: int) -> Batch:
        numbers = np.arange(first, first + count)
        return Batch(numbers.astype(np.uint8)[:, None, None, None], numbers, numbers, np.ones(count, np.float32))

    found = list(in_batches([batch(3, 0), batch(3, 3), batch(1, 6), 10, 20, batch(2, 7), 30], 4))
    sizes = [item if isinstance(item, int) else item.tops.tolist() for item in found]
    assert sizes == [[0, 1, 2, 3], [4, 5, 6], 10, 20, [7, 8], 30]
