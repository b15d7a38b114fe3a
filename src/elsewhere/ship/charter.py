"""What every agent of a job must know before its first task: the job's description, and where its bytes lie.

Written once by the controller, carried by the channel (signed in a spool, down the stream of a pipe).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from elsewhere.errors import Refused
from elsewhere.model.job import JobSpec


@dataclass(frozen=True, slots=True)
class Charter:
    """`directory`: the job's own, with `store/` in it, as agents that share our files see it. `key` seals pickles:
    whoever can read it can forge results, so a channel that carries it is open to its owner alone."""

    spec: JobSpec
    directory: str
    """Empty: machines do not see our files, and each has its own."""
    key: bytes = b""
    roots: Mapping[str, str] = field(default_factory=dict)
    """Directory here -> where its files lie there, below the agent's own."""
    software: tuple[str, ...] = ()
    """Folders there that are importable, below the agent's own."""

    def there(self, own: Path, python: str) -> JobSpec:
        """The job as it reads on a machine that got our files: paths of ours are those of their copies."""

        def moved(path: str) -> str:
            for root in sorted(self.roots, key=len, reverse=True):
                if path == root or path.startswith(root.rstrip("/") + "/"):
                    return str(own / self.roots[root]) + path[len(root.rstrip("/")) :]
            return path

        spec = self.spec
        box = spec.box and replace(
            spec.box,
            image=_moved_image(spec.box.image, moved),
            mounts=tuple(replace(one, source=moved(one.source)) if one.sent else one for one in spec.box.mounts),
        )
        path = [*map(moved, spec.path), *(str(own / folder) for folder in self.software)]
        entry = replace(spec.entry, target=moved(spec.entry.target))
        julia = spec.julia and replace(spec.julia, project=moved(spec.julia.project))
        inputs = tuple(replace(one, source=moved(one.source)) for one in spec.inputs)
        return replace(
            spec, inputs=inputs, entry=entry, cwd=moved(spec.cwd), path=tuple(path), python=python, box=box, julia=julia
        )  # fmt: skip


def _moved_image(image: str, moved: Callable[[str], str]) -> str:
    form, colon, path = image.partition(":")
    return f"{form}{colon}{moved(path)}" if colon and path.startswith("/") else image


_encode = msgspec.json.Encoder().encode
_charter = msgspec.json.Decoder(Charter)


def pack(charter: Charter) -> bytes:
    return _encode(charter)


def unpack(data: bytes) -> Charter:
    """Refused if it is none, or of a version that says other things."""
    try:
        return _charter.decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise Refused(
            f"the job's description cannot be read: {error}", hint="both ends need the same version"
        ) from None
