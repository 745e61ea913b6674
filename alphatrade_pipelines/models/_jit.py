"""One typed door to numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def jit(function: F) -> F:
    """Compile in nopython mode and cache on disk; the signature stays that of ``function``."""
    return cast("F", njit(cache=True)(function))
