import json

import pytest

from histoproto.documents.shapes import read_json_as
from histoproto.errors import DocumentError


def test_form_is_checked(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": {"b": 1.5}}))
    assert read_json_as(path, dict[str, dict[str, float]]) == {"a": {"b": 1.5}}
    with pytest.raises(DocumentError, match=r"a\.json, a\.b: .*integer.*, found 1\.5$"):
        read_json_as(path, dict[str, dict[str, int]])
    with pytest.raises(DocumentError, match=r"a\.json: .*list, found \{'a': \{'b': 1\.5\}\}$"):
        read_json_as(path, list[int])
