"""What lies at a place already, and need not travel: looked at through the host by which its files are reached."""

from __future__ import annotations

import difflib

from elsewhere.errors import UsageError
from elsewhere.model.place import Place

_LOOK = '[ -e "$1" ] && exit 0; ls -A -- "$(dirname -- "$1")" 2>/dev/null; exit 44'
_ABSENT = 44


def image(place: Place, path: str) -> bool:
    """Is this whole path an image file there? False: nobody can know from here. UsageError: it is not, with what is
    like it. PlaceError: the host does not answer."""
    from elsewhere.backends import registry
    from elsewhere.backends.base import Lodges

    backend = registry.build(place)
    lodging = backend.lodging() if isinstance(backend, Lodges) else None
    if lodging is None:
        return False
    host, _ = lodging
    done = host.run(["sh", "-c", _LOOK, "sh", path])
    if done.status != _ABSENT:
        return done.ok
    folder, _, name = path.rpartition("/")
    like = difflib.get_close_matches(name, done.out.decode("utf-8", "replace").splitlines(), 1)
    raise UsageError(f"there is no image file {path} here, nor on {host.name}",
                     hint=f"Did you mean {folder}/{like[0]}?" if like else "Nothing was started.")  # fmt: skip
