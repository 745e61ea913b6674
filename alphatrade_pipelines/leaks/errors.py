"""The room's exception: what was expected, what was found, what to do."""

from __future__ import annotations


class LeakProbeError(ValueError):
    """A probe cannot be run as asked: nothing to compare, too little data, an output of the wrong shape."""

    def __init__(self, expected: str, found: str, *, fix: str = "") -> None:
        super().__init__(f"expected {expected}, found {found}." + (f" {fix}" if fix else ""))
