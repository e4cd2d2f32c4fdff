"""The report: what it shows is what was measured, and it is one file that needs nothing else."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from fakes import TISSUES, ColourNetwork, colour_card
from histoproto.config import Settings
from histoproto.data.images import write_image, write_mask
from histoproto.data.layouts import open_data
from histoproto.errors import DocumentError, RunError, TissueError
from histoproto.evaluation.protocols import evaluate
from histoproto.inference.segmenter import Segmenter
from histoproto.report import prototype_page
from histoproto.report.charts import Curve, line_chart, read_history, smooth, thin, ticks
from histoproto.report.gallery import choose, make_gallery, spread
from histoproto.report.html import write_report
from histoproto.report.pictures import ERROR_COLOURS, data_uri, draw_outline, error_picture, heat, shrink, stretch
from histoproto.report.protocols import read_protocols
from histoproto.report.prototype_page import write_prototypes
from histoproto.report.prototypes import collect_maps, measure, places_of, views_of
from histoproto.tissue import TissueSet

SIZE = 64
PURE = np.array([[220, 30, 30], [30, 220, 30], [30, 30, 220]], dtype=np.uint8)


def paint(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return PURE[labels]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve test patches of two tissues each: the left part of one, the rest of another; one is mislabelled."""
    root = tmp_path / "data"
    TISSUES.write(root.mkdir() or root / "classes.yaml")
    for i in range(12):
        labels = np.full((SIZE, SIZE), i % 3, dtype=np.uint8)
        labels[:, 16 * (1 + i // 4) :] = (i + 1) % 3
        write_image(root / "test" / "img" / f"slide{i}+0.png", paint(labels))
        truth = np.full_like(labels, (i + 2) % 3) if i == 5 else labels
        write_mask(root / "test" / "mask" / f"slide{i}+0.png", truth, TISSUES)
    return root


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder whose model finds pure colours."""
    card, network = colour_card(SIZE), ColourNetwork()
    folder = tmp_path / "my <run>"
    folder.mkdir()
    (folder / "model.json").write_text(card.model_dump_json())
    monkeypatch.setattr(Segmenter, "load", classmethod(lambda cls, run, device="cpu": cls(network, card, device)))
    monkeypatch.setattr(prototype_page, "load_model", lambda run: (network, card))
    return folder


def decode(uri: str) -> NDArray[np.uint8]:
    return np.array(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


def test_history_takes_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text(
        "step,epoch,learning_rate,total,val_map,similarity,classification\n1,0,.1,2,,,1\n2,0,.1,nan,0.5,x,\n"
    )
    curves = {curve.name: curve.points for curve in read_history(path)}
    assert list(curves) == ["classification", "total", "val_map", "learning_rate"]
    assert curves["total"] == ((1.0, 2.0),)
    assert curves["val_map"] == ((2.0, 0.5),)
    path.write_text("total\n3\n4\n")
    assert read_history(path)[0].points == ((0.0, 3.0), (1.0, 4.0))
    path.write_text("")
    assert read_history(path) == []
    assert read_history(tmp_path / "none.csv") == []
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DocumentError, match="is a pipe or a device"):
        read_history(tmp_path / "pipe.csv")


@pytest.mark.parametrize("points", [[(5, 1.0)], [(0, 0.0), (10, 0.0)], [(i, float(np.sin(i))) for i in range(2000)]])
def test_a_chart_is_well_formed_and_stays_inside(points: list[tuple[float, float]]) -> None:
    svg = ElementTree.fromstring(line_chart(Curve('a<b&"c"', tuple(points))))
    assert svg.get("aria-label") == 'a<b&"c"'
    _, _, width, height = map(float, str(svg.get("viewBox")).split())
    lines = [line for line in svg if line.tag == "polyline"]
    assert lines
    for line in lines:
        places = np.array([pair.split(",") for pair in str(line.get("points")).split()], dtype=float)
        assert len(places) <= 300
        assert (places >= 0).all()
        assert (places <= [width, height]).all()


def test_smoothing_keeps_a_line_and_the_number_of_points() -> None:
    line = [(float(i), 3.0 * i) for i in range(50)]
    assert np.allclose(smooth(line), line)
    assert smooth([]) == []
    assert len(thin(line, 20)) <= 20


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 7), (1e-5, 9e-5), (4, 4), (0, 0), (0.981, 0.985)])
def test_ticks_span_the_values(low: float, high: float) -> None:
    found = ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert 3 <= len(found) <= 9
    assert np.allclose(np.diff(found), found[1] - found[0])


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


def test_pictures() -> None:
    maps = np.stack([np.array([[-4.0, 0.0], [2.0, 4.0]]), np.full((2, 2), -5.0)])
    stretched = stretch(maps, np.array([True, False]))
    assert np.allclose(stretched, [[[0, 0.5], [0.75, 1]], [[0, 0], [0, 0]]])
    image = np.full((32, 32, 3), 200, dtype=np.uint8)
    warm = heat(image, np.linspace(0, 1, 32 * 32).reshape(32, 32))
    assert warm.shape == image.shape
    assert (warm[0, 0] == warm[0, 0, 0]).all() or np.ptp(warm[0, 0].astype(int)) < 40
    assert np.ptp(warm[-1, -1].astype(int)) > 60
    mask = np.zeros((32, 32), dtype=bool)
    mask[8:20, 8:20] = True
    drawn = (draw_outline(image, mask, PURE[0]) == PURE[0]).all(axis=2)
    assert drawn[8, 8:20].all()
    assert not drawn[14, 14]
    assert not drawn[:6].any()
    faded = draw_outline(image, mask, PURE[0], fade=0.2)
    assert (faded[14, 14] == 200).all()
    assert (faded[:6] == 211).all()  # a fifth of the way to white
    labels = paint((np.arange(64 * 64) % 3).astype(np.uint8).reshape(64, 64))
    assert (decode(data_uri(labels, exact=True)) == labels).all()
    assert shrink(labels, 32, exact=True).shape == (32, 32, 3)
    assert set(map(tuple, shrink(labels, 32, exact=True).reshape(-1, 3))) <= set(map(tuple, PURE))


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


def test_prototypes_are_shown_where_they_fire(data: Path) -> None:
    folder, card = open_data(data), colour_card(SIZE)
    found = collect_maps(ColourNetwork(), card, folder.test, TISSUES, most=100)
    assert found.maps.shape == (12, 3, 2, 4, 4)
    assert found.truth is not None
    for tissue in range(3):
        places = places_of(found, card, tissue, 0, 4)
        assert len({place.patch for place in places}) == 4
        values = [place.activation for place in places]
        assert values == sorted(values, reverse=True)
        assert places[0].truth == TISSUES.tissues[tissue].colour
        assert decode(places[0].picture).shape == (144, 144, 3)
        middle = decode(places[0].picture).reshape(-1, 3).astype(int)
        assert (np.abs(middle - PURE[tissue]).sum(axis=1) < 60).mean() > 0.2
    scores = measure(found)
    assert scores.purity[:, 0].min() >= 0.5  # one patch in twelve is mislabelled
    assert scores.purity[:, 1].max() < 0.2


def test_prototypes_without_masks_use_the_labels(data: Path) -> None:
    for path in (data / "test" / "img").iterdir():
        write_image(data / "train" / f"{path.stem}[110].png", np.array(Image.open(path)))
    found = collect_maps(ColourNetwork(), colour_card(SIZE), open_data(data).train, TISSUES, most=100)
    assert found.truth is None
    assert found.named.tolist() == [[True, True, False]] * 12
    scores = measure(found)
    assert np.isnan(scores.purity).all()
    assert scores.patches[2] == 0


def test_tissues_of_another_order_are_translated(data: Path) -> None:
    card = colour_card(SIZE, tissues=TissueSet.of("blue", "red", "green"))
    found = collect_maps(ColourNetwork(), card, open_data(data).test[:1], TISSUES, most=10)
    assert found.truth is not None
    assert found.truth[0, 0, 0] == card.tissues.index("red")
    with pytest.raises(TissueError, match="'red'"):
        collect_maps(ColourNetwork(), colour_card(SIZE, tissues=TissueSet.of("x")), open_data(data).test, TISSUES, 10)


def test_large_images_are_seen_in_pieces(data: Path) -> None:
    write_image(data / "test" / "img" / "large.png", np.zeros((100, 200, 3), dtype=np.uint8))
    write_mask(data / "test" / "mask" / "large.png", np.zeros((100, 200), dtype=np.uint8), TISSUES)
    (patch,) = [patch for patch in open_data(data).test if patch.image.stem == "large"]
    views = views_of([patch], SIZE)
    assert len(views) == 2 * 4
    found = collect_maps(ColourNetwork(), colour_card(SIZE), [patch], TISSUES, most=5)
    assert found.maps.shape == (5, 3, 2, 4, 4)
    assert torch.isfinite(found.maps).all()


def test_protocols_are_what_was_measured(run: Path, data: Path) -> None:
    results = evaluate(run, data, ("paper", "honest"))
    honest, paper = read_protocols(run, TISSUES)
    assert (honest.name, paper.name) == ("honest", "paper")
    assert honest.meaning == "predicted labels, background ignored, one view, no CRF"
    assert paper.meaning == "oracle labels, background counted, 6 views, with CRF"
    assert honest.patches == "12 test patches"
    assert honest.miou == results["honest"]["scores"]["miou"]
    assert [row.iou for row in honest.rows] == [t["iou"] for t in results["honest"]["tissues"].values()]
    matrix = np.array(results["honest"]["confusion"])
    assert [row.name for row in honest.matrix] == ["red", "green", "blue"]
    for row, counts in zip(honest.matrix, matrix, strict=False):
        assert np.allclose(np.array(row.shares, dtype=float), counts / counts.sum())
    assert paper.matrix[-1].shares == (None,) * 4
    assert read_protocols(data, TISSUES) == []


def test_the_report_is_one_file_with_everything(run: Path, data: Path) -> None:
    evaluate(run, data, ("honest",))
    settings = Settings(seed=3)
    (run / "config.yaml").write_text(settings.to_yaml())
    (run / "history.csv").write_text("step,epoch,total\n1,0,2.0\n2,0,1.0\n")
    record: dict[str, Any] = {"finished": "2030-01-02T03:04:05+00:00", "seconds": 61.0, "versions": {"torch": "<9>"}}
    (run / "record.json").write_text(json.dumps(record))
    path = write_report(run, data)
    page = path.read_text(encoding="utf-8")
    assert path == run / "report.html"
    assert "my &lt;run&gt;" in page
    assert "<9>" not in page
    assert "seed 3 · trained 2030-01-02 · in 1 min" in page
    assert re.search(r'class="changed"><dt>seed</dt><dd>3<', page)
    assert not re.search(r'class="changed"><dt>training.epochs<', page)
    for heading in (
        "Scores per tissue",
        "What is taken for what",
        "Examples",
        "What the prototypes look for",
        "Training",
    ):
        assert f"<h2>{heading}</h2>" in page
    for rank in ("best", "median", "worst"):
        assert f"<b>{rank}</b>" in page
    assert page.count('<div class="prototype">') == 3 * 2
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(re.findall(r'id="([^"]*)"', page))
    assert not re.search(r"<script|@import|url\(|<link|https?://", page)
    assert page.count("<img") == len(re.findall(r'<img [^>]*alt="', page))
    assert [p.name for p in run.iterdir() if "partial" in p.name] == []


def test_a_report_of_a_bare_model(run: Path) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    assert "Not scored yet" in page
    assert "<h2>Model card</h2>" in page
    assert "<img" not in page


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no trained model"):
        write_report(tmp_path)


def test_prototypes_on_their_own(run: Path, data: Path, tmp_path: Path) -> None:
    page = write_prototypes(run, data, tmp_path / "out")
    assert page.read_text(encoding="utf-8").count('<div class="prototype">') == 6
    with (tmp_path / "out" / "prototypes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["tissue"], row["prototype"]) for row in rows[:3]] == [("red", "1"), ("red", "2"), ("green", "1")]
    scores = measure(collect_maps(ColourNetwork(), colour_card(SIZE), open_data(data).test, TISSUES, 400))
    assert [float(row["purity"]) for row in rows] == pytest.approx(scores.purity.ravel().tolist(), abs=1e-4)
    with (tmp_path / "out" / "tissues.csv").open(newline="") as file:
        tissues = list(csv.DictReader(file))
    assert [float(row["overlap"]) for row in tissues] == pytest.approx(scores.overlap.tolist(), abs=1e-4)
    assert [float(row["coverage"]) for row in tissues] == pytest.approx(scores.coverage.tolist(), abs=1e-4)
    assert list(tissues[0]) == ["tissue", "patches", "coverage", "overlap", "effective_prototypes"]


def test_errors_are_told_apart() -> None:
    truth = np.array([[0, 0, 1, 1], [0, 0, 1, 3], [0, 0, 1, 1]], dtype=np.uint8)  # tissue 2 is not there
    found = np.array([[0, 1, 1, 1], [2, 0, 0, 2], [0, 3, 1, 1]], dtype=np.uint8)
    right, other, absent, edge, unscored = ERROR_COLOURS.values()
    expected = [[right, edge, right, edge], [absent, edge, edge, unscored], [right, edge, right, right]]
    assert error_picture(found, truth, 3).tolist() == np.array(expected).tolist()
    assert error_picture(np.array([[1, 3]], dtype=np.uint8), np.array([[0, 0]], dtype=np.uint8), 3).tolist() == [
        [list(absent), list(absent)]
    ]
    swapped = np.array([[1, 0, 0, 1, 1]], dtype=np.uint8)
    plain = np.array([[0, 0, 0, 1, 1]], dtype=np.uint8)
    assert error_picture(swapped, plain, 2)[0, 0].tolist() == list(other)
