"""Log odds of one tissue against the others."""

from __future__ import annotations

import torch

from histoproto.model.network import log_odds


def test_log_odds_against_the_softmax() -> None:
    logits = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    p = logits.softmax(dim=1)
    torch.testing.assert_close(log_odds(logits), (p / (1 - p)).log())
    assert torch.equal(log_odds(logits[:, :1]), logits[:, :1])
