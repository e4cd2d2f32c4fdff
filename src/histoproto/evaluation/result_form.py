"""The form of a result in `metrics.json`, as `summary.summarise` makes it: what others read of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, model_validator

_Score = Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
_Matrix = list[list[Annotated[int, Field(ge=0)]]]


class _Protocol(BaseModel):
    labels: str
    background: str
    views: int
    crf: bool


class _Source(BaseModel):
    patches: Annotated[int, Field(ge=0)]
    fingerprint: str = ""


class ResultForm(BaseModel):
    """One result: what is there has its type. What must be there is a matter of who reads it."""

    protocol: _Protocol | None = None
    data: _Source | None = None
    scores: dict[str, _Score] = {}
    classifier: dict[str, _Score] = {}
    calibration: dict[str, _Score] = {}
    tissues: dict[str, dict[str, _Score]] = {}
    confusion: _Matrix = []
    groups: dict[str, _Matrix] = {}

    @model_validator(mode="after")
    def _square(self) -> ResultForm:
        side = len(self.tissues) + 1
        matrices = [matrix for matrix in (self.confusion, *self.groups.values()) if matrix]
        if self.tissues and any({len(matrix), *map(len, matrix)} != {side} for matrix in matrices):
            raise ValueError(f"a confusion matrix of {side - 1} tissues and background has {side} × {side} numbers")
        return self
