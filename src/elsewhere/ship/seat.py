"""SHIP a controller: the text that puts all of us on a host, in a virtual environment. Pure; it holds no secret.

Below the place's directory there, `controller/` holds a folder for each version of us (`we-DIGEST`, and beside it its
environment), the state directory of all that sit there (`home`), and for each job the directory that it was run from
(`work/WORD`, and in its `.we` the version that it is asked by). When a version was last used is the time of its
environment (backends/sheds.py). Who asks starts `python -m elsewhere.cli.there` in that environment (`asking`).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from elsewhere.ship.script import Archive, fetching

HERE = "controller"


def folder(sort: str, digest: str) -> str:
    """Where an archive of this digest is unpacked."""
    return f"{sort}-{digest[:16]}"


def text(directory: str, fetch: str, archives: Sequence[Archive], python: str) -> str:
    """The first of these archives is ours; uv, which brings Python and environments, may be among them. Twice: nothing
    is fetched again."""
    we, uv = archives[0].folder, next((one for one in archives if one.folder.startswith("uv-")), None)
    asked = "".join(f"echo {we} >{shlex.quote(one.folder)}/.we\n" for one in archives if one.folder.startswith("work/"))
    return f"""\
umask 077
HERE={_home(directory)}/{HERE}; mkdir -p "$HERE/work" && cd "$HERE" || exit 73
{fetching(fetch, archives, python, uv, "exit 74")}{asked}{furnishing(we, uv.folder if uv else "")}"""


def furnishing(we: str, uv: str) -> str:
    """Lines that make our environment in the present directory, which is also in `HERE`, with the interpreter that
    `python` names. `uv`: its folder, if it is there. Twice: it is there. At the same moment as others: who is second
    drops its own."""
    link = f'[ -e "$its/bin/uv" ] || ln -sf "$HERE/{uv}/bin/uv" "$its/bin/uv"' if uv else ":"
    return f"""\
unset PYTHONPATH
its={we}.env
[ ! -e $its ] || {{ [ -e $its/.whole ] && {{ touch $its; {link}; exit; }}; rm -rf $its; }}
its=$its.$$
"$python" -m venv --without-pip "$its" || exit 75
for site in "$its"/lib/python*/site-packages; do echo "$HERE/{we}" >"$site/elsewhere.pth" || exit 73; done
{{ {link}; }} && : >"$its/.whole" || exit 73
[ -e {we}.env ] || mv "$its" {we}.env; rm -rf "$its" "{we}.env/$its"
[ -e {we}.env/.whole ]
"""


def asking(directory: str, we: str, module: str = "elsewhere.cli.there") -> list[str]:
    """The words that start what answers there; what is asked stands in the first line of its input."""
    run = f'touch -c {_home(directory)}/{HERE}/"$1".env; exec {_home(directory)}/{HERE}/"$1".env/bin/python -m "$2"'
    return ["sh", "-c", run, "sh", we, module]


def python(directory: str, we: str) -> str:
    """Our interpreter there, as a word for the shell."""
    return f"{_home(directory)}/{HERE}/{shlex.quote(we)}.env/bin/python"


def _home(directory: str) -> str:
    """For the shell: below the home of its user, unless it is a whole path."""
    return shlex.quote(directory) if directory.startswith("/") else f'"${{HOME:-/root}}"/{shlex.quote(directory)}'
