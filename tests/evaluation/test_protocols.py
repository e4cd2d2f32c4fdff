from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from fakes import TISSUES, ColourNetwork, colour_card
from histoproto.cli.evaluate import evaluate as command
from histoproto.config import InferenceSettings
from histoproto.data.images import read_image, write_image, write_mask
from histoproto.data.layouts import open_data
from histoproto.data.masks import read_mask
from histoproto.errors import DataError, DocumentError, SettingError, TissueError
from histoproto.evaluation.patches import evaluate_patches, translate_tissues
from histoproto.evaluation.protocols import PROTOCOLS, PURPOSES, Protocol, evaluate, load_metrics
from histoproto.inference import segmenter as module
from histoproto.inference.segmenter import Segmenter
from histoproto.tissue import TissueSet

GREY = (90, 90, 90)
COLOURS = np.array([(200, 20, 20), (20, 200, 20), (20, 20, 200), GREY], np.uint8)


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    inference = InferenceSettings(background="glass")
    monkeypatch.setattr(module, "load_model", lambda run: (ColourNetwork(), colour_card(inference=inference)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six test patches from two regions whose truth is a coarse random pattern; two are drawn in a wrong colour."""
    rng = np.random.default_rng(0)
    root = tmp_path / "data"
    for index in range(6):
        truth = np.kron(rng.integers(0, 4, (2, 2)), np.ones((32, 32), int)).astype(np.uint8)
        shown = np.where(truth == 0, index % 3, truth)
        write_image(root / "test" / "img" / f"r{index // 3}+{index}.png", COLOURS[shown])
        write_mask(root / "test" / "mask" / f"r{index // 3}+{index}.png", truth, TISSUES)
    TISSUES.write(root / "classes.yaml")
    return root


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def by_hand(data: Path, oracle: bool, counted: bool, settings: InferenceSettings) -> dict[str, Any]:
    """IoU per tissue over the data set, and mislabelled pixels, from sets of pixels."""
    segmenter = Segmenter.load("RUN", "cpu")
    ours: list[set[tuple[int, int]]] = [set() for _ in range(3)]
    theirs: list[set[tuple[int, int]]] = [set() for _ in range(3)]
    mislabelled = scored = 0
    for index, path in enumerate(sorted((data / "test" / "img").iterdir())):
        truth = read_mask(data / "test" / "mask" / path.name, TISSUES)
        labels = [int((truth == tissue).any()) for tissue in range(3)] if oracle else None
        predicted: Any = segmenter.segment(read_image(path), labels, settings)
        for place, (p, t) in enumerate(zip(predicted.labels.flat, truth.flat, strict=True)):
            if t == 3 and not counted:
                continue
            scored += 1
            mislabelled += int(p < 3 and not (truth == p).any())
            if p < 3:
                ours[p].add((index, place))
            if t < 3:
                theirs[t].add((index, place))
    return {
        "iou": [len(a & b) / len(a | b) for a, b in zip(ours, theirs, strict=True)],
        "mislabelled": mislabelled / scored,
    }


@pytest.mark.parametrize(
    "protocol",
    [
        Protocol(),
        Protocol(labels="oracle", views=6),
        Protocol(background="counted", fusion="minmax", find_background="activation"),
    ],
)
def test_against_sets_of_pixels(data: Path, run: Path, protocol: Protocol) -> None:
    (result,) = evaluate(run, data, [protocol], device="cpu").values()
    settings = protocol.settings(InferenceSettings())
    expected = by_hand(data, protocol.labels == "oracle", protocol.background == "counted", settings)
    found = [result["tissues"][name]["iou"] for name in TISSUES.names]
    np.testing.assert_allclose(found, expected["iou"])
    assert result["scores"]["miou"] == pytest.approx(np.mean(expected["iou"]))
    assert result["scores"]["mislabelled"] == pytest.approx(expected["mislabelled"])
    assert 0.2 < result["scores"]["miou"] < 1


def test_every_number_carries_its_protocol(data: Path, run: Path) -> None:
    results = evaluate(run, data, ["honest", "paper"], device="cpu", groups=True)
    assert json.loads((run / "metrics.json").read_text()) == {name: {"test": results[name]} for name in results}
    assert results["paper"]["protocol"] == {
        "labels": "oracle",
        "background": "counted",
        "views": 6,
        "crf": True,
        "fusion": "minmax",
        "fusion_weights": [0.3, 0.3, 0.4],
        "find_background": "activation",
    }
    honest = results["honest"]
    assert honest["protocol"]["fusion"] == "raw"  # the model's
    assert honest["protocol"]["find_background"] == "none"  # not the model's: it could only cost
    assert honest["data"]["patches"] == 6
    assert len(honest["data"]["fingerprint"]) == 16
    matrix = np.array(honest["confusion"])
    assert matrix.sum() == 6 * 64 * 64
    assert honest["pixels"] == matrix[:3].sum()
    assert np.array_equal(sum(np.array(m) for m in honest["groups"].values()), matrix)
    assert set(honest["groups"]) == {"r0", "r1"}
    assert [honest["tissues"][name]["pixels"] for name in TISSUES.names] == matrix[:3].sum(axis=1).tolist()
    assert 0 < honest["classifier"]["mean_average_precision"] <= 1


def test_results_are_merged(data: Path, run: Path) -> None:
    evaluate(run, data, ["honest"], device="cpu")
    (data / "test").rename(data / "val")
    evaluate(run, data, [Protocol(views=6)], split="val", device="cpu")
    evaluate(run, data, ["honest"], split="val", device="cpu")
    metrics = json.loads((run / "metrics.json").read_text())
    assert {name: set(splits) for name, splits in metrics.items()} == {"honest": {"test", "val"}, "views=6": {"val"}}
    assert metrics["honest"]["test"]["scores"] == metrics["honest"]["val"]["scores"]


def test_names_of_protocols() -> None:
    assert Protocol().name == "honest"
    assert PROTOCOLS["paper"].name == "paper"
    assert Protocol(labels="oracle").name == "told"
    assert Protocol(labels="oracle", crf=True).name == "labels=oracle,crf=True"
    with pytest.raises(SettingError, match="labels must be one of predicted, oracle, found 'oracles'"):
        Protocol(labels="oracles")  # type: ignore[arg-type]


def test_single_patches(data: Path) -> None:
    folder = open_data(data)
    results = list(evaluate_patches(Segmenter.load("RUN", "cpu"), folder.test, folder.tissues))
    assert [result.patch for result in results] == list(folder.test)
    for result in results:
        assert result.matrix.sum() == 64 * 64
        assert np.array_equal(result.present, [(result.truth == tissue).any() for tissue in range(3)])
    scores = [result.scores().miou for result in results]
    assert max(scores) > min(scores)


def test_tissues_may_come_in_another_order(data: Path, run: Path) -> None:
    before = evaluate(run, data, device="cpu")["honest"]["tissues"]
    other = TissueSet((TISSUES.tissues[2], TISSUES.tissues[0], TISSUES.tissues[1]), TISSUES.background)
    assert translate_tissues(other, TISSUES).tolist() == [2, 0, 1, 3]
    other.write(data / "classes.yaml")  # the values in the masks stay with the names
    assert evaluate(run, data, device="cpu")["honest"]["tissues"] == before
    with pytest.raises(TissueError, match="'fat' cannot be scored"):
        translate_tissues(TissueSet.of("red", "fat"), TISSUES)


def test_a_tissue_that_is_nowhere_is_null(data: Path, run: Path) -> None:
    for path in (data / "test" / "mask").iterdir():
        truth = read_mask(path, TISSUES)
        write_mask(path, np.where(truth == 2, 3, truth).astype(np.uint8), TISSUES)
    protocol = Protocol(labels="oracle")
    result = evaluate(run, data, [protocol], device="cpu")[protocol.name]
    assert result["tissues"]["blue"]["iou"] is None
    assert result["tissues"]["blue"]["average_precision"] is None
    assert not math.isnan(result["scores"]["miou"])


def test_mistakes_are_sentences(data: Path, run: Path) -> None:
    with pytest.raises(SettingError, match="no protocol 'fair'; there are honest, told, paper"):
        evaluate(run, data, ["fair"], device="cpu")
    with pytest.raises(DataError, match="no val patches"):
        evaluate(run, data, split="val", device="cpu")
    (run / "metrics.json").write_text("{")
    with pytest.raises(DocumentError, match=r"metrics\.json, line 1"):
        evaluate(run, data, device="cpu")
    (run / "metrics.json").unlink()
    mask = data / "test" / "mask" / "r0+1.png"
    write_mask(mask, np.zeros((8, 8), np.uint8), TISSUES)
    with pytest.raises(DataError, match=r"r0\+1\.png has 64 × 64 px, its mask 8 × 8"):
        evaluate(run, data, device="cpu")
    folder = open_data(data)
    bare = [patch.__class__(patch.image, patch.labels, None, patch.group) for patch in folder.test]
    with pytest.raises(DataError, match="6 of 6 patches have no mask"):
        next(evaluate_patches(Segmenter.load("RUN", "cpu"), bare, folder.tissues))


def test_a_protocol_that_had_no_name_is_read_under_its_own(run: Path) -> None:
    (run / "metrics.json").write_text('{"labels=oracle": {"test": {}}, "told": {"val": {}}, "views=6": {"test": {}}}')
    assert load_metrics(run) == {"told": {"test": {}, "val": {}}, "views=6": {"test": {}}}


def test_every_protocol_says_what_it_is_for() -> None:
    assert list(PURPOSES) == list(PROTOCOLS)


def test_the_command(data: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(run), str(data), "--protocol", "all"])
    assert result.exit_code == 0, result.output
    for text in (
        "honest: predicted labels",
        "told: oracle labels",
        "paper: oracle labels",
        "green",
        "FwIoU",
        "metrics.json",
    ):
        assert text in result.output
    options = ["--labels", "oracle", "--score-background", "counted", "--crf", "--views", "6", "--fusion", "minmax"]
    result = CliRunner().invoke(app, [str(run), str(data), *options, "--background", "activation"])
    assert result.exit_code == 0, result.output
    names = list(json.loads((run / "metrics.json").read_text()))
    assert names[:3] == ["honest", "told", "paper"]
    assert names[3].startswith("labels=oracle,background=counted,views=6,crf=True,fusion=minmax")


def test_leaks_are_refused_unless_they_are_allowed_and_recorded(run: Path, data: Path) -> None:
    for path in sorted((data / "test" / "img").glob("r0*.png")):
        write_image(data / "train" / f"{path.stem}x[100].png", read_image(path))
    application = typer.Typer()
    application.command()(command)
    options = [str(run), str(data), "--device", "cpu"]
    with pytest.raises(DataError, match=r"in train and in test.*--allow-leak"):
        CliRunner().invoke(application, options, catch_exceptions=False)
    assert not (run / "metrics.json").exists()
    CliRunner().invoke(application, [*options, "--allow-leak"], catch_exceptions=False)
    (entry,) = load_metrics(run).values()
    assert "in train and in test" in json.dumps(entry)
