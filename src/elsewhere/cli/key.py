"""`elsewhere key`: the Ed25519 key that signs this user's jobs."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

from elsewhere.cli.grammar import Argument, Command, Option, nearest
from elsewhere.cli.terminal import is_terminal, say, say_json, tell
from elsewhere.errors import UsageError

ACTIONS = ("show", "export", "import", "rotate")

COMMAND = Command(
    "key",
    about="The key that signs your jobs, made at first use and readable by you alone. `export` prints the private\n"
    "key: keep it as you keep a password. `rotate` makes a new one; what the old one signed is still believed.",
    arguments=[
        Argument(
            "ACTION", "show (the public key), export, import, or rotate.", default="show", completes=" ".join(ACTIONS)
        ),
        Argument("FILE", "Where to export to, or import from; - or none: standard output or input.", completes="files"),
    ],
    options=[
        Option("--yes", "-y", help="Do not ask before showing the private key or replacing one."),
        Option("--json", help="Write JSON on standard output (show and rotate)."),
    ],
    usage=[
        "elsewhere key [show]",
        "elsewhere key export [FILE]",
        "elsewhere key import [FILE]",
        "elsewhere key rotate",
    ],
)


def main(asked: SimpleNamespace) -> int:
    if asked.action not in ACTIONS:
        raise UsageError(
            f"a key cannot {asked.action!r}" + nearest(asked.action, ACTIONS), hint="`elsewhere key --help`"
        )
    if asked.file and asked.action in ("show", "rotate"):
        raise UsageError(f"{asked.action} takes no file", hint="`elsewhere key --help`")
    return {"show": _show, "export": _export, "import": _import, "rotate": _rotate}[asked.action](asked)


def _text64(public: bytes) -> str:
    """A public key as people pass it on; key.pub holds the same."""
    import base64

    return base64.b64encode(public).decode()


def _show(asked: SimpleNamespace) -> int:
    from elsewhere.config.home import home
    from elsewhere.ship import seal

    public = _text64(seal.public())
    if asked.json:
        say_json({"public": public, "file": str(home() / "key")})
    else:
        say(public)
        tell(f"The public half of {home() / 'key'}; it may be shown to anybody.")
    return 0


def _export(asked: SimpleNamespace) -> int:
    from elsewhere.config.home import home
    from elsewhere.ship import seal

    text = seal.export()
    if asked.file in (None, "-"):
        if is_terminal(sys.stdout) and not asked.yes:
            raise UsageError(
                "this would show your private key on the screen", hint="Name a file, pipe it on, or say --yes."
            )
        sys.stdout.write(text)
        return 0
    from elsewhere.hosts import write_new

    target = Path(asked.file).expanduser()
    if target.exists():
        raise UsageError(f"{target} is there already", hint="Name a file that is not.")
    write_new(target, text.encode())
    tell(f"The private key of {home()} is in {target}, readable by you alone.")
    return 0


def _import(asked: SimpleNamespace) -> int:
    from elsewhere.config.home import location
    from elsewhere.ship import seal

    text = sys.stdin.read() if asked.file in (None, "-") else _text(Path(asked.file).expanduser())
    if (location() / "key").exists() and not asked.yes and text.strip() != seal.export().strip():
        raise UsageError(
            "there is a key already, and jobs that it signed",
            hint="Say --yes to replace it; the old one is still believed.",
        )
    seal.import_(text)
    tell(f"Imported; your jobs are signed by {_text64(seal.public())} from now on.")
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except UnicodeDecodeError:
        raise UsageError(
            f"{path} holds no key: it is not text", hint="Give what `elsewhere key export` wrote."
        ) from None


def _rotate(asked: SimpleNamespace) -> int:
    from elsewhere.ship import seal

    public = _text64(seal.rotate())
    if asked.json:
        say_json({"public": public})
    else:
        say(public)
        tell("A new key signs your jobs from now on; what the old one signed is still believed.")
    return 0
