"""What `import elsewhere` and the pages people meet first may load: their speed is held by a list, not by hope."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "elsewhere"

IMPORT = {"elsewhere"}
ROOMS = ("__main__", "cli", "cli.dispatch", "cli.front", "cli.table", "cli.terminal")
HELP = {"elsewhere", *(f"elsewhere.{name}" for name in ROOMS)}


def loaded(code: str) -> set[str]:
    """The modules that `code` loads in a fresh interpreter, on top of what that interpreter loads by itself."""
    script = (
        "import sys, json, os\nbefore = set(sys.modules)\n"
        f"{code}\n"
        "sys.stdout.flush(); print('\\n' + json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def from_outside(modules: set[str]) -> set[str]:
    """Those that are neither ours nor of the standard library."""
    return {name for name in modules if name.partition(".")[0] not in {*sys.stdlib_module_names, "elsewhere"}}


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] == "elsewhere"}


def test_import_elsewhere_loads_itself_and_nothing_that_must_be_installed() -> None:
    modules = loaded("import elsewhere")
    assert ours(modules) == IMPORT
    assert from_outside(modules) == set()
    assert not modules & {"asyncio", "subprocess", "sqlite3", "socket", "multiprocessing", "json", "importlib.metadata"}


def test_the_help_page_loads_the_table_and_the_page_and_nothing_that_must_be_installed() -> None:
    modules = loaded("from elsewhere.__main__ import main\nmain(['--help'])")
    assert ours(modules) <= HELP
    assert from_outside(modules) == set()
    assert not modules & {"asyncio", "subprocess", "sqlite3", "socket", "multiprocessing"}


def test_the_version_loads_no_command() -> None:
    assert ours(loaded("from elsewhere.__main__ import main\nmain(['--version'])")) == {
        "elsewhere",
        "elsewhere.__main__",
    }


def test_every_public_name_exists_and_is_listed_by_dir() -> None:
    import elsewhere

    for name in elsewhere.__all__:
        assert getattr(elsewhere, name) is not None
        assert name in dir(elsewhere)


def imported(path: Path) -> set[str]:
    """Every module that a file names in an import statement, in functions too; relative ones with a leading dot."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    return names


@pytest.mark.parametrize("path", sorted((SRC / "slot").glob("*.py")), ids=lambda path: path.name)
def test_a_slot_file_is_python_3_9_and_imports_the_standard_library_or_its_neighbours(path: Path) -> None:
    ast.parse(path.read_text("utf-8"), feature_version=(3, 9))
    outside = {
        name
        for name in imported(path)
        if not name.startswith(".")
        and not name.startswith("elsewhere.slot")
        and name.partition(".")[0] not in sys.stdlib_module_names
    }
    newer = {"_sha2"}  # of the standard library from 3.12 on
    assert outside <= {"cloudpickle"} | newer, "cloudpickle is used where it is found and pickle cannot do it"


NAMED = {"pyyaml": "yaml", "py-rattler": "rattler", "backports.zstd": "backports"}
BESIDE = {"_sha2", "compression", "keyring", "pytest"}
"""Of later Pythons, used where it is there, and of whoever writes tests of a backend."""


def test_what_is_imported_is_asked_for_when_this_is_installed() -> None:
    project = tomllib.loads((SRC.parents[1] / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[^A-Za-z0-9._-]", one)[0] for one in asked}
    roots = {name.partition(".")[0] for path in SRC.rglob("*.py") for name in imported(path)}
    outside = {root for root in roots if root and root not in {*sys.stdlib_module_names, "elsewhere"}}
    assert outside - BESIDE <= {NAMED.get(name, name) for name in names}


COMMON = {"__init__", "__pycache__", "base", "boxes", "gathers", "newcomers", "registry", "seats", "sent"}
CONCRETE = sorted(path.stem for path in (SRC / "backends").iterdir() if path.stem not in COMMON)


@pytest.mark.parametrize("backend", CONCRETE)
def test_only_the_registry_names_a_concrete_backend(backend: str) -> None:
    naming = {
        str(path.relative_to(SRC))
        for path in SRC.rglob("*.py")
        if f"backends.{backend}" in path.read_text("utf-8") and not path.is_relative_to(SRC / "backends" / backend)
    }
    assert naming <= {"backends/registry.py", f"backends/{backend}.py"}
