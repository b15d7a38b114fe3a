"""Calls that are made once: their results are kept by content, of the function, its arguments and what it stands on.

Two calls share a result only if all of this is the same: the code of the function and of the functions that it names,
their defaults, closures and globals, the versions of the modules that they use, the arguments with their types, and
the bytes of files that are given as paths. What cannot be seen to be the same is computed again.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import os
import pickle
import sys
import time
import types
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

FORMAT = "elsewhere-memo-1"
_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))
_BLOCK = 1 << 20


class Memo:
    """A function whose results are kept in a directory: called, it looks there first.

    `again`: what is there is not used, but replaced.
    """

    def __init__(self, function: Callable[..., Any], root: str, again: bool = False) -> None:
        self.function, self.root, self.again = function, root, again

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            path = os.path.join(self.root, key(self.function, args, kwargs))
        except Exception:  # something in it cannot be told from others
            return self.function(*args, **kwargs)
        if not self.again:
            try:
                return read(path)[1]
            except (OSError, EOFError, pickle.UnpicklingError, AttributeError, ImportError):
                pass  # not there, or not to be read here: it is computed
        value = self.function(*args, **kwargs)
        write(path, getattr(self.function, "__qualname__", repr(self.function)), value)
        return value


def read(path: str) -> tuple[dict[str, Any], Any]:
    """What is known of a kept result, and the result."""
    with open(path, "rb") as file:
        about = pickle.load(file)  # noqa: S301  # its own user's, in a directory of theirs alone
        return about, pickle.load(file)  # noqa: S301


def head(path: str) -> dict[str, Any]:
    """What is known of a kept result, which is not opened."""
    with open(path, "rb") as file:
        about: dict[str, Any] = pickle.load(file)  # noqa: S301
    return about


def write(path: str, name: str, value: Any) -> None:
    """Whole or not at all; what cannot be pickled is not kept. Of two that write the same, the last stays."""
    draft = "%s.%d.%s" % (path, os.getpid(), os.urandom(4).hex())
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        data = pickle.dumps({"name": name, "at": time.time()}) + _dumps(value)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        os.replace(draft, path)
    except Exception:  # a result that cannot be kept is a result all the same
        try:
            os.unlink(draft)
        except OSError:
            pass


def _dumps(value: Any) -> bytes:
    try:
        return pickle.dumps(value, 5)
    except Exception:
        import cloudpickle  # type: ignore[import-untyped,unused-ignore]

        whole: bytes = cloudpickle.dumps(value, 5)
        return whole


def key(function: Callable[..., Any], args: Iterable[Any], kwargs: dict[str, Any]) -> str:
    """64 hexadecimal digits."""
    sheet = _Sheet()
    sheet.put("format", FORMAT, "%d.%d" % sys.version_info[:2])
    sheet.value(function)
    sheet.value(tuple(args))
    sheet.value(kwargs)
    return sheet.digest.hexdigest()


class _Sheet:
    """All that decides, each part with its kind and its length, so that no two rows of parts look alike."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.seen: dict[int, int] = {}
        self.alive: list[Any] = []

    def put(self, *parts: str | bytes) -> None:
        for part in parts:
            data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
            self.digest.update(b"%d:" % len(data) + data)

    def value(self, value: Any) -> None:
        kind = type(value)
        if kind in _PLAIN:
            self.put("plain", kind.__name__, repr(value))
        elif id(value) in self.seen:
            self.put("again", str(self.seen[id(value)]))
        else:
            self.seen[id(value)] = len(self.seen)
            self.alive.append(value)  # else another may come to its address
            self._one(value, kind)

    def _one(self, value: Any, kind: type) -> None:
        act = _EXACTLY.get(kind)
        if act is None:
            act = next((act for above, act in _BELOW if issubclass(kind, above)), _Sheet._other)
        act(self, value)

    # -- values

    def _row(self, value: Any) -> None:
        self.put("row", type(value).__name__, str(len(value)))
        for one in value:
            self.value(one)

    def _mapping(self, value: Any) -> None:
        self.put("mapping", type(value).__name__, str(len(value)))
        for name, one in value.items():
            self.value(name)
            self.value(one)

    def _set(self, value: Any) -> None:
        self.put("set", type(value).__name__, *sorted(_alone(one) for one in value))

    def _path(self, value: PurePath) -> None:
        """A file is its bytes; what is not there is its name."""
        self.put("path", str(value))
        if os.path.isdir(value):
            for folder, names, files in os.walk(value):
                names.sort()
                for name in sorted(files):
                    self.put(os.path.relpath(os.path.join(folder, name), value))
                    self._bytes_of(os.path.join(folder, name))
        elif os.path.exists(value):
            self._bytes_of(str(value))

    def _bytes_of(self, path: str) -> None:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        self.put("file", digest.digest())

    def _other(self, value: Any) -> None:
        """By its pickle: what is the same may look different there, and is computed again, but never the reverse."""
        self._class(type(value))
        self.put("other", _dumps(value))

    # -- code

    def _partial(self, value: functools.partial[Any]) -> None:
        self.put("partial")
        self._row((value.func, value.args, value.keywords))

    def _method(self, value: types.MethodType) -> None:
        self.put("method")
        self._row((value.__func__, value.__self__))

    def _builtin(self, value: Any) -> None:
        self.put("builtin", str(value.__module__), value.__qualname__)
        self.value(getattr(value, "__self__", None) if not isinstance(value.__self__, types.ModuleType) else None)

    def _class(self, value: type) -> None:
        self.put("class", value.__qualname__)
        for above in value.__mro__:
            self.module(above.__module__)
            if above.__module__ == "__main__":
                self.put(_by_value(above))

    def _module(self, value: types.ModuleType) -> None:
        self.module(value.__name__)

    def _function(self, value: types.FunctionType) -> None:
        self.put("function", value.__qualname__)
        self.module(value.__module__ or "")
        self.value(value.__defaults__)
        self.value(value.__kwdefaults__)
        for cell in value.__closure__ or ():
            try:
                self.value(cell.cell_contents)
            except ValueError:
                self.put("empty")
        if not _is_released(value.__module__ or ""):
            self._code(value.__code__, value.__globals__)

    def _code(self, code: types.CodeType, names: dict[str, Any]) -> None:
        self.put("code", code.co_code, repr(code.co_names), repr(code.co_varnames), repr(code.co_freevars),
                 repr((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)))  # fmt: skip
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self._code(constant, names)
            else:
                self.value(constant)
        for step in dis.get_instructions(code):
            if step.opname == "IMPORT_NAME":
                self.module(str(step.argval))
            elif step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval in names:
                self.put("global", str(step.argval))
                self.value(names[step.argval])

    def module(self, name: str) -> None:
        """Its version, or where there is none, what is in its file and in those that it imports."""
        for each in sorted(_standing(name)):
            self.put("module", each)


def _alone(value: Any) -> str:
    sheet = _Sheet()
    sheet.value(value)
    return sheet.digest.hexdigest()


def _by_value(value: Any) -> bytes:
    import cloudpickle

    whole: bytes = cloudpickle.dumps(value, 5)
    return whole


def _is_released(name: str) -> bool:
    """Whether a module is of the standard library, or of a distribution that has a version."""
    top = name.partition(".")[0]
    return top in sys.stdlib_module_names or top in _versions() or top == "elsewhere"


def _standing(name: str) -> set[str]:
    """What a module stands on: versions of distributions, and the bytes of files that have none."""
    found: dict[str, str] = {}
    left = [name]
    while left:
        name = left.pop()
        if name in found or name in ("__main__", ""):
            continue
        if _is_released(name):
            found[name] = " ".join(_versions().get(name.partition(".")[0], ()))
            continue
        data = _source(name)
        found[name] = hashlib.sha256(data).hexdigest()
        left += _imported(name, data)
    return {f"{name} {what}" for name, what in found.items()}


def _source(name: str) -> bytes:
    from importlib.util import find_spec

    try:
        spec = find_spec(name)
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is None or not spec.origin or not os.path.isfile(spec.origin):
        return b""
    with open(spec.origin, "rb") as file:
        return file.read()


def _imported(name: str, source: bytes) -> list[str]:
    """Modules that it names in an import statement."""
    import ast

    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(name.split(".")[: -node.level]) + "." if node.level else ""
            base = (above + (node.module or "")).strip(".")
            found += [base, *(f"{base}.{one.name}" for one in node.names)]
    return found


_KNOWN: dict[str, tuple[str, ...]] = {}


def _versions() -> dict[str, tuple[str, ...]]:
    """Of each importable name that a distribution brings which was installed whole: that and its version."""
    if not _KNOWN:
        from importlib.metadata import distributions

        for one in distributions():
            direct = one.read_text("direct_url.json") or ""
            if '"editable"' in direct or '"file:' in direct:
                continue  # its code may change and its version stay
            told = set((one.read_text("top_level.txt") or "").split())
            for top in told or {part.parts[0].partition(".")[0] for part in one.files or () if ".." not in part.parts}:
                _KNOWN[top] = (*_KNOWN.get(top, ()), "%s==%s" % (one.metadata["Name"], one.version))
    return _KNOWN


_EXACTLY: dict[type, Callable[[_Sheet, Any], None]] = {
    tuple: _Sheet._row, list: _Sheet._row, dict: _Sheet._mapping, set: _Sheet._set, frozenset: _Sheet._set,
    functools.partial: _Sheet._partial, types.MethodType: _Sheet._method, types.ModuleType: _Sheet._module,
    types.BuiltinFunctionType: _Sheet._builtin, types.FunctionType: _Sheet._function,
}  # fmt: skip
_BELOW: tuple[tuple[type, Callable[[_Sheet, Any], None]], ...] = ((PurePath, _Sheet._path), (type, _Sheet._class))
