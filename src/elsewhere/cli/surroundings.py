"""Where we stand: the working directory, whose Python runs the tasks, how many slots this machine gives us.

Composition of config, ship and model into a JobSpec; nothing is made here.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from elsewhere.cli import asking
from elsewhere.machine import cgroup_cpus as cgroup_cpus
from elsewhere.machine import default_slots as default_slots
from elsewhere.machine import is_login_node as is_login_node

if TYPE_CHECKING:
    from elsewhere.api.furnishing import Furnished
    from elsewhere.model.job import JobSpec
    from elsewhere.model.place import Place
    from elsewhere.ship.environment import Interpreter


def spec_of_command(asked: SimpleNamespace, name: str, place: Place, words: tuple[str, ...]) -> JobSpec:
    """The job of one command, of one for each line, or (no `words`) of one of its own for each task.

    Our own interpreter starts them; whose it is does not matter, but for a script that it shall run itself.
    """
    import sys

    from elsewhere.model.job import Entry

    furnished = furnish(asked, place)
    work = getattr(asked, "work", None)
    many = asked.each_line is not None or (work is not None and work.matrix)
    label = " ".join(words[:3]) if work is None or not work.words else work.label
    entry = Entry("command", "", () if many else words, label or "commands")
    scripted = words[:1] == ("",)
    python = interpreter(furnished.python or asked.python).path if scripted else sys.executable
    return _spec(asked, name, place, entry, python, ())


def is_here(place: Place) -> bool:
    """Whether tasks of this place run on this machine."""
    return place.backend == "local"


def _spec(
    asked: SimpleNamespace, name: str, place: Place, entry: Any, python: str, path: tuple[str, ...], cwd: str = ""
) -> JobSpec:
    import sys

    from elsewhere.model import ids
    from elsewhere.model.job import JobSpec

    directory = Path(cwd) if cwd else Path.cwd()
    fields = {**asking.settings(asked), **asked.furnished.fields, **_files(asked, place, directory)}
    fields.setdefault("slots", default_slots()[0])
    if fields["secrets"]:
        from elsewhere.config import secret

        secret.revealed(fields["secrets"])  # that they are there is seen before anything is made
    return JobSpec(
        id=ids.new("job"),
        name=name,
        entry=entry,
        place=place.name,
        backend="" if place.backend == place.name else place.backend,
        settings=dict(place.settings),
        python=python,
        cwd=str(directory),
        path=(*path, *asked.furnished.path),
        command_line=("elsewhere", *sys.argv[1:]),
        **fields,
    )


def interpreter(python: str | None) -> Interpreter:
    """The interpreter that runs the tasks: as asked for, else the user's nearest (ship/environment.py)."""
    from elsewhere.ship import environment

    return environment.interpreter(python or "")


def furnish(asked: SimpleNamespace, place: Place) -> Furnished:
    """What the environment that was asked for comes to, once; what it says to tasks goes to their variables."""
    if not hasattr(asked, "furnished"):
        asked.furnished = _furnish(asked, place)
        asked.furnished_env = asked.furnished.env
    found: Furnished = asked.furnished
    return found


def _furnish(asked: SimpleNamespace, place: Place) -> Furnished:
    from elsewhere.api import furnishing

    if asked.software is None:
        return furnishing.Furnished()
    return furnishing.furnish(asked.software, place, *_wanted(asked))


def _wanted(asked: SimpleNamespace) -> tuple[Path, str, str, str]:
    """What an environment is resolved for, besides its place: directory, interpreter, its version, processors."""
    found = interpreter(asked.python)
    return Path.cwd(), found.path, ".".join(map(str, found.version)), asked.architecture or ""


def check(asked: SimpleNamespace, place: Place) -> str:
    """What `run` would find wrong with the environment and the secrets, without making anything; what was resolved, a
    line, or nothing. UsageError, ConfigError."""
    from elsewhere.api import furnishing
    from elsewhere.config import secret
    from elsewhere.observe.wording import plural

    secret.revealed(asking.settings(asked)["secrets"])
    if asked.software is None:
        return ""
    if asked.software.image:
        furnishing.furnish(asked.software, place, *_wanted(asked))
        return f"tasks run in the image {asked.software.image}"
    found, processors = furnishing.resolved(asked.software, place, *_wanted(asked))
    count = len(found.pins) + len(found.conda)
    return f"the environment resolves: {plural(count, 'package')} for Python {found.python} on {processors}"


def _files(asked: SimpleNamespace, place: Place, cwd: Path) -> dict[str, Any]:
    """Inputs and outputs, as fields of a JobSpec."""
    from elsewhere.api import furnishing

    given, left = getattr(asked, "input", ()), getattr(asked, "output", ())
    return furnishing.files(given, left, place, cwd, getattr(asked, "software", None))


def spec_of_function(asked: SimpleNamespace, name: str, place: Place) -> JobSpec:
    """The job of a task list; its function is looked for in the interpreter that will call it, before anything runs."""
    from elsewhere.api import furnishing
    from elsewhere.ship import environment

    furnished = furnish(asked, place)
    furnishing.check_kind(furnished, "function")
    found = interpreter(furnished.python or asked.python)
    entry, asked.signature = environment.check_entry(asked.entry, found, elsewhere=bool(furnished.fields))
    asked.why = found.why
    return _spec(asked, name, place, entry, found.path, ())


def spec_of_worker(asked: SimpleNamespace, name: str, place: Place) -> JobSpec:
    """The job of a task list whose function is known only to the worker that its startup script starts."""
    from elsewhere.api import startup
    from elsewhere.errors import UsageError
    from elsewhere.model.job import Entry

    path = Path(asked.startup_script)
    startup.check_place(place)
    text = startup.read(path)
    inputs: Any = getattr(asked, "input", ())
    if asked.software is not None or inputs:
        what = "an environment" if asked.software is not None else "inputs"
        raise UsageError(f"{what} and a startup script are one too many",
                         hint="The script itself installs and fetches what tasks need.")  # fmt: skip
    furnish(asked, place)
    return startup.with_startup(_spec(asked, name, place, Entry("function"), "", ()), text, path.name)


def own_spec(name: str, entry: str, directory: Path, slots: int | None) -> JobSpec:
    """The job of a function of ours in `directory`, in our own interpreter, with the defaults of everything."""
    import sys

    from elsewhere.model import ids
    from elsewhere.model.job import Entry, JobSpec

    target = f"{directory / entry}"
    return JobSpec(
        id=ids.new("job"),
        name=name,
        entry=Entry("function", target, name=entry.rpartition(":")[2]),
        slots=slots or default_slots()[0],
        python=sys.executable,
        cwd=str(directory),
        command_line=("elsewhere", *sys.argv[1:]),
    )
