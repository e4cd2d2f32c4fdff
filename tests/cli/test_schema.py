"""The schemas say what is read: what we write fits them, what we refuse does not."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from fakes import colour_card
from histoproto.cli.app import app
from histoproto.cli.schema import Kind, make_schema
from histoproto.config import Settings, load_settings
from places import ROOT


def test_settings_fit_and_mistakes_do_not() -> None:
    schema = make_schema(Kind.CONFIG)
    jsonschema.Draft202012Validator.check_schema(schema)
    for settings in (Settings(), *(load_settings(file) for file in (ROOT / "configs").glob("*.yaml"))):
        jsonschema.validate(yaml.safe_load(settings.to_yaml()), schema)
    for wrong in ({"model": {"prototype": 3}}, {"training": {"epochs": 0}}, {"inference": {"views": 2}}, {"seed": "x"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_cards_fit() -> None:
    schema = make_schema(Kind.MODEL)
    card = json.loads(colour_card().model_dump_json())
    jsonschema.validate(card, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(card | {"colour": "red"}, schema)


def test_the_command(tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["schema", "config"], catch_exceptions=False).output
    assert json.loads(printed) == make_schema(Kind.CONFIG)
    CliRunner().invoke(app, ["schema", "model", "--out", str(tmp_path / "m.json")], catch_exceptions=False)
    assert json.loads((tmp_path / "m.json").read_text()) == make_schema(Kind.MODEL)
