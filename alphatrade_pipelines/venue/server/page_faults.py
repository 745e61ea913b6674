"""The fault catalogue as forms: what the page asks for, and what its answers mean to a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alphatrade_pipelines.venue.faults.catalogue import KINDS, REQUIRED, Kind, Param, Where

COLUMNS: tuple[dict[Where, str], ...] = (
    {"request": "Requests, before the exchange sees them"},
    {"answer": "Answers, after the exchange has acted", "connection": "Connections"},
    {"trade_updates": "Trade updates", "data": "Market data"},
    {"exchange": "The exchange itself"},
)
_WHOLE = ("after_count", "every", "times")
_NUMBERS = ("probability", "for_seconds")


@dataclass(frozen=True, slots=True)
class Field:
    """One input: a ``choices`` list, else text or a number (``step`` "1" for whole ones, "any" otherwise)."""

    name: str
    hint: str
    value: str = ""
    choices: tuple[str, ...] = ()
    step: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class FaultForm:
    """One kind of the catalogue: ``params`` are its own inputs, ``timing`` says when and how often."""

    kind: Kind
    params: tuple[Field, ...]
    timing: tuple[Field, ...]


def fault_forms(symbols: tuple[str, ...]) -> list[dict[str, list[FaultForm]]]:
    """Every kind, in columns, under the headline of where it acts; ``symbols`` may be chosen."""
    return [
        {headline: [_form(kind, symbols) for kind in KINDS.values() if kind.where == where] for where, headline in column.items()}
        for column in COLUMNS
    ]


def _form(kind: Kind, symbols: tuple[str, ...]) -> FaultForm:
    params = tuple(_field(name, param) for name, param in kind.params.items() if name != "symbol")
    return FaultForm(kind, params, _timing(kind, symbols))


def _field(name: str, param: Param) -> Field:
    default = "" if param.default is REQUIRED else str(param.default)
    if param.type is bool:
        return Field(name, param.unit, default.lower() or "false", ("true", "false"))
    step = {int: "1", float: "any"}.get(param.type, "")
    return Field(name, param.unit, default, param.choices, step, param.default is REQUIRED)


def _timing(kind: Kind, symbols: tuple[str, ...]) -> tuple[Field, ...]:
    needs_symbol = "symbol" in kind.params
    fields = [
        Field("symbol", "the symbol" if needs_symbol else "only this symbol", choices=symbols if needs_symbol else ("", *symbols)),
        Field("at", 'when: "+30s", "+15m after open", "session 2 10:30"; empty = now'),
        Field("times", f"how often ({kind.counts})", step="1"),
        Field("after_count", f"first the so-manyth of {kind.counts}", step="1"),
        Field("every", "then every so-manyth", step="1"),
        Field("probability", "each with this probability", step="any"),
    ]
    if kind.lasting:
        fields.append(Field("for_seconds", f"{kind.window} seconds it lasts", step="any"))
    if kind.where in ("request", "answer"):
        fields.append(Field("endpoint", "only this endpoint", kind.endpoint or ""))
    return tuple(fields)


def table_of(form: Mapping[str, Any]) -> dict[str, object]:
    """The scenario table a submitted form stands for; what is not filled in is left out. Unknown kinds and values that are no numbers
    stay as they are: the scenario's own checks say what is wrong with them."""
    kind = KINDS.get(str(form.get("kind", "")))
    own = kind.params if kind else {}
    table: dict[str, object] = {"kind": str(form.get("kind", ""))}
    for name, given in form.items():
        text = str(given).strip()
        if not text or name in ("kind", "word"):
            continue
        if name in own and name != "symbol":
            table[name] = _value(text, own[name].type)
        elif name in _WHOLE or name in _NUMBERS:
            table[name] = _value(text, int if name in _WHOLE else float)
        else:
            table[name] = text
    return table


def _value(text: str, kind: type) -> object:
    if kind is bool:
        return {"true": True, "false": False}.get(text, text)
    if kind is str:
        return text
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        return text
