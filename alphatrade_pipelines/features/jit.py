"""numba's compiler in two forms: as in ``market``, and for rows of a feature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.market.jit import kernel

__all__ = ["FloatArray", "kernel", "row_kernel"]
FloatArray = npt.NDArray[np.float64]
_Params = ParamSpec("_Params")


def row_kernel(function: Callable[Concatenate[FloatArray, _Params], None]) -> Callable[_Params, FloatArray]:
    """Compile ``f(out, x, …, first)`` and give it back as ``f(x, …, first) -> out``, out being rows ``first`` to the last, NaN at first.

    Making the output outside halves the time numba needs to compile.
    """
    compiled: Callable[..., None] = kernel(function)

    def fill(*args: _Params.args, **kwargs: _Params.kwargs) -> FloatArray:
        out = np.empty(len(args[0]) - args[-1])  # type: ignore[operator,arg-type]  # x and first
        out.fill(np.nan)
        compiled(out, *args)
        return out

    fill.__doc__, fill.__name__ = function.__doc__, function.__name__
    return fill
