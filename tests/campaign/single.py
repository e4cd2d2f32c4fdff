"""Bad inputs that need a builder of their own: a call, more arguments, what spoils it, whether it must be refused."""

from __future__ import annotations

SINGLE: dict[str, tuple] = {}
