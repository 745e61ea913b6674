"""docs/venue.md against the code: its tables, its endpoints and its commands cannot go stale."""

from __future__ import annotations

import ast
import re
import shlex

import pytest
from venue_world import daily_bars, exchange

from alphatrade_pipelines.venue.entry import config_of
from alphatrade_pipelines.venue.faults import scenario
from alphatrade_pipelines.venue.server.app import VenueServer
from tests.tools.homes import ROOT
from tests.tools.venue_docs import PAGE, written

TEXT = PAGE.read_text()
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("alphatrade venue")
]


def test_the_tables_follow_from_the_code() -> None:
    assert written(TEXT) == TEXT, "run: python -m tests.tools.venue_docs"


async def test_every_endpoint_is_listed_and_no_other() -> None:
    server = VenueServer(exchange(daily_bars({"AAA": [(1.0, 1.0, 1.0, 1.0, 1.0)] * 3})))
    routes = {f"{route.method} {route.resource.canonical}" for route in server._application().router.routes() if route.resource}
    served = {route for route in routes if not route.startswith("HEAD") and route.split(" ")[1].startswith(("/v1", "/v2/", "/admin"))}
    listed = set(re.findall(r"^\| `((?:GET|POST|PATCH|DELETE) [^`]+)` \|", TEXT, re.MULTILINE))
    assert listed == served - {"GET /v2/{feed}"}
    assert "| | `/stream` | `/v2/{feed}`" in TEXT


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_is_one_the_command_line_takes(command: list[str]) -> None:
    arguments = [word for word in command[2:] if word != "&"]
    if arguments[:1] == ["faults"]:
        assert all(scenario.load(name).faults for name in arguments[1:])
    elif arguments != ["--help"]:
        config_of(arguments)


def test_every_file_it_names_exists() -> None:
    named = re.findall(r"\]\((?!http)([^)#]+)\)", TEXT) + [f"../{name}" for name in re.findall(r"python (examples/\w+\.py)", TEXT)]
    assert len(named) > 8
    missing = [name for name in named if not (PAGE.parent / name).exists()]
    assert missing == []
    examples = {file.name for file in (ROOT / "examples").glob("*.py")} - {"connect.py"}
    assert {name.rpartition("/")[2] for name in named if name.endswith(".py")} == examples


@pytest.mark.parametrize("room", ["exchange", "server", "faults"])
def test_the_map_of_a_room_names_its_modules_and_no_other(room: str) -> None:
    folder = ROOT / "alphatrade_pipelines" / "venue" / room
    tree = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    named = re.findall(r"^    (\w+) {2,}\S", tree, re.MULTILINE) + re.findall(r"^Start with ``(\w+)``", tree, re.MULTILINE)
    assert sorted(named) == sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
