"""Shell completion for bash, zsh and fish, generated from the commands' own declarations.

A TAB starts no Python but for the names of jobs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from elsewhere.cli.grammar import Command, Option
from elsewhere.cli.table import COMMANDS
from elsewhere.cli.terminal import complain, say, tell

SHELLS = ("bash", "zsh", "fish")
MARK = "# elsewhere completion"
FRONT = ("--help", "--version", "--install-completion", "--show-completion")
FILES = ("FILE", "PATH", "MODULE:FUNCTION")


def main(words: Sequence[str]) -> int:
    """`--install-completion [SHELL]`, `--show-completion [SHELL]`, and `--complete jobs`, which the scripts ask."""
    if words[0] == "--complete":
        say(*jobs())
        return 0
    shell = words[1] if len(words) > 1 else Path(os.environ.get("SHELL", "")).name
    if shell not in SHELLS:
        complain(
            f"there is no completion for {shell!r}" if shell else "which shell is yours?",
            hint=f"Name one: elsewhere {words[0]} {'|'.join(SHELLS)}",
        )
        return 2
    text = script(shell)
    if words[0] == "--show-completion":
        sys.stdout.write(text)
        return 0
    return install(shell, text)


def jobs() -> list[str]:
    """What may be typed for a job: names first, then ids."""
    from elsewhere import session
    from elsewhere.config.home import home

    names = sorted(path.name for path in (home() / "names").glob("[!.]*"))
    return ["@last", *names, *(files.id for files in session.listing()[:50])]


def commands() -> dict[str, Command]:
    return {name: import_module(module).COMMAND for name, (module, _) in COMMANDS.items()}


def script(shell: str) -> str:
    """The text that the shell reads."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]()


def install(shell: str, text: str) -> int:
    """Write the script where the shell finds it; add one line to the shell's own file where it does not by itself."""
    target = _target(shell)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    say(f"Wrote {target}.")
    start = {"bash": Path.home() / ".bashrc", "zsh": Path(os.environ.get("ZDOTDIR", Path.home())) / ".zshrc"}.get(shell)
    if start is not None:
        line = f"[ -r {_quoted(str(target))} ] && source {_quoted(str(target))}  {MARK}"
        old = start.read_text() if start.exists() else ""
        if MARK not in old:
            with start.open("a") as file:
                file.write(("" if not old or old.endswith("\n") else "\n") + line + "\n")
            say(f"Added one line to {start}.")
    tell("It works in the next shell that you open.")
    return 0


def _target(shell: str) -> Path:
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    if shell == "fish":
        return config / "fish" / "completions" / "elsewhere.fish"
    return data / "elsewhere" / f"completion.{shell}"


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


def _words_of(command: Command) -> list[str]:
    return sorted({name for option in command.options for name in option.names} | {"--help"})


def _choices(command: Command) -> dict[str, str]:
    """What the value of an option may be: words, `files`, or nothing that is known."""
    found = {}
    for option in command.options:
        kind = " ".join(option.choices) or ("files" if option.value in FILES else "")
        if option.value:
            found.update(dict.fromkeys(option.names, kind))
    return found


def _completes(command: Command) -> str:
    """What its first argument may be: `jobs`, `files`, words, or nothing."""
    return command.arguments[0].completes if command.arguments else ""


def _bash() -> str:
    found = commands()
    words = _quoted(" ".join([*found, *FRONT]))
    lines = [
        MARK,
        "_elsewhere() {",
        "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words= kind= place",
        "  COMPREPLY=()",
        f'  [ $COMP_CWORD -eq 1 ] && {{ COMPREPLY=($(compgen -W {words} -- "$word")); return; }}',
        "  for ((place = 2; place < COMP_CWORD; place++)); do",
        '    [ "${COMP_WORDS[place]}" = -- ] && { compopt -o default; return; }',
        "  done",
        # To bash the `=` of --name=value is a word of its own.
        '  [ "$word" = = ] && word= || { [ "$before" = = ] && before=${COMP_WORDS[COMP_CWORD-2]}; }',
        '  case "${COMP_WORDS[1]}:$before" in',
    ]
    for name, command in found.items():
        for option, kind in _choices(command).items():
            act = "compopt -o default" if kind == "files" else f'COMPREPLY=($(compgen -W {_quoted(kind)} -- "$word"))'
            lines.append(f"    {name}:{option}) {act}; return;;")
    lines += ["  esac", '  case "${COMP_WORDS[1]}" in']
    for name, command in found.items():
        lines.append(
            f"    {name}) words={_quoted(' '.join(_words_of(command)))}; kind={_quoted(_completes(command))};;"
        )
    lines += [
        f"    --install-completion|--show-completion) kind={_quoted(' '.join(SHELLS))};;",
        "  esac",
        '  case "$word" in',
        '    -*) COMPREPLY=($(compgen -W "$words" -- "$word"));;',
        '    *) case "$kind" in',
        '      jobs) COMPREPLY=($(compgen -W "$(elsewhere --complete jobs 2>/dev/null)" -- "$word"));;',
        "      files) compopt -o default;;",
        '      *) COMPREPLY=($(compgen -W "$kind" -- "$word"));;',
        "    esac;;",
        "  esac",
    ]
    return "\n".join([*lines, "}", "complete -F _elsewhere elsewhere"]) + "\n"


def _zsh() -> str:
    found = commands()
    described = " ".join(_quoted(f"{name}:{summary}") for name, (_, summary) in COMMANDS.items())
    lines = [
        "#compdef elsewhere",
        MARK,
        "_elsewhere() {",
        "  local -a options commands",
        "  local before=$words[CURRENT-1]",
        "  if (( CURRENT == 2 )); then",
        f"    [[ $PREFIX == -* ]] && {{ compadd -- {' '.join(FRONT)}; return }}",
        f"    commands=({described})",
        "    _describe command commands; return",
        "  fi",
        "  local -i dashes=${words[(i)--]}",
        "  (( dashes < CURRENT )) && { shift dashes words; (( CURRENT -= dashes )); _normal; return }",
        "  [[ $PREFIX == --*=* ]] && { before=${PREFIX%%=*}; compset -P '*=' }",
        '  case "$words[2]:$before" in',
    ]
    for name, command in found.items():
        for option, kind in _choices(command).items():
            act = "_files" if kind == "files" else f"compadd -- {kind}" if kind else ":"
            lines.append(f"    {name}:{option}) {act}; return;;")
    lines += ["  esac", '  case "$words[2]" in']
    for name, command in found.items():
        options = " ".join(
            _quoted(f"{spelled}:{option.help}") for option in command.options for spelled in option.names
        )
        kind = _completes(command)
        other = {"jobs": 'compadd -- ${(f)"$(elsewhere --complete jobs 2>/dev/null)"}', "files": "_files", "": ":"}
        act = other.get(kind, f"compadd -- {kind}")
        lines.append(f"    {name}) options=({options} '--help:Show this command'); "
                     f"if [[ $PREFIX == -* ]]; then _describe option options; else {act}; fi;;")  # fmt: skip
    lines += [
        f"    --install-completion|--show-completion) compadd -- {' '.join(SHELLS)};;",
        "  esac",
        "}",
        # A .zshrc that never started the completion system has no `compdef` yet.
        "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }",
        "compdef _elsewhere elsewhere",
    ]
    return "\n".join(lines) + "\n"


def _fish() -> str:
    lines = [
        MARK,
        # Not __fish_seen_subcommand_from: a job may be called like a command.
        "function __elsewhere_in",
        "    set -l words (commandline -opc)",
        '    test "$words[2]" = "$argv[1]"; and not contains -- -- $words[3..]',
        "end",
        "function __elsewhere_first",
        "    test (count (commandline -opc)) -eq 1",
        "end",
        "complete -c elsewhere -f",
        "complete -c elsewhere -n 'contains -- -- (commandline -opc)' -F",
        "complete -c elsewhere -n __elsewhere_first -l help -d 'Show the commands'",
        "complete -c elsewhere -n __elsewhere_first -l version -d 'Show the version'",
    ]
    for asked, does in (("install-completion", "Write the completion of a shell"), ("show-completion", "Print it")):
        lines.append(f"complete -c elsewhere -n __elsewhere_first -l {asked} -d '{does}'")
        lines.append(f"complete -c elsewhere -n '__elsewhere_in --{asked}' -a '{' '.join(SHELLS)}'")
    for name, (_, summary) in COMMANDS.items():
        lines.append(f"complete -c elsewhere -n __elsewhere_first -a {name} -d {_quoted(summary)}")
    for name, command in commands().items():
        here = f"complete -c elsewhere -n '__elsewhere_in {name}'"
        kind = _completes(command)
        if kind:
            named = {"jobs": "-k -a '(elsewhere --complete jobs 2>/dev/null)'", "files": "-F"}
            lines.append(f"{here} {named.get(kind, f'-a {_quoted(kind)}')}")
        for option in command.options:
            names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names)
            lines.append(f"{here} {names}{_fish_value(option)} -d {_quoted(option.help)}")
        lines.append(f"{here} -l help -d 'Show this command'")
    return "\n".join(lines) + "\n"


def _fish_value(option: Option) -> str:
    if option.choices:
        return f" -x -a {_quoted(' '.join(option.choices))}"
    if option.value in FILES:
        return " -r -F"
    return " -x" if option.value else ""
