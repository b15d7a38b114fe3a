"""The drawn state diagrams are those of the tables."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from elsewhere.model.states import ALLOCATION_MOVES, TASK_MOVES

DOCS = Path(__file__).parents[2] / "docs"


def diagrams() -> ModuleType:
    spec = importlib.util.spec_from_file_location("diagrams", DOCS / "diagrams.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["task-states.svg", "allocation-states.svg"])
def test_the_picture_in_the_documentation_is_the_one_the_table_draws(name: str) -> None:
    assert (DOCS / "pictures" / name).read_text("utf-8") == diagrams().pictures()[name], "run docs/diagrams.py"


def test_every_move_of_the_tables_is_drawn() -> None:
    for name, table in (("task-states.svg", TASK_MOVES), ("allocation-states.svg", ALLOCATION_MOVES)):
        text = diagrams().pictures()[name]
        for _, move in table:
            assert move.value in text
        for state in type(next(iter(table.values()))):
            assert f">{state.name.replace('_', ' ').lower()}<" in text
