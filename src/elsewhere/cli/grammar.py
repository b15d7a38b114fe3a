"""What may be typed after a command's name, declared as data and read by one function.

Help pages, shell completion and the reference in docs/ are drawn from the same declarations. Written by hand because
importing a library for it costs more than the whole of `elsewhere status` may (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from elsewhere.errors import UsageError

Parse = Callable[[str], Any]


class WrongWords(UsageError):
    """The command line cannot be read; `faults` holds every fault of it."""

    def __init__(self, message: str, *, hint: str = "", faults: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.faults = faults


class HelpAsked(Exception):
    """--help stood on the line."""


class Option:
    """`names` as typed, long one first; a flag if `value` (what its value is called in help) is empty.

    `alone`: what it means without a value, which is then given as `--name=VALUE` only.
    """

    def __init__(
        self,
        *names: str,
        help: str,
        value: str = "",
        parse: Parse = str,
        default: Any = None,
        many: bool = False,
        choices: Sequence[str] = (),
        group: str = "Options",
        alone: Any = None,
    ) -> None:
        self.names, self.help, self.value, self.parse = names, help, value, parse
        self.many, self.choices, self.group, self.alone = many, tuple(choices), group, alone
        self.default = default if value or default is not None else False
        self.key = names[0].lstrip("-").replace("-", "_")

    def read(self, text: str) -> Any:
        if self.choices and text not in self.choices:
            raise ValueError(f"{text!r} is not one of {', '.join(self.choices)}" + nearest(text, self.choices))
        return self.parse(text)


class Argument:
    """A word that is no option. `many`: all that remain. `completes`: what the shell offers (jobs, files, or words)."""

    def __init__(
        self,
        name: str,
        help: str,
        *,
        default: Any = None,
        many: bool = False,
        required: bool = False,
        completes: str = "",
    ) -> None:
        self.name, self.help, self.default, self.many, self.required = name, help, default, many, required
        self.completes = completes
        self.key = name.lower().replace("-", "_").replace("|", "_")


class Command:
    """One command's grammar. `rest`: what comes after `--`, as it is called in help; empty: nothing may."""

    def __init__(
        self,
        name: str,
        *,
        about: str,
        arguments: Sequence[Argument] = (),
        options: Sequence[Option] = (),
        rest: str = "",
        usage: Sequence[str] = (),
        examples: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.name, self.about, self.arguments, self.options = name, about, tuple(arguments), tuple(options)
        self.rest, self.usage, self.examples = rest, tuple(usage), tuple(examples)
        self.by_name = {name: option for option in options for name in option.names}

    def usages(self) -> tuple[str, ...]:
        if self.usage:
            return self.usage
        words = [f"elsewhere {self.name}"]
        for argument in self.arguments:
            word = argument.name + ("..." if argument.many else "")
            words.append(word if argument.required else f"[{word}]")
        return (" ".join([*words, *(["[OPTIONS]"] if self.options else [])]),)


def nearest(word: str, words: Sequence[str] | Iterator[str]) -> str:
    """`; did you mean X?`, or nothing."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(words), 1, 0.6)
    return f"; did you mean {close[0]}?" if close else ""


def read(command: Command, words: Sequence[str]) -> SimpleNamespace:
    """The values of all options and arguments by key, among them `rest` (None when no `--` was typed), and `typed`: all
    words as they were.

    WrongWords names every fault of the line at once. HelpAsked if -h or --help stands before `--`.
    """
    return _Reader(command, words).read()


class _Reader:
    def __init__(self, command: Command, words: Sequence[str]) -> None:
        self.command, self.words, self.typed = command, list(words), tuple(words)
        self.faults: list[str] = []
        self.loose: list[str] = []
        self.given: dict[str, Any] = {}
        self.rest: list[str] | None = None

    def read(self) -> SimpleNamespace:
        while self.words:
            word = self.words.pop(0)
            if word == "--":
                self._take_rest()
            elif word in ("--help", "-h"):
                raise HelpAsked
            elif word.startswith("--"):
                self._long(word)
            elif word.startswith("-") and len(word) > 1 and not word[1:].replace(".", "").isdigit():
                self._short(word)
            else:
                self.loose.append(word)
        values = {
            option.key: self.given.get(option.key, [] if option.many else option.default)
            for option in self.command.options
        }
        values.update(self._arguments())
        if self.faults:
            raise WrongWords(
                f"{self.command.name}: " + (self.faults[0] if len(self.faults) == 1 else f"{len(self.faults)} faults"),
                hint=f"`elsewhere {self.command.name} --help` shows what may be typed.",
                faults=tuple(self.faults) if len(self.faults) > 1 else (),
            )
        return SimpleNamespace(**values, rest=self.rest, typed=self.typed)

    def _take_rest(self) -> None:
        if self.command.rest:
            self.rest = self.words[:]
        else:
            self.loose += self.words
        self.words.clear()

    def _long(self, word: str) -> None:
        name, equals, value = word.partition("=")
        option = self.command.by_name.get(name.replace("_", "-"))
        if option is None:
            names = [n for n in self.command.by_name if n.startswith("--")]
            self.faults.append(f"there is no option {name}" + nearest(name, names))
            if not equals and self.words and not self.words[0].startswith("-"):
                self.words.pop(0)
        elif not option.value:
            if equals:
                self.faults.append(f"{name} takes no value")
            self.given[option.key] = True
        elif option.alone is not None and not equals:
            self.given[option.key] = option.alone
        else:
            self._value(option, name, value if equals else None)

    def _short(self, word: str) -> None:
        for place, letter in enumerate(word[1:], 1):
            option = self.command.by_name.get(f"-{letter}")
            if option is None:
                self.faults.append(f"there is no option -{letter}")
                return
            if option.value:
                self._value(option, f"-{letter}", word[place + 1 :] or None)
                return
            self.given[option.key] = True

    def _value(self, option: Option, name: str, text: str | None) -> None:
        if text is None:
            if not self.words or self.words[0] == "--" or self.words[0].partition("=")[0] in self.command.by_name:
                self.faults.append(f"{name} needs a value: {name} {option.value}")
                return
            text = self.words.pop(0)
        try:
            value = option.read(text)
        except ValueError as error:
            self.faults.append(f"{name}: {error}")
            return
        if option.many:
            self.given.setdefault(option.key, []).append(value)
        else:
            self.given[option.key] = value

    def _arguments(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for argument in self.command.arguments:
            if argument.many:
                values[argument.key], self.loose = self.loose, []
            else:
                values[argument.key] = self.loose.pop(0) if self.loose else argument.default
            if argument.required and not values[argument.key]:
                self.faults.append(f"{argument.name} is missing: {argument.help}")
        if self.loose:
            words = " ".join(map(repr, self.loose))
            hint = "; a command comes after --" if self.command.rest and self.rest is None else ""
            self.faults.append(f"{words}: one word more than is understood{hint}")
        return values


def page(command: Command, bold: bool = False) -> str:
    """The page that `elsewhere COMMAND --help` prints."""
    on, off = ("\x1b[1m", "\x1b[0m") if bold else ("", "")
    lines = [f"{on}Usage:{off} {command.usages()[0]}", *(f"       {usage}" for usage in command.usages()[1:])]
    lines += ["", command.about.strip()]
    if command.arguments:
        lines += ["", f"{on}Arguments{off}"]
        lines += _columns([(a.name, _default(a.help, a.default)) for a in command.arguments])
    for group in dict.fromkeys(option.group for option in command.options):
        rows = [(_names(o), _described(o)) for o in command.options if o.group == group]
        lines += ["", f"{on}{group}{off}", *_columns(rows)]
    if command.examples:
        lines += ["", f"{on}Examples{off}"]
        lines += _columns(list(command.examples))
    return "\n".join(lines) + "\n"


def _names(option: Option) -> str:
    short = [name for name in option.names if not name.startswith("--")]
    long = [name for name in option.names if name.startswith("--")]
    value = f"[={option.value}]" if option.alone is not None else f" {option.value}" * bool(option.value)
    return ", ".join(short + long) + value


def _described(option: Option) -> str:
    text = option.help + (f" One of {', '.join(option.choices)}." if option.choices else "")
    text += " May be given more than once." if option.many else ""
    return _default(text, option.default if option.value else None)


def _default(text: str, default: Any) -> str:
    return f"{text} [{default}]" if isinstance(default, str | int) and default != "" else text


def _columns(rows: Sequence[tuple[str, str]], width: int = 110) -> list[str]:
    left = min(max(len(name) for name, _ in rows), 44)
    lines = []
    for name, text in rows:
        head = f"  {name:<{left}}  "
        if len(name) > left:
            lines.append(f"  {name}")
            head = " " * (left + 4)
        for line in _wrapped(text, width - left - 4) if text or len(name) <= left else ():
            lines.append((head + line).rstrip())
            head = " " * (left + 4)
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) >= width:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    return [*lines, line]
