"""`elsewhere places add NAME`: a place is asked for, looked at, made ready, and written into elsewhere.yaml.

What is asked for, and what must be made there, its backend knows. Run again it goes on where it stopped: answers are
kept until they stand in the file, and everything that is there already stays.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli import finding
from elsewhere.cli.grammar import Argument, Command, Option, nearest
from elsewhere.cli.terminal import coloured, is_terminal, paint, tell
from elsewhere.errors import ConfigError, MissingExtra, UsageError

if TYPE_CHECKING:
    from elsewhere.backends.base import Finding
    from elsewhere.backends.newcomers import Suggestion
    from elsewhere.config.kinds import Kind

REFUSED = 3
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_FILE = "elsewhere.yaml"


def command() -> Command:
    """Its grammar: an option for each key that any backend has."""
    groups: dict[str, list[str]] = {}
    many: dict[str, bool] = {}
    for backend, kinds in _backends().items():
        for key, kind in kinds.items():
            groups.setdefault(key, []).append(backend)
            many[key] = kind.name == "a mapping"
    asks = {
        key: f"{text[:1].upper()}{text[1:]}." for backend in _backends() for key, text in _questions(backend).items()
    }
    keys = [
        Option(f"--{key.replace('_', '-')}", value="KEY=VALUE" if many[key] else "VALUE", many=many[key],
               help=asks.get(key, f"`{key.replace('_', '-')}:` of the place."), group=f"Keys of {' and '.join(names)}")
        for key, names in sorted(groups.items(), key=lambda item: item[1])
    ]  # fmt: skip
    own = [
        Option("--backend", value="BACKEND", help="What kind of place it is; by default that to which the others "
               "belong: --login is slurm, --hosts is ssh."),
        Option("--container", value="NAME=IMAGE", parse=container, many=True,
               help="A container for its tasks: its entry of `environments:` is written, and the image is brought. "
               "IMAGE: a name that is pulled there, an archive of one, Dockerfile:TARGET, which is built here by "
               "Podman or Docker, or docker-daemon:NAME, which one of these has."),
        Option("--file", value="FILE", parse=Path, help="The settings file to write into; by default the "
               "nearest elsewhere.yaml, else one here."),
        Option("--yes", "-y", help="Ask nothing: what has no option is as it is suggested."),
    ]  # fmt: skip
    return Command(
        "places add",
        about="Sets up a place: asks what it must know, checks that it may be used, makes what must be there once (a\n"
        "directory, Python, containers), and writes it into elsewhere.yaml. Each answer may be an option.\n"
        "Run again it goes on where it stopped. Exit status: 0 it may be used, 3 the place said no.",
        arguments=[Argument("NAME", "What the place is to be called.", required=True)],
        options=[*own, *keys],
        usage=["elsewhere places add NAME [--backend BACKEND] [--KEY VALUE]... [--container NAME=IMAGE]... [--yes]"],
        examples=[
            ("elsewhere places add hpc --login alice@login.cluster", ""),
            ("elsewhere places add lab --hosts node1,node2", ""),
            ("elsewhere places add cloud --backend aws --region us-west-2", ""),
            ("elsewhere places add hpc --container gcam=Dockerfile:gcam", "its containers, later"),
        ],
    )


def container(text: str) -> tuple[str, str]:
    name, equals, image = text.partition("=")
    if not (equals and image and _NAME.fullmatch(name)):
        raise ValueError(f"{text!r} is not NAME=IMAGE, for example gcam=Dockerfile:gcam")
    return name, image


def main(asked: SimpleNamespace) -> int:
    from elsewhere.cli import containing

    if not _NAME.fullmatch(asked.name):
        raise UsageError(f"{asked.name!r} cannot name a place: letters, digits, '.', '_' and '-'")
    place = _Place(asked)
    place.answer()
    if not place.make_ready():
        return REFUSED
    place.write()
    if not containing.bring(place.name, place.file, asked.container):
        return REFUSED
    tell("", f"{place.name} is ready. Try it:", f"  elsewhere run --on {place.name} -- hostname")
    return 0


class _Place:
    """One that is being set up."""

    def __init__(self, asked: SimpleNamespace) -> None:
        self.name, self.asked, self.yes = asked.name, asked, bool(asked.yes)
        self.file = _file(asked.file)
        self.there = self._of_file()
        self.answers: dict[str, Any] = {}
        self.passed: list[str] = []
        """Keys that were asked for and are left out."""
        self.backend = ""

    # --- what it is

    def answer(self) -> None:
        """Its settings: those that stand in a file, those that are typed, those of the last time, and answers."""
        typed = {key: getattr(self.asked, key) for kinds in _backends().values() for key in kinds}
        typed = {key: value for key, value in typed.items() if value not in (None, [])}
        if self.there is not None:
            return self._as_it_stands(typed)
        kept = _read(self.draft)
        self.backend = self.asked.backend or kept.get("backend", "") or self._guessed(typed)
        kinds = _backends(self.backend)[self.backend]
        if kept.get("backend") == self.backend:
            self.answers, self.passed = dict(kept["settings"]), list(kept["passed"])
        if self.answers:
            tell(f"Going on with what was answered before: {_shown(self.answers)}. An option answers anew.")
        self.answers.update({key: _plain(key, value, kinds) for key, value in typed.items()})
        missing = [key for key in typed if key not in kinds]
        if missing:
            raise UsageError(f"{self.backend} has no key {missing[0]}" + nearest(missing[0], list(kinds)),
                             hint=f"It has: {', '.join(kinds)}.")  # fmt: skip
        self._keep()
        questions = _questions(self.backend)
        for key, text in questions.items():
            if key not in self.answers and key not in self.passed:
                self._ask(key, text, list(questions))

    def _as_it_stands(self, typed: Mapping[str, Any]) -> None:
        assert self.there is not None
        self.backend, self.answers = self.there.backend, {}
        kinds = _backends(self.backend)[self.backend]
        stands = {key.replace("-", "_"): value for key, value in self.there.settings.items()}
        for key, value in typed.items():
            plain = _plain(key, value, kinds)
            if key not in kinds or key not in stands or kinds[key].read(plain) != kinds[key].read(stands[key]):
                raise UsageError(f"{self.name} is a place already, and its {key.replace('_', '-')} is "
                                 f"{stands.get(key, 'not set')}", hint="Change it in the settings file, or set up "
                                 "a place of another name.")  # fmt: skip
        tell(f"{self.name} stands in the settings already: going on with what must be there.")

    def _of_file(self) -> Any:
        from elsewhere.config import load

        return load.current().places().get(self.name)

    def _guessed(self, typed: Mapping[str, Any]) -> str:
        """The one backend that has all of these keys, or that the place is called like."""
        all_of = _backends()
        fit = [name for name, kinds in all_of.items() if set(typed) <= set(kinds)] if typed else []
        if len(fit) == 1:
            return fit[0]
        if self.name in all_of:
            return str(self.name)
        raise UsageError(f"what kind of place is {self.name}?", hint=f"Say --backend {'|'.join(fit or all_of)}.")

    # --- asking

    def _ask(self, key: str, text: str, wanted: Sequence[str]) -> None:
        from elsewhere.backends.newcomers import Suggestion, Suggests

        if not self.yes and not _is_watched():
            left = [f"--{one.replace('_', '-')}" for one in wanted if one not in self.answers]
            raise UsageError(f"nobody can be asked here for {', '.join(left)}",
                             hint="Give these, or --yes to take what is suggested.")  # fmt: skip
        built = self._built()
        self._greet(built)
        said = built.suggest(key) if isinstance(built, Suggests) else Suggestion()
        kind = _backends(self.backend)[self.backend][key]
        while True:
            answer = said.default if self.yes else _prompt(text, said)
            try:
                plain = _plain(key, _checked(answer, said), {key: kind}) if answer else None
                self.answers = {**self.answers, **({} if plain is None else {key: plain})}
                self._built()
            except (ValueError, UsageError, ConfigError) as error:
                self.answers.pop(key, None)
                if self.yes:
                    raise
                tell(f"  {getattr(error, 'message', error)}" + f" {getattr(error, 'hint', '')}".rstrip())
                continue
            self.passed += [key] * (key not in self.answers)
            self._keep()
            return

    def _greet(self, built: Any) -> None:
        """Whoever sits at a terminal lets us in there, where that is wanted."""
        from elsewhere.backends.base import Greets

        if _is_watched() and isinstance(built, Greets):
            built.greet()

    def _settings(self) -> dict[str, Any]:
        return dict(self.there.settings) if self.there is not None else self.answers

    def _built(self) -> Any:
        from elsewhere.backends import registry
        from elsewhere.model.place import Place

        kinds = _backends(self.backend)[self.backend]
        plain = {key: value if self.there is not None else kinds[key].read(value)
                 for key, value in self._settings().items()}  # fmt: skip
        return registry.build(Place(self.name, self.backend, plain))

    # --- making

    def make_ready(self) -> bool:
        """Whether all is well there; each finding is shown as it comes."""
        from elsewhere.backends.newcomers import Enters, Readies

        built = self._built()
        self._greet(built)
        if not all([finding.show(self.name, one) for one in _until_bad(built.ready() if isinstance(built, Readies)
                                                                       else built.check())]):  # fmt: skip
            tell(f"Nothing was written. Once that is mended: elsewhere places add {self.name}")
            return False
        if isinstance(built, Enters):
            from elsewhere.backends.base import Finding
            from elsewhere.controller import entering

            finding.show(self.name, Finding("Python", True, entering.python(built)))
        return True

    def write(self) -> None:
        """Into the file; nothing, where it stands there."""
        from elsewhere.config import edit
        from elsewhere.hosts import write_whole

        if self.there is None:
            entry = {"backend": self.backend} if self.backend != self.name else {}
            entry |= {key.replace("_", "-"): value for key, value in self.answers.items()}
            text = self.file.read_text("utf-8") if self.file.exists() else ""
            mode = self.file.stat().st_mode & 0o777 if self.file.exists() else 0o644
            write_whole(self.file, edit.added(text, "places", self.name, entry).encode(), mode)
            near = self.file.relative_to(Path.cwd()) if self.file.is_relative_to(Path.cwd()) else self.file
            tell(f"{near}: places: {self.name}: {edit.flow(entry)}")
        self.draft.unlink(missing_ok=True)

    # --- what was answered, until it stands in the file

    @property
    def draft(self) -> Path:
        from elsewhere.config.home import home

        return home() / "adding" / f"{self.name}.json"

    def _keep(self) -> None:
        from elsewhere.hosts import private_directory, write_whole

        private_directory(self.draft.parent)
        write_whole(
            self.draft, json.dumps({"backend": self.backend, "settings": self.answers, "passed": self.passed}).encode()
        )


def _is_watched() -> bool:
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def _until_bad(found: Iterable[Finding]) -> Iterable[Finding]:
    for one in found:
        yield one
        if not one.ok:
            return


def _prompt(text: str, said: Suggestion) -> str:
    on = coloured(sys.stderr)
    usual = said.default or (said.means and f"empty: {said.means}")
    tell(*(paint(f"  {line}", "dim", on) for line in said.shown))
    sys.stderr.write(f"{paint(text, 'bold', on)}{f' [{usual}]' if usual else ''}: ")
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise KeyboardInterrupt
    return line.strip() or said.default


def _checked(answer: str, said: Suggestion) -> str:
    wrong = [one for one in answer.split(",") if said.known and one not in said.known]
    if wrong:
        raise ValueError(f"there is no {wrong[0]}" + nearest(wrong[0], list(said.known)))
    return answer


def _plain(key: str, value: Any, kinds: Mapping[str, Kind]) -> Any:
    """What was typed, as a settings file would have it. UsageError: it cannot be."""
    import yaml

    kind = kinds.get(key)
    if kind is None or not isinstance(value, str | list):
        return value
    try:
        if isinstance(value, list) and all(isinstance(one, str) and "=" in one for one in value):
            plain: Any = {name: yaml.safe_load(text) for name, _, text in (one.partition("=") for one in value)}
        elif "array" in str(kind.schema.get("type", "")) or kind.name == "anything":
            plain = value.split(",") if isinstance(value, str) and "," in value else value
        else:
            plain = value if "string" in str(kind.schema.get("type")) else yaml.safe_load(str(value))
        kind.read(plain)
    except (ValueError, yaml.YAMLError) as error:
        raise UsageError(f"--{key.replace('_', '-')} {error}") from None
    return plain


def _backends(only: str = "") -> dict[str, dict[str, Kind]]:
    """The keys of each backend that can be loaded here. UnknownPlace, MissingExtra: of that one."""
    from elsewhere.backends import registry
    from elsewhere.config import kinds

    found = {}
    for name in [only] if only else registry.names():
        try:
            found[name] = kinds.of_fields(registry.load(name).Settings)
        except MissingExtra:
            if only:
                raise
    return found


def _questions(backend: str) -> dict[str, str]:
    """The keys that a person is asked for, and how."""
    from dataclasses import fields

    from elsewhere.backends import registry

    return {one.name: one.metadata["ask"] for one in fields(registry.load(backend).Settings) if "ask" in one.metadata}


def _file(named: Path | None) -> Path:
    from elsewhere.config import files

    if named is not None:
        return named.expanduser().absolute()
    found = [path for path in files.find(Path.cwd(), Path("/nonexistent")) if path.name in files.NAMES]
    return found[-1] if found else Path.cwd() / _FILE


def _read(draft: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(draft.read_text())
        return found
    except (OSError, ValueError):
        return {}


def _shown(answers: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', '-')} {value}" for key, value in answers.items())
