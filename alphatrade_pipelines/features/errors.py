"""The room's exceptions: what was expected, what was found, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class FeatureError(ValueError):
    """Something about features cannot work as asked."""

    def __init__(self, expected: str, found: str, *, fix: str = "") -> None:
        self.expected = expected
        self.found = found
        self.fix = fix
        super().__init__(f"expected {expected}, found {found}." + (f" {fix}" if fix else ""))


class FeatureConfigError(FeatureError):
    """An unknown feature, parameter or column, or a parameter out of range."""


class FeatureInputError(FeatureError):
    """Bars that features cannot be computed on: wrong shape, wrong order, too few."""


class FeatureStateError(FeatureError):
    """A saved state that is damaged, tampered with, or from another format."""


def nearest(name: str, known: Iterable[str]) -> str:
    """``"Did you mean 'beta'?"`` for the nearest known name, else the list of names."""
    names = sorted(known)
    match = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"Did you mean {match[0]!r}?" if match else f"Known: {', '.join(names)}."
