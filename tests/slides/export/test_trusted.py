from __future__ import annotations

from pathlib import Path

import pytest

from fakes import colour_card
from histoproto.config import InferenceSettings
from histoproto.slides.export import AreaRow
from histoproto.slides.export.trusted import trust_record
from histoproto.slides.labelling.trust import Trust


@pytest.mark.parametrize(("doubtful", "told"), [((100.0, 96.0), True), ((100.0, 40.0), False)])
def test_a_model_that_doubts_everything_is_told(doubtful: tuple[float, float], told: bool, tmp_path: Path) -> None:
    """A quarter of the tissue is red, the rest blue: 97 % and 55 % are doubtful."""
    areas = [
        AreaRow("slide", "red", 100, 25.0, 1.0, doubtful[0]),
        AreaRow("slide", "blue", 300, 75.0, 3.0, doubtful[1]),
        AreaRow("slide", "background", 900, 0.0, 9.0),
    ]
    with Trust.create(tmp_path, 2, 2, known=False) as trust:
        found = trust_record(areas, trust, colour_card(64, mpp=1.0), InferenceSettings())
    assert found["doubtful"] == pytest.approx(97 if told else 55)
    assert any("doubtful in 97 %" in sentence for sentence in found["sentences"]) is told
