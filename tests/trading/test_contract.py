"""The core's contract: deciding changes nothing, and the tables of docs/core.md are the tables of the code."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphatrade_pipelines import risk, trading
from alphatrade_pipelines.risk.denials import DENIALS
from alphatrade_pipelines.risk.sizing import size_position
from alphatrade_pipelines.trading import CoreState, engine
from alphatrade_pipelines.trading.codec import EVENT_TYPES
from alphatrade_pipelines.trading.commands import Command
from alphatrade_pipelines.trading.events import Event
from alphatrade_pipelines.trading.findings import KINDS
from alphatrade_pipelines.trading.rejections import PASSING, STRATEGIES
from tests.trading.simulation import play

DOCS = (Path(__file__).parents[2] / "docs" / "core.md").read_text(encoding="utf-8")


def rows(first: str) -> list[list[str]]:
    """Cells of every table row whose first cell is `code` under the heading ``first``."""
    section = DOCS.split(f"\n## {first}\n")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if line.startswith("| `")]


def test_every_denial_code_is_in_the_docs_with_its_meaning() -> None:
    assert {row[0].strip("`"): row[1] for row in rows("Denials")} == DENIALS


def test_every_kind_of_difference_is_in_the_docs_with_its_policy() -> None:
    assert {row[0].strip("`"): tuple(row[1:]) for row in rows("Reconciliation")} == {
        kind: (entry.seen, entry.policy, entry.level) for kind, entry in KINDS.items()
    }


def test_every_cause_of_a_refusal_is_in_the_docs_with_its_cure() -> None:
    told = {row[0].strip("`"): (row[1].strip("`"), row[2].strip("`")) for row in rows("Refusals")}
    assert told == {cause.value: (plan.cure.value, str(plan.attempts or "max_entry_attempts")) for cause, plan in STRATEGIES.items()}
    passing = DOCS.split("Refusals that pass by themselves (")[1].split(")")[0]
    assert set(re.findall(r"`(\w+)`", passing)) == {cause.value for cause in PASSING}


def _codes_in(source: str) -> Iterator[str]:
    """Literal codes of Denial(...) calls, and of the tables that feed them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[A-Z]+(_[A-Z]+)+", node.value):
            yield node.value


CATEGORIES = {code.split("_")[0] for code in DENIALS}


def test_every_code_the_sources_can_say_is_in_the_table_and_every_code_of_the_table_is_said() -> None:
    said: set[str] = set()
    for room in (risk, trading):
        for path in Path(inspect.getfile(room)).parent.glob("*.py"):
            if path.name != "denials.py":
                said.update(code for code in _codes_in(path.read_text(encoding="utf-8")) if code.split("_")[0] in CATEGORIES)
    bindings = set(re.findall(r'"(no_edge|below_one_share)"', inspect.getsource(size_position)))
    said |= {f"SIZE_{name.upper()}" for name in bindings}
    alerts = {"PROTECTION_BREACH", "PROTECTION_FLATTEN"}  # no denials: they share no category
    assert said - alerts - set(DENIALS) == set()
    assert set(DENIALS) - said == set()


def test_every_event_has_a_place_in_apply() -> None:
    from alphatrade_pipelines.trading.applying import _HANDLERS

    assert {kind.__name__ for kind in _HANDLERS} == set(EVENT_TYPES)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**9))
def test_deciding_changes_nothing(seed: int) -> None:
    """Between two items that ``decide`` yields, only ``apply`` (of the item before) may have changed the state."""
    decide, decided = engine.decide, 0

    def watched(state: CoreState, event: Event) -> Iterator[Event | Command]:
        nonlocal decided
        items: Iterator[Any] = decide(state, event)
        while True:
            before = state.fingerprint()
            item = next(items, None)
            assert state.fingerprint() == before, f"deciding on {type(event).__name__} changed the state"
            if item is None:
                return
            decided += 1
            yield item

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "decide", watched)
        play(seed)
    assert decided > 10


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**9))
def test_the_lists_of_what_may_still_act_are_what_a_search_through_all_orders_would_find(seed: int) -> None:
    """Closed orders are never looked through; so the lists must never miss one that is not."""
    state = play(seed).state
    live = {cid for cid, order in state.orders.items() if order.is_open}
    assert {cid for listed in state.live.values() for cid in listed} == live
    assert set(state.entering) == {state.orders[cid].request.symbol for cid in live if state.orders[cid].remaining_entry}
