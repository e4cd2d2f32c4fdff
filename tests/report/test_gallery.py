"""Examples: the best, the median and the worst."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakes import TISSUES, ColourNetwork, colour_card
from histoproto.data.images import write_image
from histoproto.data.layouts import open_data
from histoproto.inference.segmenter import Segmenter
from histoproto.report.gallery import choose, make_gallery, spread
from report.coloured import SIZE, decode


@pytest.mark.parametrize("count", range(14))
def test_choice_is_best_median_worst_without_repeats(count: int) -> None:
    values = np.random.default_rng(count).permutation(count).astype(float).tolist()
    chosen = choose(values, 3)
    indices = [index for _, index in chosen]
    assert len(set(indices)) == len(indices) == min(count, 9 if count >= 9 else 3 * max(1, count // 3))
    if count >= 3:
        assert values[indices[0]] == count - 1
        assert values[indices[-1]] == 0
        medians = [values[index] for rank, index in chosen if rank == "median"]
        assert abs(np.mean(medians) - (count - 1) / 2) <= 1


def test_spread_keeps_the_ends() -> None:
    assert spread(range(100), 3) == [0, 50, 99]
    assert spread(range(2), 5) == [0, 1]


def test_gallery_ranks_by_what_is_right(data: Path) -> None:
    folder = open_data(data)
    examples = make_gallery(Segmenter(ColourNetwork(), colour_card(SIZE)), folder.test, TISSUES, each=2)
    assert [example.rank for example in examples] == ["best", "best", "median", "median", "worst", "worst"]
    scores = [example.score for example in examples]
    assert all(score is not None and score > 0.75 for score in scores)
    assert scores == sorted(scores, reverse=True)
    assert "slide5+0.png" not in [example.name for example in examples]  # its truth is one tissue
    first = examples[0]
    assert first.truth is not None
    assert (decode(first.truth)[0, 0] == TISSUES.rgb()[int(first.name[5]) % 3]).all()
    assert [sum(a.present for a in example.maps) for example in examples] == [2] * 6

    plain = make_gallery(Segmenter(ColourNetwork(), colour_card(SIZE)), folder.test[:6], TISSUES, each=9)
    assert [(e.rank, e.score) for e in plain if e.name == "slide5+0.png"] == [("worst", 0.0)]


def test_gallery_without_masks_has_no_ranks(data: Path) -> None:
    for path in (data / "test" / "img").iterdir():
        write_image(data / "train" / f"{path.stem}[110].png", np.array(Image.open(path)))
    patches = open_data(data).train
    examples = make_gallery(Segmenter(ColourNetwork(), colour_card(SIZE)), patches, TISSUES, each=1)
    assert [(e.rank, e.score, e.truth) for e in examples] == [("example", None, None)] * 3
