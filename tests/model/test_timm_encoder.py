"""Encoders of timm, with the hub and without."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from histoproto import hub
from histoproto.errors import WeightsError
from histoproto.model.encoders import build_encoder


def test_missing_hub_names_the_alternatives(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    create = timm.create_model

    def unreachable(*args: Any, pretrained: bool = False, **kwargs: Any) -> Any:
        if pretrained:
            raise OSError("no route to host")
        return create(*args, **kwargs)

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(WeightsError, match=r"resnet18.*no route to host.*local file.*tf_efficientnet_lite0"):
        build_encoder("resnet18", "imagenet")


@pytest.mark.parametrize("name", ["resnet18", "hf-hub:nobody/nothing"])
def test_a_missing_hub_is_answered_soon(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's own library would try again for half a minute."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/nonexistent")
    started = time.perf_counter()
    with pytest.raises(WeightsError, match=r"127\.0\.0\.1:9 is not reachable"):
        build_encoder(name, "imagenet")
    assert time.perf_counter() - started < 10


def test_what_the_hub_gave_before_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConnectionError):
        hub.require("owner/name@main")
    (tmp_path / "models--owner--name/snapshots/abc").mkdir(parents=True)
    (tmp_path / "models--owner--name/snapshots/abc/model.safetensors").write_bytes(b"")
    hub.require("owner/name@main")
