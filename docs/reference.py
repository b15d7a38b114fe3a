"""Draws the reference pages from the code: commands, Python names, settings, errors.

python docs/reference.py       writes docs/reference/*.md; each build of the documentation does so first
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

NOTE = "<!-- Drawn from the code by docs/reference.py: change it there. -->\n\n"


def write(directory: Path) -> None:
    """All pages, into `directory`. A file whose text is the same is left alone, so that a build has less to do."""
    directory.mkdir(exist_ok=True)
    pages = {"commands.md": commands(), "python.md": names(), "settings.md": settings(), "errors.md": errors()}
    pages["rooms.md"] = rooms()
    for name, text in pages.items():
        path = directory / name
        if not path.exists() or path.read_text("utf-8") != NOTE + text:
            path.write_text(NOTE + text, "utf-8")


def fenced(text: str, language: str = "text") -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"


def commands() -> str:
    """One section for each command of the table: the page that `elsewhere COMMAND --help` prints."""
    from elsewhere.cli import grammar
    from elsewhere.cli.front import front
    from elsewhere.cli.table import COMMANDS, GROUPS

    parts = ["# Commands\n", fenced(front())]
    for group, members in GROUPS.items():
        parts.append(f"## {group}\n")
        for name in members:
            module = import_module(COMMANDS[name][0])
            parts += [f"### elsewhere {name}\n", COMMANDS[name][1] + "\n", fenced(grammar.page(module.COMMAND))]
    parts.append(EXITS)
    return "\n".join(parts)


EXITS = """## Exit statuses

| status | meaning |
|---|---|
| 0 | all succeeded |
| 1 | some failed |
| 2 | bad input: nothing was created, changed or run |
| 3 | refused by a place |
| 70 | a mistake of Elsewhere's own; the message says where the story of it is |
| 130 | interrupted |

`elsewhere run -- COMMAND` ends as the command does: with its own status, 128+n after signal n, 127 if there is no such
command, 126 if it may not be run, and 125 for what goes wrong on our side.
"""


def names() -> str:
    """The public names of the package, with their signatures and docstrings."""
    import elsewhere

    parts = ["# Python\n", "All of these come from `elsewhere`, and are loaded when they are first used.\n"]
    for name in elsewhere.__all__:
        if name.startswith("__"):
            continue
        thing = getattr(elsewhere, name)
        parts += [f"## {name}\n", described(name, thing)]
        if inspect.isclass(thing):
            parts += members(name, thing)
    return "\n".join(parts)


def members(owner: str, thing: type) -> list[str]:
    """The public methods and properties that a class itself has, if they say what they do."""
    parts = []
    for name, member in vars(thing).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property) and member.fget is not None and inspect.getdoc(member):
            parts += [f"### {owner}.{name}\n", fenced(inspect.getdoc(member) or "")]
        elif (inspect.isfunction(member) or isinstance(member, classmethod)) and inspect.getdoc(member):
            parts += [f"### {owner}.{name}()\n", described(name, getattr(thing, name))]
    return parts


def described(name: str, thing: Any) -> str:
    try:
        signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(thing)))
    except (TypeError, ValueError):
        signature = ""
    head = fenced(f"{name}{signature}" if len(signature) < 100 else folded(name, signature), "text")
    doc = inspect.getdoc(thing) or ""
    return head + ("\n" + fenced(doc) if doc else "")


def folded(name: str, signature: str) -> str:
    """A long signature, one parameter a line."""
    inner, _, after = signature[1:].rpartition(")")
    depth, parts, part = 0, [], ""
    for letter in inner:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += letter
    parts += [part.strip()] if part.strip() else []
    return f"{name}(\n" + "".join(f"    {line},\n" for line in parts) + f"){after}"


def settings() -> str:
    """The keys of elsewhere.yaml, from the dataclasses that hold them."""
    from elsewhere.config import settings as module

    parts = ["# Settings\n", (inspect.getdoc(module) or "").split("\n\n")[0] + "\n"]
    parts += ["Hyphens and underscores in keys are one.\n"]
    for name, thing in vars(module).items():
        own = inspect.isclass(thing) and dataclasses.is_dataclass(thing) and thing.__module__ == module.__name__
        rows = [key(field) for field in dataclasses.fields(thing) if "about" in field.metadata] if own else []
        if rows:
            about = inspect.getdoc(thing) or ""
            parts += [f"## {name}\n", about + "\n", "| key | value | |", "|---|---|---|", *rows, ""]
    return "\n".join(parts)


def key(field: dataclasses.Field[Any]) -> str:
    """One row: the key, what its value may be, what it means."""
    return f"| `{field.name.replace('_', '-')}` | {field.metadata['kind'].name} | {field.metadata['about']} |"


def errors() -> str:
    """The tree of errors, and a section for each."""
    from elsewhere.errors import ElsewhereError

    tree: list[str] = []
    sections: list[str] = []

    def visit(error: type[ElsewhereError], depth: int) -> None:
        tree.append("   " * depth + error.__name__)
        section = [f"## {error.__name__}\n", (inspect.getdoc(error) or "") + "\n", facts(error)]
        sections.extend(section if section[0] not in sections else [])  # PayloadError stands under two parents
        for child in error.__subclasses__():
            if child.__module__ == "elsewhere.errors":
                visit(child, depth + 1)

    visit(ElsewhereError, 0)
    return "\n".join(["# Errors\n", "Named by what the reader does next.\n", fenced("\n".join(tree)), *sections])


def facts(error: Any) -> str:
    lines = [f"Exit status {error.exit_status}."]
    if getattr(error, "transient", False):
        lines.append("Asking again later may help.")
    return " ".join(lines) + "\n"


def rooms() -> str:
    """Each file of the package with the first sentence it says of itself, room by room."""
    top = Path(__file__).parents[1] / "src" / "elsewhere"
    parts = ["# Rooms\n", "Each file, with what it says of itself; the rooms in the order in which work travels.\n"]
    for room in FLOORS:
        files = [top / f"{room}.py"] if (top / f"{room}.py").exists() else sorted((top / room).rglob("*.py"))
        said = [(str(file.relative_to(top)), sentence(file)) for file in files]
        rows = [f"| `{name}` | {text} |" for name, text in said if text and not name.endswith("__init__.py")]
        about = sentence(top / room / "__init__.py") if (top / room).is_dir() else ""
        if rows:
            parts += [f"## {room}\n", about + "\n" if about else "", "| file | |", "|---|---|", *rows, ""]
    return "\n".join(parts)


FLOORS = ("cli", "integrations", "compat", "api", "session", "controller", "pool", "observe", "agent", "slot", "choose")
FLOORS += ("backends", "channels", "ship", "ledger", "stores", "hosts", "config", "model", "errors", "testing")


def sentence(file: Path) -> str:
    """The first line of a file's docstring, safe within a table."""
    doc = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return doc.partition("\n")[0].replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    write(Path(__file__).parent / "reference")
