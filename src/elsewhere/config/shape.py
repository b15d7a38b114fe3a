"""From the mapping of a file to checked settings, each leaf with its origin. Every fault is collected. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from elsewhere.config import kinds, matrix, settings
from elsewhere.config.faults import article, nearest
from elsewhere.config.files import Source
from elsewhere.config.kinds import Kind
from elsewhere.model.spans import NO_BOUND

NEEDS, RETRIES, MACHINES = (
    settings.keys(settings.Needs),
    settings.keys(settings.Retries),
    settings.keys(settings.Machines),
)
RUN = settings.keys(settings.Run) | MACHINES
JOB, PLACE, CEILINGS = settings.keys(settings.Job), settings.keys(settings.Place), settings.keys(settings.Ceilings)
ENVIRONMENT = settings.keys(settings.Environment)
ENDS = {f"{word}_{name}": (name, side, kind.one) for name, kind in MACHINES.items() if kind.one is not None
        for word, side in (("min", "least"), ("max", "most"))}  # fmt: skip
"""Keys of one end of a span: whose, which, and what it may be."""
ASKED = frozenset({*MACHINES, *ENDS, *settings.SAME})
"""Every key that asks something of machines."""
_RUNS = {*RUN, *NEEDS, *ASKED, *settings.OTHERS}
_OF_PLACES = {"region", "regions"}
"""In a place these are its backend's: where it is, not what is asked."""
_BOTH = {"spot", "architecture", "zones"}
"""These are asked of machines even where its backend has a key of that name."""
_CEILINGS = {"budget": "budget", "max_machines": "machines", "max_price_per_hour": "price_per_hour"}
"""What may stand in a place without `limits:` around it."""


class Leaf(NamedTuple):
    """A value, and where it comes from: `elsewhere.yaml:3`, `ELSEWHERE_SLOTS`, `default`."""

    value: Any
    origin: str


Tree = dict[str, Any]
"""Leaves, and trees of leaves."""


def merged(under: Tree, over: Tree) -> Tree:
    """Both, key by key and deep; `over` wins. Neither is changed."""
    found = dict(under)
    for key, value in over.items():
        below = found.get(key)
        found[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return found


def settled(tree: Tree) -> Tree:
    """Without what differs from task to task."""
    return {
        key: settled(value) if isinstance(value, dict) else value
        for key, value in tree.items()
        if isinstance(value, dict) or not isinstance(value.value, matrix.Varying)
    }


def common(tree: Tree, whole: Tree) -> dict[str, Any]:
    """The values of the leaves that both have, from the same line."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        other = whole.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            found[key] = common(value, other)
        elif value == other:
            found[key] = value.value
    return found


class Checker:
    """One file. `backends`: the dataclass of the settings of each backend that is known."""

    def __init__(self, source: Source, faults: list[str], backends: Mapping[str, type]) -> None:
        self.source, self.faults, self.backends = source, faults, backends
        self.matrix: matrix.Matrix = {}
        """Of the job that is being read."""

    def file(self) -> Tree:
        """The sections. Keys of a run that stand at the top are those of `default:`."""
        tree = self.source.tree
        known = {*settings.SECTIONS, *_RUNS}
        found: Tree = {}
        top = {key: value for key, value in tree.items() if _plain(key) not in settings.SECTIONS}
        found["default"] = self._run(top, tree, "", known)
        for key, value in tree.items():
            section = _plain(key)
            if section in settings.SECTIONS and self._is_mapping(tree, key, value):
                found[section] = merged(found.get(section, {}), self._section(section, value))
        return found

    def _section(self, section: str, tree: dict[str, Any]) -> Tree:
        if section == "default":
            return self._run(tree, tree, "default.", _RUNS)
        entries = {key: value for key, value in tree.items() if self._is_mapping(tree, key, value, section)}
        checked = {key: self._entry(section, key, value) for key, value in entries.items()}
        # `default:` inside a section stands under each of its other entries.
        base = checked.pop("default", {})
        return {key: merged(base, value) for key, value in checked.items()}

    def _entry(self, section: str, name: str, tree: dict[str, Any]) -> Tree:
        where = f"{section}.{name}."
        if section == "profiles":
            return self._run(tree, tree, where, _RUNS)
        if section == "jobs":
            self.matrix = self._matrix(tree)
            try:
                return self._job(tree, where)
            finally:
                self.matrix = {}
        if section == "places":
            return self._place(name, tree, where)
        return self._environment(tree, where)

    def _matrix(self, tree: dict[str, Any]) -> matrix.Matrix:
        """Empty: there is none, or none that can be read, which is said with the other keys."""
        try:
            return dict(matrix.KIND.read(tree.get("matrix")))
        except ValueError:
            return {}

    def _job(self, tree: dict[str, Any], where: str) -> Tree:
        own = {key: value for key, value in tree.items() if _plain(key) in JOB}
        kept = {key: value for key, value in tree.items() if _plain(key) in settings.LATER}
        rest = {key: value for key, value in tree.items() if key not in own and key not in kept}
        known = {*JOB, *_RUNS, *settings.LATER}
        return {
            **self._leaves(own, tree, JOB, where), **self._kept(kept, tree), **self._run(rest, tree, where, known),
        }  # fmt: skip

    def _place(self, name: str, tree: dict[str, Any], where: str) -> Tree:
        own = {key: value for key, value in tree.items() if _plain(key) in PLACE and _plain(key) != "limits"}
        found = self._leaves(own, tree, PLACE, where)
        found.update({} if not (ceilings := self._ceilings(tree, where)) else {"limits": ceilings})
        rest = {key: value for key, value in tree.items() if _plain(key) not in {*PLACE, *_CEILINGS}}
        schema = self.backends.get(found["backend"].value if "backend" in found else name)
        own = {} if schema is None else _fields(schema)
        asked = ASKED - _OF_PLACES - (own.keys() - _BOTH)
        asks = {key: value for key, value in rest.items() if _plain(key) in asked}
        if wants := self._asks(asks, tree, where):
            found["wants"] = wants
        left = {key: value for key, value in rest.items() if _plain(key) in own or key not in asks}
        found["settings"] = (
            self._kept(rest, tree) if schema is None else self._leaves(left, tree, own, where, also=ASKED)
        )
        return found

    def _ceilings(self, tree: dict[str, Any], where: str) -> Tree:
        """Those of a place: under `limits:`, or beside it."""
        found: Tree = {}
        limits = tree.get("limits")
        if limits is not None and self._is_mapping(tree, "limits", limits, where[:-1]):
            found = self._leaves(limits, limits, CEILINGS, where + "limits.")
        for key, value in tree.items():
            if (name := _CEILINGS.get(_plain(key))) is not None:
                leaves = self._leaves({key: value}, tree, {_plain(key): CEILINGS[name]}, where)
                found.update(dict.fromkeys([name], leaf) if (leaf := leaves.get(_plain(key))) else {})
        return found

    def _asks(self, tree: dict[str, Any], lines: dict[str, Any], where: str, under: Tree | None = None) -> Tree:
        """What is asked of machines, under the name that each key has among ours; ends of spans are put together."""
        found: Tree = {}
        for key, value in tree.items():
            name, side, kind = ENDS.get(plain := _plain(key), (settings.SAME.get(plain, plain), "", None))
            leaves = self._leaves({key: value}, lines, {plain: kind or MACHINES[name]}, where)
            if plain in leaves:
                leaf = leaves[plain]
                before = found.get(name, (under or {}).get(name, Leaf(NO_BOUND, ""))).value
                found[name] = leaf if not side else Leaf(replace(before, **{side: leaf.value}), leaf.origin)
        return found

    def _environment(self, tree: dict[str, Any], where: str) -> Tree:
        return self._leaves(tree, tree, ENVIRONMENT, where)

    def _run(self, tree: dict[str, Any], lines: dict[str, Any], where: str, known: set[str]) -> Tree:
        """Keys of a run. `lines` is the mapping of the file that they stand in."""
        found: Tree = {}
        for key, value in tree.items():
            name = _plain(key)
            if name not in known or name in settings.SECTIONS:
                self._fault(lines, key, f"unknown key {where}{key}{nearest(key, known)}")
            elif name in ("resources", "env", "secrets") or (name == "retries" and isinstance(value, dict)):
                if value is not None and self._is_mapping(lines, key, value, where[:-1]):
                    under = "env" if name == "secrets" else name  # a secret is a variable, so one of the two stands
                    found[under] = merged(found.get(under, {}), self._nested(name, value, f"{where}{key}."))
            elif name == "retries":
                found[name] = merged(found.get(name, {}), self._leaves({key: value}, lines, RETRIES, where))
            elif name in ASKED:
                found.update(self._asks({key: value}, lines, where, found))
            elif name in NEEDS:
                inner = self._leaves({key: value}, lines, NEEDS, where)
                found["resources"] = merged(inner, found.get("resources", {}))
            else:
                found.update(self._leaves({key: value}, lines, RUN, where))
        return found

    def _nested(self, name: str, value: dict[str, Any], where: str) -> Tree:
        if name not in ("env", "secrets"):
            return self._leaves(value, value, NEEDS if name == "resources" else RETRIES, where)
        good = {key: text for key, text in value.items() if self._is_variable(value, key, where)}
        kind = kinds.SECRET if name == "secrets" else kinds.VARIABLE
        return self._leaves(good, value, dict.fromkeys(good, kind), where, names=False)

    def _is_variable(self, tree: dict[str, Any], name: str, where: str) -> bool:
        if not name or "=" in name or "\0" in name:
            self._fault(tree, name, f"{where[:-1]}: {name!r} is not a name of a variable")
            return False
        return True

    def _leaves(
        self, tree: dict[str, Any], lines: dict[str, Any], known: Mapping[str, Kind], where: str, names: bool = True,
        also: Iterable[str] = (),
    ) -> Tree:  # fmt: skip
        """Keys and values of one level; null counts as absent."""
        found: Tree = {}
        for key, value in tree.items():
            name = _plain(key) if names else key
            if names and name not in known:
                name = settings.OTHERS.get(name, name)
            if name not in known:
                self._fault(lines, key, f"unknown key {where}{key}{nearest(key, [*known, *also])}")
                continue
            if value is None:
                continue
            try:
                read = self._value(name if names else "env", value, known[name])
            except ValueError as error:
                self._fault(lines, key, f"{where}{key} {_said(error)}")
                continue
            if name == "recycle":
                name, read = read
            found[name] = Leaf(read, self._origin(lines, key))
        return found

    def _value(self, name: str, value: Any, kind: Kind) -> Any:
        """ValueError: what is wrong with it. Paths are seen from the file's directory."""
        if self.matrix:
            if said := matrix.wrong(name, value, self.matrix):
                raise ValueError(said)
            if name in matrix.TERMS and matrix.varies(value):
                return matrix.Varying(value)
        read = kind.read(value)
        path = name == "startup_script" or (name == "pip" and isinstance(read, str))
        if path or (name == "python" and os.sep in read):
            return os.path.normpath(self.source.directory / os.path.expanduser(read))  # noqa: PTH111
        return read

    def _origin(self, lines: dict[str, Any], key: str) -> str:
        return f"{self.source.name}:{self.source.line(lines, key)}"

    def _kept(self, tree: dict[str, Any], lines: dict[str, Any]) -> Tree:
        """As it stands: what it means is known elsewhere, or not yet."""
        return {_plain(key): Leaf(value, self._origin(lines, key)) for key, value in tree.items() if value is not None}

    def _is_mapping(self, lines: dict[str, Any], key: str, value: Any, where: str = "") -> bool:
        if isinstance(value, dict):
            return True
        if value is not None:
            self._fault(lines, key, f"{where}{'.' if where else ''}{key} must be a mapping, not {article(value)}")
        return False

    def _fault(self, lines: dict[str, Any], key: str, what: str) -> None:
        self.faults.append(f"{self._origin(lines, key)}: {what}")


def _said(error: ValueError) -> str:
    """`must be...` follows the key at once; the sentences of model/units stand after a colon."""
    text = str(error)
    return text if text.startswith(("must", "holds", "has ")) else f"is wrong: {text}"


def _plain(key: str) -> str:
    return key.replace("-", "_")


def _fields(schema: type) -> dict[str, Kind]:
    """The keys of a backend's dataclass."""
    return kinds.of_fields(schema)
