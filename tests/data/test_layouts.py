import numpy as np
import pytest

from histoproto.data.groups import split_named
from histoproto.data.images import write_image, write_mask
from histoproto.data.layouts import open_data
from histoproto.data.names import SPELLINGS, find_spelling, group_of, patch_name, read_label
from histoproto.errors import DataError, HistoProtoError
from histoproto.tissue import BCSS, LUAD_HISTOSEG, WSSS4LUAD, TissueSet

PIXELS = np.full((6, 8, 3), 200, dtype=np.uint8)
MASK = np.zeros((6, 8), dtype=np.uint8)

REAL_NAMES = {
    "bcss-wsss": ("TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500+0[1101]", (1, 1, 0, 1), BCSS),
    "luad-histoseg": ("1031280-2300-27920-[1 0 0 1]", (1, 0, 0, 1), LUAD_HISTOSEG),
    "wsss4luad": ("436219-7159-48057-[1, 0, 1]", (1, 0, 1), WSSS4LUAD),
}
FOLDERS = {
    "bcss-wsss": ("training", "val", "test"),
    "luad-histoseg": ("train", "val", "test"),
    "wsss4luad": ("1.training", "2.validation", "3.testing"),
}


def masked(folder, names, tissues=BCSS):
    for name in names:
        write_image(folder / "img" / f"{name}.png", PIXELS)
        write_mask(folder / "mask" / f"{name}.png", MASK, tissues)


@pytest.mark.parametrize("layout", REAL_NAMES)
@pytest.mark.parametrize("inner", ["", "img"])
def test_published_layouts_are_recognised(tmp_path, layout, inner):
    stem, labels, tissues = REAL_NAMES[layout]
    train, val, test = FOLDERS[layout]
    write_image(tmp_path / train / inner / f"{stem}.png", PIXELS)
    masked(tmp_path / val, ["v1", "v2", "v10"], tissues)
    masked(tmp_path / test, ["t"], tissues)
    data = open_data(tmp_path)
    assert (data.layout, data.tissues, data.problems) == (layout, tissues, ())
    assert [(patch.labels, patch.mask) for patch in data.split("train")] == [(labels, None)]
    assert [patch.image.stem for patch in data.val] == ["v1", "v2", "v10"]
    assert data.test[0].mask == tmp_path / test / "mask" / "t.png"
    assert data.test[0].labels is None


def test_groups_are_the_regions_patches_came_from():
    stems = [stem for stem, _, _ in REAL_NAMES.values()]
    assert [group_of(stem) for stem in stems] == [stems[0].split("+")[0], "1031280", "436219"]
    assert group_of("387709-10004-55944") == "387709"
    assert [group_of(name) for name in ("07", "slide_3", "a+b+4[01]", "+3")] == ["07", "slide_3", "a+b", "+3"]


def test_cut_names_are_read_back():
    name = patch_name("odd [1] name+x", 12, (0, 1, 1)).removesuffix(".png")
    spelling = find_spelling([name])
    assert spelling is SPELLINGS[0]
    assert read_label(name, spelling, 3) == (0, 1, 1)
    assert group_of(name) == "odd [1] name+x"


@pytest.mark.parametrize("name", ["train", "Training", "1.training", "01_train"])
def test_split_names(name):
    assert split_named(name) == "train"
    assert split_named(f"my{name}") is None


def test_wrong_labels_are_listed_by_name(tmp_path):
    for stem in ("a+0[1101]", "a+1[110]", "a+2", "a+3[1 1 0 1]", "a+4[1102]"):
        write_image(tmp_path / "train" / f"{stem}.png", PIXELS)
    data = open_data(tmp_path, strict=False)
    assert [patch.image.stem for patch in data.train] == ["a+0[1101]"]
    found = "\n".join(data.problems)
    for sentence in ("3 digits, expected 4", "'a+2' carries no label", "[1 1 0 1] is not spelt", "[1102] is not spelt"):
        assert sentence in found
    with pytest.raises(DataError, match=r"\(1 more\); `histoproto data check"):
        open_data(tmp_path)


def test_own_tissues_come_from_classes_yaml(tmp_path):
    write_image(tmp_path / "train" / "a+0[10].png", PIXELS)
    with pytest.raises(DataError, match=r"tumour, stroma, lymphocytes, necrosis.*name your own in classes.yaml"):
        open_data(tmp_path)
    TissueSet.of("gland", "muscle").write(tmp_path / "classes.yaml")
    assert open_data(tmp_path).tissues.names == ("gland", "muscle")


def test_missing_masks_and_images_are_problems(tmp_path):
    write_image(tmp_path / "train" / "a+0[1000].png", PIXELS)
    masked(tmp_path / "test", ["t1", "t2", "t3"])
    (tmp_path / "test" / "mask" / "t2.png").unlink()
    (tmp_path / "test" / "img" / "t3.png").unlink()
    assert open_data(tmp_path, strict=False).problems == (
        "test/img/t2.png: there is no mask of that name",
        "test/mask/t3.png: there is no image of that name",
    )


def test_two_files_of_one_patch_are_a_problem(tmp_path):
    for stem in ("a+0[1000]", "a+0[0100]", "a+1[1000]"):
        write_image(tmp_path / "train" / f"{stem}.png", PIXELS)
    problems = open_data(tmp_path, strict=False).problems
    assert len(problems) == 2
    assert all("a+0" in problem and "same name" in problem for problem in problems)


def test_a_masked_test_set_needs_no_training_part(tmp_path):
    masked(tmp_path / "test", ["t"])
    with pytest.raises(DataError, match=r"no classes.yaml names the tissues"):
        open_data(tmp_path)
    BCSS.write(tmp_path / "classes.yaml")
    assert len(open_data(tmp_path).split("test")) == 1
    with pytest.raises(DataError, match=r"has no train patches; it has 1 test"):
        open_data(tmp_path).split("train")


def test_annotated_regions_are_a_test_set(tmp_path):
    masked(tmp_path / "regions", ["r1", "r2"])
    BCSS.write(tmp_path / "classes.yaml")
    (tmp_path / "regions" / "groups.csv").write_text("image,patient\nr1,1\nr2,2\n")
    data = open_data(tmp_path / "regions")
    assert data.layout == "regions"
    assert [patch.group for patch in data.test] == ["r1", "r2"]


def table(root, text, images=("x/a.png", "b.png"), name="labels.csv"):
    for image in images:
        write_image(root / image, PIXELS)
    (root / name).write_text(text, encoding="utf-8-sig")
    return root


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("name", ["labels.csv", "own.csv"])
def test_the_general_layout_is_a_table(tmp_path, separator, name):
    text = "image,tumour,split,group,fat tissue\nx/a.png,1,train,p1,0\nb.png,0,Testing,,1\n"
    root = table(tmp_path, text.replace(",", separator), name=name)
    write_mask(root / "mask" / "b.png", MASK, TissueSet.of("tumour", "fat tissue"))
    data = open_data(root)
    assert (data.layout, data.tissues.names) == ("table", ("tumour", "fat tissue"))
    assert [(p.labels, p.mask, p.group) for p in data.train] == [((1, 0), None, "p1")]
    assert [(p.labels, p.mask, p.group) for p in data.test] == [((0, 1), root / "mask" / "b.png", "b")]


def test_classes_yaml_orders_the_columns_of_a_table(tmp_path):
    root = table(tmp_path, "image,a,b\nb.png,1,0\n")
    TissueSet.of("b", "a").write(root / "classes.yaml")
    assert open_data(root).train[0].labels == (0, 1)
    TissueSet.of("b", "c").write(root / "classes.yaml")
    with pytest.raises(DataError, match=r"tissue columns a, b, but classes.yaml names b, c"):
        open_data(root)


def test_every_bad_row_is_a_problem(tmp_path):
    text = "image,a,b,split\nx/a.png,1,2,train\nb.png,1,0,fold3\nc.png,1,1,val\nb.png,1,0,train\nb.png,0,0,train\n"
    problems = open_data(table(tmp_path, text), strict=False).problems
    assert [problem.split(": ", 1)[1] for problem in problems] == [
        "b is '2', expected 0 or 1",
        "the split is 'fold3', expected train, val or test",
        "this image is in line 3, too",
        "this image is in line 3, too",
        "there is no image c.png",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("file,a\nb.png,1\n", "needs the column 'image'"),
        ("image,split\nb.png,train\n", "and one per tissue"),
        ("image,a,a\nb.png,1,1\n", "a name of its own"),
        ("image,a\nb.png,1,1\n", "line 2: found 3 cells, expected 2"),
    ],
)
def test_malformed_tables(tmp_path, text, sentence):
    with pytest.raises(HistoProtoError, match=sentence):
        open_data(table(tmp_path, text))


def test_images_of_one_name_cannot_share_a_mask(tmp_path):
    root = table(tmp_path, "image,a\nx/a.png,1\na.png,1\n", ("x/a.png", "a.png"))
    write_mask(root / "mask" / "a.png", MASK, TissueSet.of("a"))
    assert len(open_data(root, strict=False).problems) == 2


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match="has no known layout: looked for"):
        open_data(tmp_path)
    with pytest.raises(DataError, match="there is no folder"):
        open_data(tmp_path / "absent")
    (tmp_path / "train").mkdir()
    (tmp_path / "training").mkdir()
    with pytest.raises(DataError, match="two train folders"):
        open_data(tmp_path)


def test_what_is_no_file_or_no_image_is_told(tmp_path):
    write_image(tmp_path / "train" / "a[1000].png", PIXELS)
    (tmp_path / "train" / "b[1000].png").symlink_to("nowhere")
    (tmp_path / "train" / "c[1000].jp2").touch()
    masked(tmp_path / "test", ["t"])
    (tmp_path / "test" / "img" / "u.png").symlink_to("/dev/zero")
    write_mask(tmp_path / "test" / "mask" / "u.png", MASK, BCSS)
    data = open_data(tmp_path, strict=False)
    assert len(data.problems) == 2
    assert "b[1000].png: this is no file but a dead link" in data.problems[0]
    assert "u.png: this is no file" in data.problems[1]
    assert data.notes == ("left out, as they are no images of a kind that is read: 1 .jp2 in train/",)
    with pytest.raises(DataError, match="no file"):
        open_data(tmp_path)


def test_two_masks_for_one_image_are_refused(tmp_path):
    masked(tmp_path / "test", ["t"])
    write_image(tmp_path / "training" / "a+0[1000].png", PIXELS)
    write_mask(tmp_path / "test" / "mask" / "t.tif", MASK, BCSS)
    with pytest.raises(DataError, match=r"t\.(png|tif) and t\.(png|tif), and either could be meant"):
        open_data(tmp_path)
    (tmp_path / "test" / "mask" / "t.tif").unlink()
    (tmp_path / "test" / "masks").mkdir()
    with pytest.raises(DataError, match="mask/ and masks/, and either could be meant"):
        open_data(tmp_path)
