"""A live session in a process of its own, to be killed: ``python -m tests.e2e.live_child FOLDER``. Prints its result as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

from alphatrade_pipelines.live.launch import trade_lockstep
from alphatrade_pipelines.live.sim import VenueSpec, attach_or_launch
from tests.live.world import SYMBOLS, World, world


def spec_of(of: World) -> VenueSpec:
    """The same days as the world's backtest, played by the venue process from its own copy of the sample."""
    return VenueSpec("sample", of.start, of.end, SYMBOLS, seed=7, idle_exit_s=120.0)


def main(folder: Path, run_id: str) -> None:
    small = world("2012-11-01", "2012-11-16")
    spec = spec_of(small)
    venue = attach_or_launch(folder, spec)
    setup = small.setup(venue.url, venue.folder)
    setup = replace(setup, session=replace(setup.session, run_id=run_id))
    result = asyncio.run(trade_lockstep(setup, venue, spec))
    sys.stdout.write(json.dumps({"clean": result.clean, "reason": result.reason, "equity": str(result.status.equity)}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
