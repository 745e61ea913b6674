"""What every test of the simulation wants."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from alphatrade_pipelines.simulation.runner import quietly


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Sessions full of faults warn all the time; the tests of other rooms want their logs back."""
    with quietly():
        yield
