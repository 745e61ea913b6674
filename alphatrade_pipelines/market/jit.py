"""numba's compiler with a type. Imported by the modules that need it, not by the package: a live process must not pay for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(function: _Function) -> _Function:
    """Compile to machine code at the first call, cached on disk; exact arithmetic (no ``fastmath``): batch and stream agree to the bit."""
    return cast("_Function", numba.njit(cache=True)(function))
