"""Who was champion, since when, by whose hand: the audit trail that a rollback walks back.

Kept as tags of the registered model, one a change (``champion.<time>``), because one tag holds 5000 characters and a year holds 250 nights.
MLflow itself remembers neither who moved an alias nor when: a move that is not in the trail was made outside the gate, and is added to
it by whoever notices first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

PREFIX = "champion."
How = Literal["gate", "rollback", "outside"]


@dataclass(frozen=True, slots=True)
class Crowning:
    """One change of champion. ``by``: the run, command or person; for ``outside`` only who noticed is known, and ``at`` is when."""

    version: str
    at: datetime
    how: How
    by: str
    reason: str

    @property
    def key(self) -> str:
        """The tag it is kept under; sorts by time."""
        return f"{PREFIX}{self.at:%Y%m%dT%H%M%S.%f}"

    def to_json(self) -> str:
        """For the tag's value."""
        return json.dumps({**asdict(self), "at": self.at.isoformat()})

    @classmethod
    def from_json(cls, text: str) -> Crowning:
        """The inverse of :meth:`to_json`."""
        data = json.loads(text)
        return cls(**{**data, "at": datetime.fromisoformat(data["at"])})

    def __str__(self) -> str:
        how = {"gate": "promoted by the gate", "rollback": "rolled back", "outside": "moved outside the gate"}[self.how]
        return f"version {self.version} {how}, {self.at:%Y-%m-%d %H:%M:%S} UTC, {self.by}: {self.reason}"


def read_trail(tags: Mapping[str, str]) -> list[Crowning]:
    """All changes in a registered model's tags, oldest first."""
    return [Crowning.from_json(tags[key]) for key in sorted(tags) if key.startswith(PREFIX)]


def line_of_champions(trail: Iterable[Crowning]) -> list[str]:
    """The versions a rollback would walk back over, newest last: each once, and none that was rolled back from."""
    line: list[str] = []
    for change in trail:
        if change.how == "rollback" and change.version in line:
            line = line[: line.index(change.version) + 1]
        else:
            line = [version for version in line if version != change.version] + [change.version]
    return line
