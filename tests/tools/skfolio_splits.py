"""Splits of skfolio's CombinatorialPurgedCV (BSD-3) for labels of constant horizon: `python tests/tools/skfolio_splits.py` writes the file
that tests compare with where skfolio is not installed (it is no dependency of the house; made with skfolio 1.12.2)."""

from __future__ import annotations

import json
from pathlib import Path

# rows, groups, test groups, horizon in rows, embargo in rows
CASES = ((60, 6, 2, 0, 0), (60, 6, 2, 3, 0), (60, 6, 2, 3, 2), (90, 5, 3, 4, 1), (96, 8, 2, 2, 5), (40, 4, 2, 5, 3))
FILE = Path(__file__).parent / "skfolio_splits.json"


def skfolio_splits(rows: int, groups: int, test_groups: int, horizon: int, embargo: int) -> dict[str, object]:
    """Training and sorted test positions of every split; for each path the split that each group comes from."""
    import numpy as np
    from skfolio.model_selection import CombinatorialPurgedCV

    splitter = CombinatorialPurgedCV(groups, test_groups, purged_size=horizon, embargo_size=embargo)
    found = [(train, np.sort(np.concatenate(tests))) for train, tests in splitter.split(np.zeros((rows, 1)))]
    return {
        "train": [train.tolist() for train, _ in found],
        "test": [test.tolist() for _, test in found],
        "paths": splitter.recombined_paths.T.tolist(),
    }


def recorded() -> dict[str, dict[str, object]]:
    """The committed file: case -> :func:`skfolio_splits`."""
    loaded: dict[str, dict[str, object]] = json.loads(FILE.read_text())
    return loaded


if __name__ == "__main__":
    FILE.write_text(json.dumps({str(case): skfolio_splits(*case) for case in CASES}, separators=(",", ":")) + "\n")
