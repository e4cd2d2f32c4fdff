"""Tissue on glass, and the threshold between them."""

from __future__ import annotations

import numpy as np

from histoproto.slides.labelling.tissue_finder import find_tissue, otsu


def test_tissue_is_found() -> None:
    glass = np.full((200, 300, 3), 240, np.uint8)
    glass += np.random.default_rng(0).integers(0, 6, glass.shape, dtype=np.uint8)
    assert not find_tissue(glass, 8.0).mask.any()
    assert not find_tissue(np.full((50, 60, 3), 255, np.uint8), 8.0).mask.any()
    tissue = np.full((200, 300, 3), (200, 130, 180), np.uint8)
    assert find_tissue(tissue, 8.0).mask.all()
    assert find_tissue(tissue[:1, :1], 8.0).mask.all()
    pale = np.full((200, 300, 3), (235, 205, 225), np.uint8)
    assert find_tissue(pale, 8.0).mask.all()
    slide = glass.copy()
    slide[40:120, 60:200] = (200, 130, 180)
    slide[60:64, 100:104] = 245  # a small hole
    slide[70:110, 110:160] = 245  # a large one
    slide[10:12, 10:12] = (200, 130, 180)  # a speck
    slide[150:160, :] = (30, 140, 90)  # green, blue and black ink
    slide[170:180, :] = (40, 60, 160)
    slide[185:195, :] = (20, 20, 25)
    found = find_tissue(slide, 8.0).mask
    assert found[42:118, 62:108].all()
    assert not found[75:105, 115:155].any()
    assert not found[:30].any()
    assert not found[130:].any()


def test_otsu_separates_two_groups() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(40, 8, 5000), rng.normal(160, 20, 800)]).clip(0, 255).astype(np.uint8)
    spread = [
        (values <= level).mean() * values[values <= level].var()
        + (values > level).mean() * values[values > level].var()
        for level in range(values.min(), values.max())
    ]
    assert otsu(values) == values.min() + int(np.argmin(spread))
    assert otsu(np.full(10, 7, np.uint8)) in range(256)
    assert otsu(np.empty(0, np.uint8)) == 0
