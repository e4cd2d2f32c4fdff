"""Things of other packages: found by their entry points, never in place of our own, and broken in one sentence."""

from __future__ import annotations

import logging
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from histoproto import plugins
from histoproto.config import load_settings
from histoproto.errors import SettingError
from histoproto.methods.cam import CAM
from histoproto.methods.registry import METHODS, PRESETS, build_method
from histoproto.model.encoders import build_encoder
from histoproto.model.teachers import Teacher
from histoproto.model.timm_encoder import TimmEncoder

CODE = """
from torch import nn
from histoproto.methods.cam import CAM
from histoproto.model.encoder import Encoder

class Own(CAM):
    preset = {"model": {"pooling": "mean"}}

class Broken(CAM):
    def __init__(self, settings, frequency):
        raise ZeroDivisionError("no tissue")

class Strides(Encoder):
    def __init__(self, weights):
        super().__init__((4, 4, 4), (0.5,) * 3, (0.5,) * 3, f"licence of {weights}")
        self.body = nn.Conv2d(3, 4, 8, stride=8)
    def features(self, x):
        first = self.body(x)
        return [first, first[:, :, ::2, ::2], first[:, :, ::4, ::4]]

def failing(weights):
    raise RuntimeError("no card")

number = 3
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package of this name whose one module has `CODE`, as pip would leave it."""

    def install(package: str, code: str = CODE, **groups: dict[str, str]) -> None:
        root = tmp_path / package
        info = root / f"{package}-1.5.dist-info"
        info.mkdir(parents=True)
        (root / f"{package}.py").write_text(textwrap.dedent(code), encoding="utf-8")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n", encoding="utf-8")
        lines = [
            line
            for group, entries in groups.items()
            for line in (f"[histoproto.{group}]", *(f"{name} = {package}:{what}" for name, what in entries.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
        monkeypatch.syspath_prepend(root)
        monkeypatch.delitem(sys.modules, package, raising=False)

    return install


def test_a_method_of_another_package(install: Install) -> None:
    install("others", methods={"own-cam": "Own"})
    assert list(METHODS)[-1] == "own-cam"
    assert "others" not in sys.modules  # nothing is imported to list it
    settings = load_settings(
        overrides=["method=own-cam", "model.weights=null", "model.encoder=test_efficientnet"], presets=PRESETS
    )
    assert settings.model.pooling == "mean"
    method = build_method(settings, torch.tensor([0.5, 0.5]))
    assert type(method).__module__ == "others"


def test_an_encoder_and_a_teacher_of_another_package(install: Install) -> None:
    install("others", encoders={"strides": "Strides"}, teachers={"tutor": "Strides"})
    assert build_encoder("strides", None).licence == "licence of None"
    assert build_encoder("strides", "file.pth").licence == "licence of file.pth"
    teacher = Teacher("tutor@file.pth")
    assert teacher.dimension == 4
    assert teacher.encoder.licence == "licence of file.pth"
    assert Teacher("tutor").encoder.licence == "licence of imagenet"
    with pytest.raises(SettingError, match=r"there is no encoder 'tutor'; there are .*strides"):
        build_encoder("tutor", None)


def test_our_names_stay_ours(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    install("others", methods={"cam": "Own"}, encoders={"resnet18": "Strides", "mit_b0": "Strides"})
    with caplog.at_level(logging.WARNING):
        assert METHODS["cam"] is CAM
        assert list(METHODS).count("cam") == 1
        assert isinstance(build_encoder("resnet18", None), TimmEncoder)
    hidden = [record.getMessage() for record in caplog.records]
    assert "the package others 1.5 offers a method 'cam', which is a name of HistoProto's own" in hidden[0]
    assert "encoder 'resnet18'" in hidden[-1]
    assert build_encoder("mit_b0", None).channels != (4, 4, 4)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("Broken", "fails with ZeroDivisionError: no tissue"),
        ("Missing", "fails with AttributeError"),
        ("Strides", "is no subclass of histoproto.methods.base.Method"),
        ("number", "is no subclass of histoproto.methods.base.Method"),
    ],
)
def test_a_broken_method_is_one_sentence(what: str, reason: str, install: Install) -> None:
    install("others", methods={"own-cam": what})
    with pytest.raises(SettingError, match=f"the method 'own-cam' of the package others 1.5 {reason}.*; mend or unins"):
        build_method(load_settings(overrides=["method=own-cam"], presets=PRESETS), torch.tensor([0.5, 0.5]))


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("failing", "fails with RuntimeError: no card"),
        ("number", "cannot be called"),
        ("Own", "fails with TypeError"),
        ("dict.fromkeys", "fails with AttributeError"),
        ("Encoder", "fails with TypeError"),
    ],
)
def test_a_broken_encoder_is_one_sentence(what: str, reason: str, install: Install) -> None:
    install("others", encoders={"strides": what})
    with pytest.raises(SettingError, match=f"the encoder 'strides' of the package others 1.5 {reason}.*; mend or unin"):
        build_encoder("strides", None)


def test_what_is_no_encoder_is_told(install: Install) -> None:
    install("others", code="def build(weights):\n    return 3\n", encoders={"strides": "build"})
    with pytest.raises(SettingError, match=r"gives a int in place of a histoproto\.model\.encoder\.Encoder"):
        build_encoder("strides", None)


def test_a_package_that_cannot_be_imported(install: Install) -> None:
    install("others", code="import nothing_of_that_name", methods={"own-cam": "Own"})
    with pytest.raises(
        SettingError, match=r"of the package others 1\.5 fails with ModuleNotFoundError: No module named"
    ):
        METHODS["own-cam"]


def test_two_packages_with_one_name(install: Install) -> None:
    install("others", methods={"own-cam": "Own"})
    install("more", methods={"own-cam": "Own"})
    with pytest.raises(SettingError, match=r"more than one package \((others|more) 1.5 and (others|more) 1.5\)"):
        plugins.find("method", "own-cam")
