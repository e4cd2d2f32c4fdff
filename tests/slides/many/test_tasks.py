"""Which slides, and under which names."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from histoproto.errors import DataError
from histoproto.slides.many.tasks import find_slides, name_slides
from histoproto.slides.task import SlideTask


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def paths(tasks: list[SlideTask]) -> list[str]:
    return [task.path.name for task in tasks]


def test_slides_from_files_folders_patterns_and_tables(tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    names = ("s10.svs", "s9.TIF", ".hidden.svs", "thumbnail.png", "notes.txt", "deep/s1.ndpi")
    touch(*(folder / name for name in names))
    assert paths(find_slides([folder])) == ["s9.TIF", "s10.svs"]
    assert paths(find_slides([folder / "s*.*"])) == ["s9.TIF", "s10.svs"]
    assert paths(find_slides([folder / "**" / "s*"])) == ["s9.TIF", "s10.svs", "s1.ndpi"]
    named = find_slides([folder / "thumbnail.png", folder / "s10.svs", folder])
    assert paths(named) == ["thumbnail.png", "s10.svs", "s9.TIF"]
    touch(tmp_path / "r.geojson")
    (tmp_path / "list.csv").write_text("slide,mpp,region\nslides/s10.svs,0.25,r.geojson\nslides/s9.TIF,,\n")
    tasks = find_slides([tmp_path / "list.csv"], mpp=0.5)
    assert tasks == [
        SlideTask(folder / "s10.svs", 0.25, tmp_path / "r.geojson"),
        SlideTask(folder / "s9.TIF", 0.5, None),
    ]
    touch(tmp_path / "[odd].svs")  # a name that looks like a pattern
    assert paths(find_slides([tmp_path / "[odd].svs"])) == ["[odd].svs"]


def test_the_files_of_a_dicom_series_are_one_slide(tmp_path: Path) -> None:
    for number, (series, rows) in enumerate([("1.2", 4), ("1.2", 9), ("1.2", 5), ("1.3", 3)]):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, "1.2.840.10008.5.1.4.1.1.77.1.6"
        meta.MediaStorageSOPInstanceUID = f"1.9.{number}"
        level = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
        level.SeriesInstanceUID, level.PixelData = series, bytes(2 * rows)
        level["PixelData"].VR = "OB"
        level.save_as(tmp_path / f"{number}.dcm")
    (tmp_path / "broken.dcm").write_bytes(b"?")
    assert paths(find_slides([tmp_path])) == ["1.dcm", "3.dcm", "broken.dcm"]
    assert paths(find_slides([tmp_path / "*.dcm"])) == ["1.dcm", "3.dcm", "broken.dcm"]
    assert paths(find_slides([tmp_path / "0.dcm"])) == ["0.dcm"]


def test_regions_go_by_the_name_of_their_slide(tmp_path: Path) -> None:
    touch(tmp_path / "a.svs", tmp_path / "b.ome.tif", tmp_path / "r" / "a.geojson", tmp_path / "r" / "b.geojson.gz")
    tasks = find_slides([tmp_path], regions=tmp_path / "r")
    assert [task.regions.name for task in tasks if task.regions] == ["a.geojson", "b.geojson.gz"]
    assert find_slides([tmp_path / "a.svs"], regions=tmp_path / "r" / "a.geojson")[0].regions
    with pytest.raises(DataError, match="one file for 2 slides; give a folder"):
        find_slides([tmp_path], regions=tmp_path / "r" / "a.geojson")
    touch(tmp_path / "r" / "b.geojson")
    with pytest.raises(DataError, match=r"b\.geojson and b\.geojson\.gz, and either could be meant"):
        find_slides([tmp_path], regions=tmp_path / "r")
    (tmp_path / "r" / "b.geojson").unlink()
    (tmp_path / "r" / "b.geojson.gz").unlink()
    with pytest.raises(DataError, match=r"has no file b\.geojson"):
        find_slides([tmp_path], regions=tmp_path / "r")


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("image,mpp\na.svs,1\n", "takes the columns slide, mpp, region and image; its columns are image, mpp"),
        ("slide,mpp\na.svs,much\n", "line 2: the µm/px is 'much'"),
        ("slide,mpp\na.svs,-1\n", "line 2: the µm/px is '-1', expected 0.001 to 1000"),
        ("slide,mpp\na.svs,nan\n", "line 2: the µm/px is 'nan'"),
        ("slide,mpp\n,1\n", "line 2: the slide is missing"),
        ("slide\nb.svs\n", r"there is no file .*b\.svs"),
        ("slide,region\na.svs,r.geojson\n", r"there is no file .*r\.geojson"),
    ],
)
def test_malformed_tables(tmp_path: Path, table: str, sentence: str) -> None:
    touch(tmp_path / "a.svs")
    (tmp_path / "list.csv").write_text(table)
    with pytest.raises(DataError, match=sentence):
        find_slides([tmp_path / "list.csv"])


def test_images_of_one_file_are_slides_with_regions_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path / "a.tif", tmp_path / "a.geojson", tmp_path / "b.geojson")
    table = tmp_path / "list.csv"
    table.write_text("slide,image,region\na.tif,1,a.geojson\na.tif,scan/2,b.geojson\n")
    named = name_slides(find_slides([table], image="9"))
    assert [(name, task.image, task.regions and task.regions.name) for name, task in named.items()] == [
        ("a-1", "1", "a.geojson"),
        ("a-scan_2", "scan/2", "b.geojson"),
    ]
    assert find_slides([tmp_path / "a.tif"], image="9")[0].image == "9"
    table.write_text("slide,image\na.tif,1\na.tif,2\n")
    with pytest.raises(DataError, match=r"a\.tif is several slides, one per image"):
        find_slides([table], regions=tmp_path)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*x\.svs"):
        find_slides([tmp_path / "x.svs"])
    for nothing in ([tmp_path], [tmp_path / "*.svs"], []):
        with pytest.raises(DataError, match="there are no slides in"):
            find_slides(nothing)


def test_names_differ_even_where_case_does_not_count() -> None:
    slides = [Path(path) for path in ("/a/S.svs", "/b/s.svs", "/b/t.svs", "/c/b/t.svs", "/c/Straße ü.tif")]
    names = list(name_slides([SlideTask(path) for path in slides]))
    assert names == ["a-S", "b-s", "root-b-t", "c-b-t", "Straße ü"]
