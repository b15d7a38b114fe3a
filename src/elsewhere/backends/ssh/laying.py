"""PROVISION trees: what a host lacks of one is sent down one stream, and it is whole in the host's cache, or not there.

What is there is made of links to the files of an earlier state, and of what came; all of it is checked by digest.
"""

from __future__ import annotations

from functools import partial

from elsewhere.backends.sent import Sent
from elsewhere.errors import Refused
from elsewhere.hosts.openssh import OpenSsh

_NOT_IT = 65
# `$1`: the cache there; the other words are digests.
_FIRST = 'cache=$1; shift; for one do [ -e "$cache/unpacked/$one/.whole" ] && echo "$one" && break; done; exit 0'
# `$2` is made of `$3`, if that is not empty. What a cut leaves behind has a name of its own, and goes with its age.
_LAY = """\
umask 077; at=$1/unpacked kept=$1/unpacked/$2 own=$1/unpacked/$2.$$ made=new
mkdir -p "$at" && cd "$at" || exit 73
trap 'rm -rf "$own" "$own.made"' EXIT
mkdir "$own" && tar -xzf - -C "$own" && mkdir -p "$own/new" && cd "$own" || exit 73
if [ -n "$3" ]; then
  made=old
  cp -Rlp "$at/$3" old 2>/dev/null || { rm -rf old; cp -Rp "$at/$3" old; } || exit 73
  (cd old && rm -f .whole .sums && xargs -0 rm -f -- <../gone) && cp -Rp new/. old/ || exit 73
fi
mv .sums "$made/" && cd "$made" && { [ ! -s .sums ] || sha256sum -c .sums >/dev/null 2>&1; } || {
  [ -z "$3" ] || mv "$at/$3" "$own/not-it"; exit 65; }
: >.whole && cd "$at" && mv "$own/$made" "$own.made" || exit 73
[ -e "$kept/.whole" ] || rm -rf "$kept"
[ -e "$kept" ] || mv "$own.made" "$kept"
rm -rf "$kept/${own##*/}.made"; [ -e "$kept/.whole" ]
"""


def lay(host: OpenSsh, cache: str, tree: Sent) -> None:
    """Put it there. Twice: the same. Lost reply: again. Waits. Refused: it came in another form, or found no room."""
    done = host.run(["sh", "-c", _FIRST, "sh", cache, *tree.bases]) if tree.bases else None
    base = done.out.decode("ascii", "replace").strip() if done is not None and done.ok else ""
    for start in dict.fromkeys((base, "")):
        done = host.pour(["sh", "-c", _LAY, "sh", cache, tree.digest, start], partial(tree.write, start))
        if done.ok:
            return
        if done.status != _NOT_IT:
            break
    last = done.err.decode("utf-8", "replace").strip().splitlines()[-1:] if done is not None else []
    why = last[0] if last else "what came there is not what was sent"
    raise Refused(f"inputs cannot be brought to {host.name}: {why}",
                  hint=f"is there room, and may you write, on {host.name}?")  # fmt: skip
