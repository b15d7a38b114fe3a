"""Settings files, found and read into plain mappings that know on which lines their keys stand.

What the keys mean is no matter of this file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elsewhere.errors import ConfigError

NAMES = ("elsewhere.yaml", "elsewhere.yml")
_TABLE = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?")
_KEY = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_.-])+)\s*=""")


@dataclass(frozen=True, slots=True)
class Source:
    """One settings file as it was read. `lines`: for the id of each mapping, the line of each of its keys."""

    name: str
    directory: Path
    tree: dict[str, Any]
    lines: dict[int, dict[str, int]] = field(default_factory=dict)

    def line(self, mapping: Any, key: str) -> int:
        return self.lines.get(id(mapping), {}).get(key, 1)


def find(cwd: Path, user: Path) -> list[Path]:
    """The files to read, the weakest first: the user's own, the nearest elsewhere.yaml, the nearest pyproject.toml.

    From `cwd` upward it looks as far as the first directory with a `.git`, the home directory, or the root.
    """
    found = [path for name in NAMES if (path := user / name).is_file()][:1]
    above = list(_upward(cwd))
    settings = next((path for directory in above for name in NAMES if _is_usable(path := directory / name, cwd)), None)
    project = next((path for at in above if _is_usable(path := at / "pyproject.toml", cwd) and _has_table(path)), None)
    return found + [path for path in (settings, project) if path is not None and path not in found]


def _upward(cwd: Path) -> Iterator[Path]:
    home = Path.home()
    for directory in (cwd, *cwd.parents):
        yield directory
        if directory == home or (directory / ".git").exists():
            return


def _is_usable(path: Path, cwd: Path) -> bool:
    """A file of somebody else in a directory where anybody may put files, such as /tmp, is not our settings."""
    try:
        found = path.stat()
    except OSError:
        return False
    if not path.is_file():
        return False
    if found.st_uid in (os.geteuid(), 0) or path.parent == cwd:
        return True
    return not path.parent.stat().st_mode & 0o002


def _has_table(path: Path) -> bool:
    try:
        return "tool.elsewhere" in path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def read(path: Path, shown: str, faults: list[str]) -> Source | None:
    """The file's mapping; None, with what is wrong appended to `faults`, when it cannot be read as one."""
    try:
        text = path.read_bytes()
        from elsewhere.config.faults import wide_encoding, wrong_encoding

        if wide := wide_encoding(text[:4]):
            faults.append(f"{shown}:1: {wrong_encoding(wide, shown)}")
            return None
        text.decode()
    except OSError as error:
        faults.append(f"{shown}: cannot be read: {error.strerror}")
        return None
    except UnicodeDecodeError as error:
        faults.append(f"{shown}:{error.object.count(10, 0, error.start) + 1}: is not UTF-8; save the file as UTF-8")
        return None
    return _toml(path, text, shown, faults) if path.suffix == ".toml" else _yaml(path, text, shown, faults)


def _yaml(path: Path, text: bytes, shown: str, faults: list[str]) -> Source | None:
    import io

    import yaml

    from elsewhere.config.yaml_events import Builder, Unfit, parser

    lines: dict[int, dict[str, int]] = {}
    try:
        tree = Builder(parser(io.BytesIO(text)).get_event, {}, lines).document()
    except Unfit as wrong:
        faults.append(f"{shown}:{wrong.line + 1}: {wrong.what}")
        return None
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        said = error.problem or error.context
        faults.append(f"{shown}:{mark.line + 1}: broken YAML (column {mark.column + 1}): {said}")
        return None
    except yaml.reader.ReaderError as error:
        line = text.count(b"\n", 0, error.position) + 1
        faults.append(f"{shown}:{line}: broken YAML: {error.reason}")
        return None
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        faults.append(f"{shown}:1: a settings file is a mapping, such as `slots: 4`")
        return None
    return Source(shown, path.parent, tree, lines)


def _toml(path: Path, text: bytes, shown: str, faults: list[str]) -> Source | None:
    import tomllib

    try:
        whole = tomllib.loads(text.decode())
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"line (\d+)", str(error))
        faults.append(f"{shown}:{where[1] if where else 1}: broken TOML: {error}")
        return None
    tree = whole.get("tool", {}).get("elsewhere", {})
    lines: dict[int, dict[str, int]] = {}
    _mark(tree, ("tool", "elsewhere"), _toml_lines(text.decode()), lines, 1)
    return Source(shown, path.parent, tree, lines)


def _toml_lines(text: str) -> dict[tuple[str, ...], int]:
    """The line of each table and key, as far as plain text tells; tomllib does not say."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if match := _TABLE.match(line):
            table = _dotted(match[1])
            found.setdefault(table, number)
        elif match := _KEY.match(line):
            path = table
            for part in _dotted(match[1]):
                path = (*path, part)
                found.setdefault(path, number)
    return found


def _dotted(text: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in text.split("."))


def _mark(tree: Any, path: tuple[str, ...], known: dict[tuple[str, ...], int], lines: Any, above: int) -> None:
    lines[id(tree)] = {key: known.get((*path, key), above) for key in tree}
    for key, value in tree.items():
        if isinstance(value, dict):
            _mark(value, (*path, key), known, lines, lines[id(tree)][key])


def error(faults: list[str]) -> ConfigError:
    """All faults of all files, as one error."""
    message = faults[0] if len(faults) == 1 else f"the settings have {len(faults)} faults"
    return ConfigError(message, hint="Nothing was started; `elsewhere config check` looks again.", faults=tuple(faults))
