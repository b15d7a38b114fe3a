"""Values as bytes, read and written on both sides: JSON where it can be, otherwise sealed pickles, large ones in files.

A pickle is opened only after its seal was checked with the job's key. No I/O but that of the store's files.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from elsewhere.slot.wire import JSON, NOTHING, PICKLE, SMALL, STORED_JSON, STORED_PICKLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

MAC = 32
_MAGIC = b"EW1\0"
_ALIGN = 64
_LARGE = 1 << 20
_OUTER, _INNER = bytes(x ^ 0x5C for x in range(256)), bytes(x ^ 0x36 for x in range(256))


class Unsealed(ValueError):
    """Bytes whose seal is not the job's: they are not opened."""


class Unsendable(ValueError):
    """A value that can be written neither as JSON nor as a pickle; the message names the object."""


def _sha256(size: int) -> Callable[[bytes], Any]:
    """OpenSSL's is faster, but costs 4 MB of memory: only for what is large."""
    if size < _LARGE and "_hashlib" not in sys.modules:
        try:
            if sys.version_info >= (3, 12):
                from _sha2 import sha256
            else:
                from _sha256 import sha256  # type: ignore[import-not-found,unused-ignore]
            return sha256  # type: ignore[no-any-return,unused-ignore]
        except ImportError:
            pass
    from hashlib import sha256 as plain

    return plain


def mac(key: bytes, *parts: bytes | memoryview) -> bytes:
    """HMAC-SHA256 of the parts joined."""
    sha256 = _sha256(sum(map(len, parts)))
    key = (sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = sha256(key.translate(_INNER))
    for part in parts:
        inner.update(part)
    outer = sha256(key.translate(_OUTER))
    outer.update(inner.digest())
    return outer.digest()  # type: ignore[no-any-return]


def seal(key: bytes, data: bytes) -> bytes:
    """The mac of 32 bytes, then the data."""
    return mac(key, data) + data


def unseal(key: bytes, sealed: bytes) -> bytes:
    """The data. Unsealed if this is not what `seal` made with this key."""
    from _operator import _compare_digest as same

    data = sealed[MAC:]
    if len(sealed) < MAC or not same(mac(key, data), bytes(sealed[:MAC])):
        raise Unsealed("the seal does not fit: these bytes were not written with this job's key")
    return data


def dump(value: object, buffers: list[Any] | None = None) -> bytes:
    """A pickle of protocol 5, by cloudpickle where pickle cannot. Large buffers go to `buffers`, out of band."""
    from _pickle import dumps

    collect = None if buffers is None else buffers.append
    try:
        return dumps(value, 5, buffer_callback=collect)
    except Exception:
        pass
    if buffers is not None:
        buffers.clear()
    import cloudpickle  # type: ignore[import-untyped,unused-ignore]

    data: bytes = cloudpickle.dumps(value, 5, buffer_callback=collect)
    return data


def load(data: bytes | memoryview, buffers: Sequence[Any] = ()) -> Any:
    """The value of a pickle. Only for bytes whose seal was checked."""
    from _pickle import loads

    return loads(data, buffers=buffers)


def path_of(store: str, key: str) -> str:
    """Where the store of this job keeps `key`. ValueError for what is no key."""
    if not key.isalnum():
        raise ValueError(f"{key!r} is no key of a store")
    return os.path.join(store, key[:2], key)


def keep(store: str, parts: Sequence[Any], sync: bool = False) -> str:
    """Write the parts as one file of the store, whole or not at all; its key. `sync`: it survives a power cut."""
    key = os.urandom(16).hex()
    path = path_of(store, key)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    fd = os.open(path + ".part", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for part in parts:
            view = memoryview(part).cast("B") if len(part) else memoryview(b"")
            while len(view):
                view = view[os.write(fd, view[: 1 << 30]) :]
        if sync:
            os.fsync(fd)
        os.rename(path + ".part", path)
        if sync:
            _sync_directory(os.path.dirname(path))
    except BaseException:
        os.unlink(path + ".part")
        raise
    finally:
        os.close(fd)
    return key


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def keep_pickle(store: str, key: bytes, pickle: bytes, buffers: Sequence[Any], sync: bool = False) -> str:
    """A sealed pickle and its buffers as a file of the store; the store's key.

    b"EW1\\0", u32 count, u64 length of the pickle, count * u64 lengths, mac, pickle, each buffer at a multiple of 64.
    The mac covers the lengths and the pickle; buffers are plain bytes, which cannot do anything by being read.
    """
    views = [buffer.raw() for buffer in buffers]
    lengths = [len(pickle), *map(len, views)]
    head = _MAGIC + len(views).to_bytes(4, "little") + b"".join(x.to_bytes(8, "little") for x in lengths)
    parts: list[Any] = [head, mac(key, head, pickle), pickle]
    at = sum(map(len, parts))
    for view in views:
        parts += [b"\0" * (-at % _ALIGN), view]
        at += -at % _ALIGN + len(view)
    return keep(store, parts, sync)


def open_pickle(store: str, key: bytes, name: str) -> Any:
    """The value that `keep_pickle` kept. Its buffers are the file, mapped copy-on-write: writable, and no copy."""
    import mmap
    from _operator import _compare_digest as same

    with open(path_of(store, name), "rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    count = int.from_bytes(view[4:8], "little")
    at = 8 + 8 * (count + 1)
    if view[:4] != _MAGIC or len(view) < at + MAC:
        raise Unsealed(f"{name} is no value of ours")
    lengths = [int.from_bytes(view[i : i + 8], "little") for i in range(8, at, 8)]
    pickle = view[at + MAC : at + MAC + lengths[0]]
    if not same(mac(key, view[:at], pickle), bytes(view[at : at + MAC])):
        raise Unsealed(f"the seal of {name} does not fit: it was not written with this job's key")
    at += MAC + lengths[0]
    buffers = []
    for length in lengths[1:]:
        at += -at % _ALIGN
        buffers.append(view[at : at + length])
        at += length
    return load(pickle, buffers)


_PLAIN = frozenset((str, int, bool, type(None)))


def is_exact(value: object) -> bool:
    """True if JSON gives back a value equal in value and in types."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is float:
        return value - value == 0  # type: ignore[operator,no-any-return]
    if kind is list:
        return all(map(is_exact, value))  # type: ignore[call-overload]
    if kind is dict:
        return all(type(key) is str for key in value) and all(map(is_exact, value.values()))  # type: ignore[attr-defined]
    return False


def _strict(value: object) -> object:
    raise TypeError(f"{type(value).__name__} is not JSON")


def _encoder() -> Callable[[Any, int], Sequence[str]]:
    """The C encoder itself: half the cost of json.dumps for small values. allow_nan is False."""
    from json import encoder

    make: Any = getattr(encoder, "c_make_encoder", None)
    if make is None:
        plain = encoder.JSONEncoder(allow_nan=False, separators=(",", ":"))
        return lambda value, _level: (plain.encode(value),)
    encode: Callable[[Any, int], Sequence[str]]
    encode = make({}, _strict, encoder.encode_basestring_ascii, None, ":", ",", False, False, False)
    return encode


_encode = _encoder()


def to_json(value: object, exact: bool) -> bytes | None:
    """UTF-8 JSON (ASCII in fact), or None where it cannot be, or where `exact` would not come back."""
    try:
        if exact and not is_exact(value):
            return None
        return "".join(_encode(value, 0)).encode()
    except (TypeError, ValueError, RecursionError):
        _forget_circles()
        return None


def _forget_circles() -> None:
    """The C encoder remembers the containers it was in when it failed; a fresh one has no such memory."""
    global _encode
    _encode = _encoder()


def write(value: object, exact: bool, store: str, key: bytes, sync: bool = False) -> tuple[int, bytes]:
    """(form, bytes) of a value. Unsendable names the object that cannot travel. `sync`: what is kept is on the disk."""
    if value is None:
        return NOTHING, b""
    text = to_json(value, exact)
    if text is not None:
        if len(text) <= SMALL:
            return JSON, text
        return STORED_JSON, keep(store, [text], sync).encode()
    buffers: list[Any] = []
    try:
        data = dump(value, buffers)
        if len(data) + sum(len(buffer.raw()) for buffer in buffers) <= SMALL:
            return PICKLE, seal(key, dump(value) if buffers else data)
    except Exception as error:
        raise Unsendable(f"{culprit(value, 'result', dump)} cannot be pickled: {error}") from error
    return STORED_PICKLE, keep_pickle(store, key, data, buffers, sync).encode()


def read(form: int, value: bytes, store: str, key: bytes) -> Any:
    """The value that `write` wrote. Unsealed if somebody else did."""
    import json

    if form == NOTHING:
        return None
    if form == JSON:
        return json.loads(value)
    if form == PICKLE:
        return load(unseal(key, value))
    if form == STORED_PICKLE:
        return open_pickle(store, key, value.decode())
    if form != STORED_JSON:
        raise ValueError(f"form {form} is not that of a value")
    with open(path_of(store, value.decode()), "rb") as file:
        return json.load(file)


def culprit(value: object, name: str, travels: Callable[[object], object], depth: int = 4) -> str:
    """Which part of a value it is for which `travels` raises: `result['model'].lock (a _thread.lock)`."""
    inner: list[tuple[str, object]] = []
    if isinstance(value, dict):
        inner = [(f"{name}[{key!r}]", part) for key, part in value.items()]
    elif isinstance(value, (list, tuple)):
        inner = [(f"{name}[{i}]", part) for i, part in enumerate(value)]
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        inner = [(f"{name}.{key}", part) for key, part in vars(value).items()]
    for place, part in inner[:10_000] if depth else []:
        try:
            travels(part)
        except Exception:
            return culprit(part, place, travels, depth - 1)
    kind = type(value)
    return f"{name} (a {kind.__module__}.{kind.__qualname__})".replace("builtins.", "")


def dump_error(error: BaseException) -> bytes:
    """A pickle of an exception and of those it came from, as far as they pickle; b"" when it does not itself."""
    chain: list[bytes] = []
    one: BaseException | None = error
    while one is not None and len(chain) < 20:
        try:
            chain.append(dump(one))
        except Exception:
            break
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return dump(chain) if chain else b""


def load_error(data: bytes) -> BaseException:
    """The exception and its chain of causes, as far as they come back. Raises what opening the first raises."""
    parts = load(data)
    first: BaseException = load(parts[0])
    last = first
    for part in parts[1:]:
        try:
            cause = load(part)
        except Exception:
            break
        last.__cause__ = cause
        last = cause
    return first
