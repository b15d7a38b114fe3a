"""The settings in force here: files found and merged, ELSEWHERE_* over them, and where each value comes from.

The weakest first: your own file (elsewhere.yaml in the platform's configuration directory), elsewhere.yaml upward from
the working directory, [tool.elsewhere] of pyproject.toml, the profile, ELSEWHERE_*, the call. A project's file stands
over your own one because it knows more of the work at hand; what you want for one run, you say in the call.
Without a file and a variable nothing but the standard library is imported.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elsewhere.errors import ConfigError, UnknownPlace

if TYPE_CHECKING:
    from elsewhere.config.shape import Tree
    from elsewhere.model.job import Environment
    from elsewhere.model.place import Place

PREFIX = "ELSEWHERE_"
_NOT_SETTINGS = frozenset(
    PREFIX + name
    for name in (
        "HOME", "PROFILE", "TASK_ID", "ATTEMPT", "SCRATCH", "CHECKPOINT", "DEADLINE", "SLOT_OF", "MACHINE", "LABELS",
        "SANDBOX_MACHINE",
    )
)  # fmt: skip
_OF_AGENTS = PREFIX + "AGENT_"
_CALL = ("on", "slots", "python", "env", "timeout", "isolate", "priority", "channel", "max_failures", "environment",
         "image", "inputs", "outputs")  # fmt: skip
_SPEC = ("slots", "timeout", "grace", "isolate", "max_failures", "priority", "channel", "keep", "recycle_tasks",
         "recycle_memory", "keep_on_failure")  # fmt: skip


@dataclass(frozen=True, slots=True)
class JobEntry:
    """An entry of `jobs:`. Paths are as the file has them, seen from `directory`."""

    name: str
    directory: Path
    what: Mapping[str, Any]
    """tasks, entry, command, script, each_line, matrix, name, about, profile, and keys of later versions."""
    own: Mapping[str, Any] = field(default_factory=dict)
    """Of how it runs, what this entry itself says and nothing stronger does: as text where it differs from task to
    task."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What files and variables say. UnknownPlace, naming the nearest, for a profile or job that is not there."""

    tree: Tree = field(default_factory=dict)
    environ: Tree = field(default_factory=dict)
    """What ELSEWHERE_* say, over everything of the files."""
    files: tuple[str, ...] = ()
    directories: Mapping[str, Path] = field(default_factory=dict)
    profile: str = ""
    """ELSEWHERE_PROFILE."""

    def names(self, section: str) -> list[str]:
        """The entries of profiles, places, environments or jobs, sorted."""
        return sorted(self.tree.get(section, ()))

    def run(self, profile: str = "", job: str = "") -> Tree:
        """How jobs run: `default:`, then the job's own profile, its keys, the profile asked for, ELSEWHERE_*."""
        if not (self.tree or self.environ or self.profile or profile or job):
            return {}  # the usual case, which should load nothing
        from elsewhere.config.shape import settled

        return settled(self._run(profile, job))

    def _run(self, profile: str, job: str) -> Tree:
        """The same, with what differs from task to task."""
        from elsewhere.config.shape import RUN, merged

        found: Tree = self.tree.get("default", {})
        if job:
            entry = self._entry("jobs", job)
            if "profile" in entry:
                found = merged(found, self._entry("profiles", entry["profile"].value))
            found = merged(found, {key: value for key, value in entry.items() if key in RUN})
        if wanted := profile or self.profile:
            found = merged(found, self._entry("profiles", wanted))
        return merged(found, self.environ)

    def options(self, profile: str = "", job: str = "") -> dict[str, Any]:
        """`run` by the names of a call's options, and `secrets` as in a JobSpec; only what is set."""
        found = self.run(profile, job)
        values = {key: found[key].value for key in _CALL if key in found and key != "env"}
        values.update({key: leaf.value for key, leaf in found.get("resources", {}).items()})
        values.update(_variables(found.get("env", {})))
        if "retries" in found:
            retries = {key: leaf.value for key, leaf in found["retries"].items()}
            values["retries"] = retries["retries"] if set(retries) == {"retries"} else _policy(retries)
        return values

    def spec(self, profile: str = "", job: str = "") -> dict[str, Any]:
        """`run` as fields of a JobSpec; only what is set, without place and interpreter. Secrets stay references."""
        from elsewhere.model.resources import Resources

        found = self.run(profile, job)
        values = {key: found[key].value for key in _SPEC if key in found}
        values.update(_variables(found.get("env", {})))
        if "retries" in found:
            values["retry"] = _policy({key: leaf.value for key, leaf in found["retries"].items()})
        if "resources" in found:
            values["resources"] = Resources(**{key: leaf.value for key, leaf in found["resources"].items()})
        return values

    def wants(self, profile: str = "", job: str = "") -> dict[str, Any]:
        """What `run` asks of machines, by the keys of settings.Machines; only what is set."""
        if not (found := self.run(profile, job)):
            return {}  # the usual case, as in `run`
        from elsewhere.config.shape import MACHINES

        return {key: found[key].value for key in MACHINES if key in found}

    def value(self, key: str, profile: str = "", job: str = "") -> Any:
        """One key of `run` (on, python, keep, max_state, ...); None when it is not set."""
        leaf = self.run(profile, job).get(key)
        return None if leaf is None else leaf.value

    def job(self, name: str, profile: str = "") -> JobEntry:
        """What `elsewhere run NAME` runs; how it runs is `spec(job=name)`."""
        from elsewhere.config.shape import RUN, common

        entry = self._entry("jobs", name)
        what = {key: leaf.value for key, leaf in entry.items() if key not in RUN}
        # Paths are seen from the file that says what is run, also where another adds how.
        says: list[str] = [key for key in ("tasks", "entry", "command", "script", "each_line") if key in what]
        file = entry[(says or list(what))[0]].origin.rpartition(":")[0] if what else ""
        own = common({key: leaf for key, leaf in entry.items() if key in RUN}, self._run(profile, name))
        return JobEntry(name, self.directories.get(file, Path.cwd()), what, own)

    def places(self) -> dict[str, Place]:
        """The places that files define."""
        from elsewhere.model.place import Limits, Place

        found = {}
        for name in self.names("places"):
            entry = self.tree["places"][name]
            limits = {key: leaf.value for key, leaf in entry.get("limits", {}).items()}
            values = {key: leaf.value for key, leaf in entry.get("settings", {}).items()}
            wants = {key: leaf.value for key, leaf in entry.get("wants", {}).items()}
            backend = entry["backend"].value if "backend" in entry else name
            script = entry["startup_script"].value if "startup_script" in entry else ""
            found[name] = Place(name, backend, values, Limits(**limits), script, wants)
        return found

    def environment(self, name: str) -> Environment:
        """That entry of `environments:`. UnknownPlace: there is none."""
        from elsewhere.model.job import Environment

        return Environment(**{key: leaf.value for key, leaf in self._entry("environments", name).items()}, name=name)

    def shown(self, profile: str = "", call: Mapping[str, Any] | None = None) -> list[tuple[str, str, str]]:
        """(key, value, where it comes from) of all that is in force: what is built in, files, variables, the call.

        Values are written as files have them; a secret is only its reference.
        """
        from elsewhere.config import show

        return show.rows(self, profile, call or {})

    def _entry(self, section: str, name: str) -> Tree:
        entries: Tree = self.tree.get(section, {})
        if name not in entries:
            near = difflib.get_close_matches(name, entries, 1)
            known = ", ".join(sorted(entries)) or "none is defined"
            raise UnknownPlace(
                f"there is no {section.removesuffix('s')} {name!r}",
                hint=f"Did you mean {near[0]}?" if near else f"Known: {known}.",
            )
        found: Tree = entries[name]
        return found


def _variables(tree: Tree) -> dict[str, dict[str, str]]:
    """`env`, and `secrets` with references instead of values; each only where there is one."""
    plain = {key: leaf.value for key, leaf in tree.items() if isinstance(leaf.value, str)}
    kept = {key: str(leaf.value) for key, leaf in tree.items() if key not in plain}
    return {name: values for name, values in (("env", plain), ("secrets", kept)) if values}


def _policy(retries: dict[str, Any]) -> Any:
    from elsewhere.model.task import RetryPolicy

    return RetryPolicy(**retries)


def current(
    cwd: Path | None = None, environ: Mapping[str, str] | None = None, backends: Mapping[str, type] | None = None
) -> Settings:
    """The settings that hold in a directory. May be called as often as you like; files are read each time.

    `backends`: the dataclass of the settings of each backend whose places are to be checked. ConfigError: all faults of
    all files and variables, each with its file and line.
    """
    found, faults, _ = _current(cwd, environ, backends or {})
    if faults:
        from elsewhere.config import files

        raise files.error(faults)
    return found


def _current(
    cwd: Path | None, environ: Mapping[str, str] | None, backends: Mapping[str, type]
) -> tuple[Settings, list[str], bool]:
    """What can be read, what is wrong with it, and whether each file could be read at all."""
    from elsewhere.config import files

    known = os.environ if environ is None else environ
    paths = files.find(cwd or Path.cwd(), _user_directory(known))
    variables = {name: text for name, text in known.items() if is_setting(name)}
    profile = known.get(PREFIX + "PROFILE", "")
    if not paths and not variables:
        return Settings(profile=profile), [], True
    return _read(paths, variables, profile, backends, cwd or Path.cwd())


def is_setting(name: str) -> bool:
    """Whether a variable of this name says what settings do."""
    return name.startswith(PREFIX) and name not in _NOT_SETTINGS and not name.startswith(_OF_AGENTS)


def _read(
    paths: list[Path], variables: dict[str, str], profile: str, backends: Mapping[str, type], cwd: Path
) -> tuple[Settings, list[str], bool]:
    from elsewhere.config import files
    from elsewhere.config import variables as spoken
    from elsewhere.config.shape import Checker, merged

    faults: list[str] = []
    whole = True
    tree: Tree = {}
    directories: dict[str, Path] = {}
    for path in paths:
        shown = _short(path, cwd)
        directories[shown] = path.parent
        source = files.read(path, shown, faults)
        if source is not None:
            tree = merged(tree, Checker(source, faults, backends).file())
        whole = whole and source is not None
    faults += _same_names(tree)
    environ = spoken.tree(variables, faults)
    return Settings(tree, environ, tuple(directories), directories, profile), faults, whole


def _short(path: Path, cwd: Path) -> str:
    """As people would name it from here."""
    if path.is_relative_to(cwd):
        return str(path.relative_to(cwd))
    home = Path.home()
    return (
        f"~/{path.relative_to(home)}"
        if path.is_relative_to(home) and not cwd.is_relative_to(path.parent)
        else str(path)
    )


def _user_directory(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CONFIG_HOME", "")
    if os.name == "posix" and os.uname().sysname == "Linux":
        # What platformdirs says, without its import in each start of a command.
        return Path(base if base.startswith("/") else Path.home() / ".config") / "elsewhere"
    import platformdirs

    return platformdirs.user_config_path("elsewhere", appauthor=False)


def check(backends: Mapping[str, type] | None = None, installed: Collection[str] = ()) -> tuple[str, ...]:
    """The files that hold here, all good. ConfigError as `current`, and for profiles and places that are not there.

    `installed`: the names of all backends; without it places are not looked for.
    """
    found, faults, whole = _current(None, None, backends or {})
    if whole:  # else what is looked for may stand in the file that cannot be read
        faults += [
            *_missing_profiles(found),
            *_missing_environments(found),
            *(_missing_places(found, installed) if installed else ()),
        ]
    if faults:
        message = faults[0] if len(faults) == 1 else f"the settings have {len(faults)} faults"
        raise ConfigError(message, faults=tuple(faults))
    return found.files


def _same_names(tree: Tree) -> Iterator[str]:
    """Jobs are found by their names: two of one name would take each other's place."""
    seen: dict[str, str] = {}
    for entry, found in tree.get("jobs", {}).items():
        name = found["name"].value if "name" in found else entry
        if name in seen:
            origin = found["name"].origin if "name" in found else tree["jobs"][seen[name]]["name"].origin
            yield f"{origin}: the jobs {seen[name]} and {entry} have one name, {name!r}"
        seen.setdefault(name, entry)


def _missing_profiles(found: Settings) -> Iterator[str]:
    from elsewhere.config.faults import nearest

    profiles = found.names("profiles")
    for entry in found.tree.get("jobs", {}).values():
        if "profile" in entry and (name := entry["profile"].value) not in profiles:
            yield f"{entry['profile'].origin}: there is no profile {name!r}{nearest(name, profiles)}"


def _missing_environments(found: Settings) -> Iterator[str]:
    from elsewhere.config.faults import nearest

    environments, tree = found.names("environments"), found.tree
    runs = [tree.get("default", {}), *tree.get("profiles", {}).values(), *tree.get("jobs", {}).values(), found.environ]
    for run in runs:
        if "environment" in run and (name := run["environment"].value) not in environments:
            origin = run["environment"].origin
            yield f"{origin}: there is no environment {name!r}{nearest(name, environments)}"


def _missing_places(found: Settings, installed: Collection[str]) -> Iterator[str]:
    from elsewhere.config.faults import nearest

    tree = found.tree
    for name, entry in tree.get("places", {}).items():
        backend = entry["backend"].value if "backend" in entry else name
        if backend not in installed:
            where = f"{entry['backend'].origin}: " if "backend" in entry else ""
            yield f"{where}places.{name}: there is no backend {backend!r}{nearest(backend, installed)}"
    places = {*installed, *tree.get("places", {})}
    runs = [tree.get("default", {}), *tree.get("profiles", {}).values(), *tree.get("jobs", {}).values(), found.environ]
    for run in runs:
        if "on" in run and (name := run["on"].value) not in places:
            yield f"{run['on'].origin}: there is no place {name!r}{nearest(name, places)}"
