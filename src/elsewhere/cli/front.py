"""The top-level help, drawn from the static table alone.

Nothing but the table may be imported: this is the page whose speed people feel first.
"""

from __future__ import annotations

from elsewhere.cli.table import COMMANDS, GROUPS

EXAMPLES = """\
  elsewhere demo                                              see it work
  elsewhere run tasks.json --entry my_worker:process_task     run a task list here
  elsewhere run -- python train.py --epochs 3                 run one command
  elsewhere status                                            how the last job stands"""


def front(bold: bool = False) -> str:
    """The page that `elsewhere --help` prints. `bold`: headings in bold, for terminals that want it."""
    on, off = ("\x1b[1m", "\x1b[0m") if bold else ("", "")
    lines = ["Write it here, run it elsewhere: functions, commands and task lists.", ""]
    lines += [f"{on}Usage:{off} elsewhere COMMAND [OPTIONS]", ""]
    for group, names in GROUPS.items():
        lines.append(f"{on}{group}{off}")
        lines += [f"  {name:<12} {COMMANDS[name][1]}" for name in names]
        lines.append("")
    lines += [f"{on}Begin{off}", EXAMPLES, ""]
    lines += [
        "A job is named by its name, a unique beginning of its id, or @last (the default); a task is JOB/TASK.",
        "`elsewhere COMMAND --help` shows a command's options; --version, --install-completion [SHELL].",
    ]
    return "\n".join(lines) + "\n"
