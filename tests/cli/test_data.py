import numpy as np
import pytest
from typer.testing import CliRunner

from histoproto.cli.data import app
from histoproto.data.images import list_images, write_image, write_mask
from histoproto.data.layouts import open_data
from histoproto.errors import DataError, HistoProtoError, SettingError
from histoproto.tissue import TissueSet


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True)
    if isinstance(result.exception, HistoProtoError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def regions(tmp_path):
    tissues = TissueSet.of("tumour", "stroma")
    (tmp_path / "regions").mkdir()
    tissues.write(tmp_path / "regions" / "classes.yaml")
    labels = np.repeat(np.array([[0, 1]], dtype=np.uint8), 40, axis=0).repeat(30, axis=1)
    for name in ("p1_a", "p2_a", "p3_a"):
        image = np.random.default_rng(len(name)).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        write_image(tmp_path / "regions" / "img" / f"{name}.png", image)
        write_mask(tmp_path / "regions" / "mask" / f"{name}.png", labels, tissues)
    return tmp_path / "regions"


def test_cut_and_check(regions, tmp_path):
    output = run("cut", regions, tmp_path / "out", "--size", 20, "--stride", 10, "--minimum", 0.2)
    assert "train: 45 patches (18 tumour, 18 stroma, 9 tumour+stroma)" in output
    assert "3 regions, 0 of them smaller than 20 px" in output
    assert "test: 18 patches" in run("cut", regions, tmp_path / "out", "--size", 20, "--split", "test")
    with pytest.raises(DataError, match="19 problems, listed above"):  # test patches are training patches
        run("check", tmp_path / "out")


def test_cut_by_group(regions, tmp_path):
    pattern = ("--group-regex", "^p[0-9]")
    said = run("cut", regions, tmp_path / "a", "--size", 20, *pattern, "--test-groups", "p2", "--val-groups", "p3")
    assert "groups in test: p2\nproved from the files written: no group is on two sides\n" in said
    assert {path.name[:2] for path in list_images(tmp_path / "a" / "test" / "img")} == {"p2"}
    table = tmp_path / "patients.csv"
    table.write_text("image,patient,case\np1_a,x,1\np2_a,x,2\np3_a,y,3\n")
    run("cut", regions, tmp_path / "b", "--size", 20, "--groups", table, "--test-fraction", 0.4)
    data = open_data(tmp_path / "b")
    assert sorted({patch.group for patch in data.train} | {patch.group for patch in data.test}) == ["x", "y"]
    run(
        "cut",
        regions,
        tmp_path / "c",
        "--size",
        20,
        "--groups",
        table,
        "--group-column",
        "case",
        "--val-groups",
        "1, 2",
    )
    assert len(open_data(tmp_path / "c").val) == 12


def test_cut_at_a_physical_scale(regions, tmp_path):
    run("cut", regions, tmp_path / "out", "--size-um", 10, "--region-mpp", 0.5, "--mpp", 1.0)
    assert open_data(tmp_path / "out").train[0].labels == (1, 0)
    assert len(open_data(tmp_path / "out").train) == 18  # 20 × 30 px in patches of 10 px


@pytest.mark.parametrize(
    "options",
    [
        ["--split", "holdout"],
        ["--split", "train", "--group-regex", "p", "--test-fraction", "0.5"],
        ["--test-fraction", "0.5"],
        ["--size-um", "10"],
        ["--mpp", "1"],
        ["--minimum", "5"],
    ],
)
def test_contradictory_options(regions, tmp_path, options):
    with pytest.raises(SettingError):
        run("cut", regions, tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_phantom_and_check(tmp_path):
    output = run("phantom", tmp_path / "p", "--train", 12, "--val", 0, "--test", 2, "--size", 48)
    assert "12 training, 0 val and 2 test patches" in output
    output = run("check", tmp_path / "p")
    assert "layout: bcss-wsss" in output
    assert "48 × 48" in output
    assert "test masks: tumour" in output
    assert "no problems found" in output
