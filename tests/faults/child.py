"""A live session in a process of its own, to be killed: ``python -m tests.faults.child FOLDER URL RUN``. Time is the venue's."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from alphatrade_pipelines.live.launch import open_session
from alphatrade_pipelines.live.session import WallClock
from alphatrade_pipelines.trading.config import CoreConfig
from tests.faults.stage import PATIENCE, Script, flat

# the market stands still while a request is held: nobody may lose patience meanwhile
SCRIPT = Script([{"AAA": flat(30)}], [("AAA", 1, 2)], core=CoreConfig(read_max_age_s=3600.0), patience=replace(PATIENCE, read_timeout=60.0))


def main(folder: Path, url: str, run_id: str) -> None:
    with open_session(SCRIPT.setup(url, folder, run_id)) as session:
        asyncio.run(session.run(WallClock(tick_s=0.02)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
