"""How good is the detector? Every planted leak is probed, and every clean twin: caught / planted, and false alarms.

What a plant of each kind is:

- ``feature``, ``event``, ``prediction``: world -> values at their bar's close; ``position``: the same, decided at the open;
- ``fitted``: (world, training times) -> transform; ``label``: (bars, volatility) -> frame with t1;
- ``folds``: (rows, embargo) -> folds; ``learner``, ``weights``: (rows, training, test) -> values; ``data``: world -> world or bars.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from alphatrade_pipelines.leaks.causal import probe_causal
from alphatrade_pipelines.leaks.data import check_columns, check_universe
from alphatrade_pipelines.leaks.folds import check_folds
from alphatrade_pipelines.leaks.isolation import probe_fit, probe_learner
from alphatrade_pipelines.leaks.outcomes import probe_labels
from alphatrade_pipelines.leaks.planted import CATALOGUE, Arena, Plant
from alphatrade_pipelines.leaks.report import Report


@dataclass(frozen=True, slots=True)
class Trial:
    """A planted leak and its twin on one arena."""

    arena: str
    plant: Plant
    leak: Report
    twin: Report

    @property
    def caught(self) -> bool:
        return bool(self.leak.alarms)

    @property
    def false_alarm(self) -> bool:
        """The twin is accused."""
        return bool(self.twin.alarms)

    @property
    def vacuous(self) -> bool:
        """Nothing of the twin could be compared: its silence means nothing."""
        return self.twin.values_checked == 0


@dataclass(frozen=True, slots=True)
class Score:
    """Mutation score over all trials."""

    trials: tuple[Trial, ...]

    @property
    def planted(self) -> int:
        return len(self.trials)

    @property
    def caught(self) -> int:
        return sum(trial.caught for trial in self.trials)

    @property
    def missed(self) -> tuple[str, ...]:
        """``arena/plant`` of each leak that got through."""
        return tuple(f"{trial.arena}/{trial.plant.name}" for trial in self.trials if not trial.caught)

    @property
    def false_alarms(self) -> tuple[str, ...]:
        """``arena/plant`` of each twin that was accused, or of which nothing could be compared."""
        return tuple(f"{trial.arena}/{trial.plant.name}" for trial in self.trials if trial.false_alarm or trial.vacuous)

    @property
    def passed(self) -> bool:
        """At least 95 % caught and no false alarm."""
        return self.caught >= 0.95 * self.planted and not self.false_alarms and self.planted > 0

    def by_kind(self) -> dict[str, tuple[int, int]]:
        """kind -> (caught, planted)."""
        planted = Counter(trial.plant.kind for trial in self.trials)
        caught = Counter(trial.plant.kind for trial in self.trials if trial.caught)
        return {kind: (caught[kind], count) for kind, count in planted.items()}

    def __str__(self) -> str:
        share = self.caught / self.planted if self.planted else 0.0
        alarms = f"false alarms {len(self.false_alarms)} / {self.planted} clean twins"
        return f"mutation score {self.caught} / {self.planted} ({share:.1%}), {alarms}"


def mutation_score(
    arenas: Iterable[Arena],
    plants: Iterable[Plant] = CATALOGUE,
    *,
    cuts: int = 3,
    thorough: bool = True,
    progress: Callable[[Trial], None] | None = None,
) -> Score:
    """Probe every plant and its twin on every arena."""
    chosen, trials = tuple(plants), []
    for arena in arenas:
        for plant in chosen:
            leak = probe(plant, plant.leak, arena, cuts=cuts, thorough=thorough, until_found=not thorough)
            twin = probe(plant, plant.clean, arena, cuts=cuts, thorough=thorough)
            trials.append(Trial(arena.name, plant, leak, twin))
            if progress:
                progress(trials[-1])
    return Score(tuple(trials))


def probe(
    plant: Plant, subject: Callable[..., Any], arena: Arena, *, cuts: int = 3, thorough: bool = True, until_found: bool = False
) -> Report:
    """Run the probe that fits the plant's kind on its leak or its twin."""
    name, options = plant.name, dict(plant.options) | {"until_found": until_found}
    if plant.kind in ("feature", "event", "prediction"):
        return probe_causal(subject, arena.world, name=name, cuts=cuts, thorough=thorough, **options)
    if plant.kind == "position":
        return probe_causal(subject, arena.world, name=name, moment="open", cuts=cuts, thorough=thorough, **options)
    if plant.kind == "fitted":
        return probe_fit(subject, arena.world, name=name, thorough=thorough)
    if plant.kind == "label":
        return probe_labels(subject, arena.adjusted, arena.volatility, name=name, cuts=cuts, thorough=thorough, **options)
    if plant.kind == "folds":
        walk = plant.name.startswith("walk_forward")  # nothing is trained on after a test: there is nothing to embargo
        return check_folds(subject(arena.rows, arena.embargo), arena.rows.t1, embargo=0 if walk else arena.embargo, name=name)
    if plant.kind in ("learner", "weights"):
        return probe_learner(subject, arena.rows, arena.folds, name=name)
    found = subject(arena.world)
    return check_columns(found, name=name) if isinstance(found, pd.DataFrame) else check_universe(found, name=name)
