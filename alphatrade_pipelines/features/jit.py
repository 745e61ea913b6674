"""numba's compiler with a type, in two forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
_Function = TypeVar("_Function", bound=Callable[..., Any])
_Params = ParamSpec("_Params")


def kernel(function: _Function) -> _Function:
    """Compile to machine code at the first call, cached on disk; exact arithmetic (no ``fastmath``), see :mod:`kernels`."""
    return cast("_Function", numba.njit(cache=True)(function))


def row_kernel(function: Callable[Concatenate[FloatArray, _Params], None]) -> Callable[_Params, FloatArray]:
    """Compile ``f(out, x, …, first)`` and give it back as ``f(x, …, first) -> out``, out being rows ``first`` to the last, NaN at first.

    Making the output outside halves the time numba needs to compile.
    """
    compiled: Callable[..., None] = numba.njit(cache=True)(function)

    def fill(*args: _Params.args, **kwargs: _Params.kwargs) -> FloatArray:
        out = np.empty(len(args[0]) - args[-1])  # type: ignore[operator,arg-type]  # x and first
        out.fill(np.nan)
        compiled(out, *args)
        return out

    fill.__doc__, fill.__name__ = function.__doc__, function.__name__
    return fill
