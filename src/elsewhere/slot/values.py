"""Values as bytes, read and written in the same way by a slot and by the user's process.

JSON where it is exact, otherwise a sealed pickle; what is large lies in the job's store as a file. Nothing is unpickled
before its seal was checked. Python 3.9 syntax and the standard library only.

A sealed pickle, in a record as in a file: `<3s magic><u8 flags><u32 count>`, `<u64 length>` of the pickle and of each of
the `count` buffers, 32 bytes HMAC-SHA256, with flag 1 the 32 bytes BLAKE2b of the buffers, the pickle, and the buffers,
each on a multiple of 64 so that it can be mapped into memory. The HMAC covers the head, the BLAKE2b and the pickle. On a
local hop the buffers are not digested (it would double the time of a large array): they are numbers to whoever opened
the sealed pickle, never code.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.machinery
import json
import marshal
import mmap
import os
import pickle
import struct
import sys

from elsewhere.slot import wire

MAGIC = b"EW1"
DIGESTED = 1
ALIGN = 64
MAPPED = 1 << 20
"""Files of at least so many bytes are mapped, not read."""

_HEAD = struct.Struct("<3sBI")
_json = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


class BrokenSeal(ValueError):
    """Bytes that were not sealed with this key, or not all of what was sealed."""


class NotJson(TypeError):
    """A value that JSON cannot hold, where it must."""


def seal(key, data):  # type: ignore[no-untyped-def]
    """`data` behind its HMAC."""
    return hmac.digest(key, data, "sha256") + data


def unseal(key, sealed):  # type: ignore[no-untyped-def]
    """What was sealed; BrokenSeal if it was not with this key."""
    if len(sealed) < 32 or not hmac.compare_digest(hmac.digest(key, sealed[32:], "sha256"), bytes(sealed[:32])):
        raise BrokenSeal("the bytes were not sealed with this job's key")
    return sealed[32:]


def to_json(value, exact):  # type: ignore[no-untyped-def]
    """UTF-8 JSON, or None if JSON cannot hold the value; `exact`: nor if it would give back another type.

    marshal refuses subclasses of the plain types, the comparison catches what JSON changes (tuples, keys that are no
    strings): together they hold exactly dict, list, str, int, finite float, bool and None, and both are C.
    """
    if value is None:
        return b"null"
    if type(value) is int:
        return b"%d" % value if -(1 << 63) < value < 1 << 63 else None
    try:
        text = _json(value)
        if exact:
            marshal.dumps(value)
            if type(value) is not str and json.loads(text) != value:
                return None
    except (TypeError, ValueError, RecursionError):
        return None
    return text.encode()


def pickled(value, buffer_callback=None):  # type: ignore[no-untyped-def]
    """Protocol 5; by cloudpickle what pickle cannot (classes of __main__, lambdas). Raises what the last of them raised."""
    try:
        return pickle.dumps(value, 5, buffer_callback=buffer_callback)
    except Exception as error:
        try:
            import cloudpickle
        except ImportError:
            raise error from None
    return cloudpickle.dumps(value, 5, buffer_callback=buffer_callback)


def pack(key, body, buffers=(), digest=False):  # type: ignore[no-untyped-def]
    """The pieces of a sealed pickle, to be written one after the other."""
    raw = [buffer.raw() if isinstance(buffer, pickle.PickleBuffer) else memoryview(buffer) for buffer in buffers]
    head = _HEAD.pack(MAGIC, DIGESTED if digest else 0, len(raw))
    head += struct.pack("<%dQ" % (1 + len(raw)), len(body), *[piece.nbytes for piece in raw])
    proof = _digest(raw) if digest else b""
    pieces = [head, hmac.digest(key, head + proof + body, "sha256"), proof, body]
    at = sum(map(len, pieces))
    for piece in raw:
        pieces.append(b"\0" * (-at % ALIGN))
        pieces.append(piece)
        at += -at % ALIGN + piece.nbytes
    return pieces


def unpack(key, data):  # type: ignore[no-untyped-def]
    """(pickle, buffers) as views of `data`; BrokenSeal if it is not whole or not sealed with this key."""
    view = memoryview(data)
    if len(view) < _HEAD.size or view[:3] != MAGIC:
        raise BrokenSeal("these bytes are no sealed pickle")
    _, flags, count = _HEAD.unpack_from(view)
    at = _HEAD.size + 8 * (1 + count)
    if at + 32 > len(view):
        raise BrokenSeal("the sealed pickle is cut short")
    lengths = struct.unpack_from("<%dQ" % (1 + count), view, _HEAD.size)
    head, mac = bytes(view[:at]), bytes(view[at : at + 32])
    at += 32
    proof = bytes(view[at : at + 32]) if flags & DIGESTED else b""
    at += len(proof)
    body = view[at : at + lengths[0]]
    if not hmac.compare_digest(mac, hmac.digest(key, head + proof + bytes(body), "sha256")):
        raise BrokenSeal("the pickle was not sealed with this job's key, or it was changed")
    buffers, at = [], at + lengths[0]
    for length in lengths[1:]:
        at += -at % ALIGN
        buffers.append(view[at : at + length])
        at += length
    if at != len(view):
        raise BrokenSeal("the sealed pickle is cut short")
    if proof and _digest(buffers) != proof:
        raise BrokenSeal("a buffer of the sealed pickle was changed")
    return body, buffers


def loads(key, data):  # type: ignore[no-untyped-def]
    """The object in a sealed pickle; BrokenSeal, or what unpickling raises."""
    body, buffers = unpack(key, data)
    return pickle.loads(body, buffers=buffers)


def _digest(buffers):  # type: ignore[no-untyped-def]
    whole = hashlib.blake2b(digest_size=32)
    for piece in buffers:
        whole.update(piece)
    return whole.digest()


class Store:
    """The files of a job, written once: `<first 2 of the key>/<key>`. A key names one content for ever."""

    def __init__(self, directory):  # type: ignore[no-untyped-def]
        self.directory = os.fspath(directory)

    def path(self, key):  # type: ignore[no-untyped-def]
        if not key or key.strip("0123456789abcdefghijklmnopqrstuvwxyz-"):
            raise ValueError("%r is not a key of a store" % (key,))
        return os.path.join(self.directory, key[:2], key)

    def put(self, pieces, key="", sync=False):  # type: ignore[no-untyped-def]
        """The key. Twice with one key: harmless. `sync`: on the disk before it returns."""
        key = key or os.urandom(16).hex()
        path = self.path(key)
        if os.path.exists(path):
            return key
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        part = "%s.%s" % (path, os.urandom(4).hex())
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "wb", buffering=0) as file:
                for piece in pieces:
                    view = memoryview(piece).cast("B") if len(piece) else b""
                    while len(view):
                        view = view[file.write(view) :]
                if sync:
                    os.fsync(file.fileno())
            os.rename(part, path)
        except BaseException:
            os.unlink(part)
            raise
        return key

    def get(self, key):  # type: ignore[no-untyped-def]
        """Its bytes, writable and private to the caller: mapped if large, so that nothing is read before it is touched."""
        with open(self.path(key), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size >= MAPPED:
                return memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY))
            data = bytearray(size)
            if file.readinto(data) != size:
                raise BrokenSeal("the file is cut short")
            return memoryview(data)

    def remove(self, key):  # type: ignore[no-untyped-def]
        try:
            os.unlink(self.path(key))
        except FileNotFoundError:
            pass


def encode(value, key, store, exact=False, json_only=False, sync=False):  # type: ignore[no-untyped-def]
    """(form, bytes) of a result. `exact`: types survive. `json_only`: NotJson instead of a pickle.

    Raises what pickling raised if the value cannot travel at all.
    """
    if value is None:
        return wire.NOTHING, b""
    text = to_json(value, exact)
    if text is not None:
        if len(text) <= wire.SMALL:
            return wire.JSON, text
        return wire.STORED_JSON, store.put([text], sync=sync).encode()
    if json_only:
        raise NotJson(why_not_json(value))
    buffers = []  # type: ignore[var-annotated]
    pieces = pack(key, pickled(value, buffers.append), buffers)
    if sum(memoryview(piece).nbytes for piece in pieces) <= wire.SMALL:
        return wire.PICKLE, b"".join(pieces)
    return wire.STORED_PICKLE, store.put(pieces, sync=sync).encode()


def decode(form, value, key, store):  # type: ignore[no-untyped-def]
    """The value of a success; the other way round. A sealed pickle is opened here and nowhere else."""
    if form == wire.NOTHING:
        return None
    if form == wire.JSON:
        return json.loads(value)
    if form == wire.STORED_JSON:
        return json.loads(bytes(store.get(value.decode())))
    return loads(key, store.get(value.decode()) if form == wire.STORED_PICKLE else bytearray(value))


def why_not_json(value, where="result"):  # type: ignore[no-untyped-def]
    """`result["a"][2] is a set`: the first object within that JSON cannot hold."""
    if isinstance(value, dict):
        for name, part in value.items():
            if not isinstance(name, (str, int, float, bool, type(None))):
                return "a key of %s is a %s" % (where, type(name).__name__)
            if to_json(part, False) is None:
                return why_not_json(part, "%s[%r]" % (where, name))
    if isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            if to_json(part, False) is None:
                return why_not_json(part, "%s[%d]" % (where, number))
    if isinstance(value, float):
        return "%s is %r" % (where, value)
    if isinstance(value, int):
        return None if to_json(value, False) is not None else "%s is too large an integer" % where
    return "%s is a %s" % (where, type(value).__name__)


def exception_text(error, key):  # type: ignore[no-untyped-def]
    """The sealed pickle of an exception in base 64, for wire.failure; "" if it cannot be pickled or is large."""
    try:
        data = b"".join(pack(key, pickled(error)))
    except Exception:
        return ""
    return base64.b64encode(data).decode() if len(data) <= wire.SMALL else ""


class Calls:
    """Opens the bodies of calls (`ship/codec.py` writes them), and each sealed function once.

    A body is UTF-8 JSON: {"args": [...], "kwargs": {...}}, or {"pickle": base 64 of a sealed pickle of (args, kwargs)},
    or {"stored": its key}; with "function", the key of a sealed pickle of the function, or without it the job's own.
    """

    KEPT = 256

    def __init__(self, key, store, target=""):  # type: ignore[no-untyped-def]
        self._key, self._store, self._target = key, store, target
        self._functions = {}  # type: ignore[var-annotated]

    def open(self, body):  # type: ignore[no-untyped-def]
        """(function, args, kwargs); raises what unpickling raises."""
        call = json.loads(body)
        function = self.function(call.get("function") or self._target)
        if "args" in call or "kwargs" in call:
            return function, call.get("args", ()), call.get("kwargs", {})
        if "stored" in call:
            args, kwargs = loads(self._key, self._store.get(call["stored"]))
        else:
            args, kwargs = loads(self._key, bytearray(base64.b64decode(call["pickle"])))
        return function, args, kwargs

    def function(self, name):  # type: ignore[no-untyped-def]
        found = self._functions.get(name)
        if found is None:
            found = loads(self._key, self._store.get(name))
            if len(self._functions) >= self.KEPT:
                del self._functions[next(iter(self._functions))]
            self._functions[name] = found
        return found


class Lent:
    """Finds packages of ours that the user's interpreter lacks, such as cloudpickle, and nothing else beside them."""

    def __init__(self, places):  # type: ignore[no-untyped-def]
        self.places = dict(places)

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        directory = self.places.get(name)
        return importlib.machinery.PathFinder.find_spec(name, [directory]) if directory else None


def lend(places):  # type: ignore[no-untyped-def]
    """Make packages importable from {name: the directory that holds it}; those that are installed here go first."""
    sys.meta_path.append(Lent(places))
