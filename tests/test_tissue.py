"""`classes.yaml`: a key that is not known is never passed over, for every class would be shifted by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from histoproto.errors import TissueError
from histoproto.tissue import TissueSet


@pytest.mark.parametrize(
    ("key", "meant"),
    [("id", "value"), ("label", "value"), ("index", "value"), ("color", "colour"), ("Value", None), ("1", None)],
)
def test_unknown_keys_of_a_class_are_refused(tmp_path: Path, key: str, meant: str | None) -> None:
    (tmp_path / "classes.yaml").write_text(f"classes:\n  - {{name: tumour, {key}: 1}}\n  - {{name: stroma}}\n")
    with pytest.raises(TissueError, match=r"there is no key .* of class 1, only name, value, colour") as error:
        TissueSet.read(tmp_path / "classes.yaml")
    assert (f"did you mean {meant!r}?" in str(error.value)) == (meant is not None)


@pytest.mark.parametrize("key", ["ignore_index", "tissues", "ignore"])
def test_unknown_keys_beside_the_classes_are_refused(tmp_path: Path, key: str) -> None:
    (tmp_path / "classes.yaml").write_text(f"classes: [{{name: tumour}}, {{name: stroma}}]\n{key}: 255\n")
    with pytest.raises(TissueError, match=f"there is no key '{key}'"):
        TissueSet.read(tmp_path / "classes.yaml")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("Background", "tumour"), "no class may be called 'Background'"),
        (("uncertain",), "no class may be called 'uncertain'"),
        (("Dr\u00fcse", "Dru\u0308se"), "must differ by more than"),
        (("Tumour", "tumour"), "must differ by more than"),
        (("tumour\u200b", "tumour"), "a letter that is not seen"),
        (("a\u202eb",), "a letter that is not seen"),
    ],
)
def test_names_that_look_alike_or_mean_something_else_are_refused(names: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(TissueError, match=sentence):
        TissueSet.of(*names)
    assert TissueSet.of("\u0645\u06cc\u200c\u062e", "stroma").names[1] == "stroma"
