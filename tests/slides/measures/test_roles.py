from __future__ import annotations

import pytest

from histoproto.errors import SettingError
from histoproto.slides.measures.roles import find_pair, find_role


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["stroma", "Tumor"], 1),
        (["TUMOUR", "normal"], 0),
        (["tumor", "tumour"], None),  # which one is meant, nobody knows
        (["tumour stroma", "non-tumour"], None),
    ],
)
def test_only_the_name_itself_is_a_role(names: list[str], wanted: int | None) -> None:
    assert find_role("tumour", names) == wanted


def test_names_with_colons() -> None:
    names = ["Tumor", "Tumor: Positive", "Stroma"]
    assert find_pair("Tumor: Positive:Stroma", names, "--tsr") == (1, 2)
    assert find_pair("Stroma:Tumor: Positive", names, "--tsr") == (2, 1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("tumour", "expected two tissues"),
        ("tumour:fat", "no tissue 'fat' in this map; it has tumour, stroma"),
        ("tumour:tumour", "twice"),
        (":", "no tissue ''"),
    ],
)
def test_what_is_named_wrongly_is_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        find_pair(text, ["tumour", "stroma"], "--tsr")
