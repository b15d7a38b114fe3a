"""Records: dataclasses that cost next to nothing to define, since every command and every agent begins with a hundred.

The standard library compiles six methods for each class where it is defined; here `__init__` alone is compiled, when
the first record is made. Whoever asks for the fields finds a dataclass; to a type checker it is the standard one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import asdict as asdict
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import replace as replace
    from typing import Any

_MISSING: Any = object()
_set = object.__setattr__


class _Field:
    """What is known of a field; `more` is what only `dataclasses` wants to know."""

    __slots__ = ("compare", "default", "factory", "kind", "kw_only", "more")

    def __init__(
        self, default: Any = _MISSING, default_factory: Any = _MISSING, compare: bool = True, **more: Any
    ) -> None:
        self.default, self.factory, self.compare, self.more = default, default_factory, compare, more
        self.kind, self.kw_only = "", False


class _Shown:
    """`__dataclass_fields__` of a class, made by the standard library when it is asked for; for `fields`, `asdict`, and
    whoever reads or writes dataclasses."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def __get__(self, record: object, kind: type[Any] | None = None) -> Any:
        import dataclasses

        rows = []
        for name, one in self.owner.__record__.items():
            given = {"default": one.default, "default_factory": one.factory}
            how = {key: value for key, value in given.items() if value is not _MISSING}
            shown = dataclasses.field(**how, **one.more, compare=one.compare, kw_only=one.kw_only)
            rows.append((name, one.kind, shown))
        made: Any = dataclasses.make_dataclass(self.owner.__name__, rows, init=False, repr=False, eq=False)
        found = made.__dataclass_fields__
        self.owner.__dataclass_fields__ = found
        return found


class _Params:
    """`__dataclass_params__`, for a standard dataclass that is derived from one of ours."""

    init = repr = match_args = True
    order = unsafe_hash = slots = weakref_slot = False

    def __init__(self, frozen: bool, eq: bool, kw_only: bool) -> None:
        self.frozen, self.eq, self.kw_only = frozen, eq, kw_only


def _dataclass(
    cls: Any = None, /, *, frozen: bool = False, eq: bool = True, slots: bool = False, kw_only: bool = False
) -> Any:
    """As `dataclasses.dataclass`. `slots` is understood and makes no difference: records are few."""
    if cls is None:
        return lambda found: _dataclass(found, frozen=frozen, eq=eq, kw_only=kw_only)
    known = _known(cls, kw_only)
    cls.__record__ = known
    setattr(cls, "__match_args__", tuple(name for name, one in known.items() if not one.kw_only))  # noqa: B010
    cls.__dataclass_fields__, cls.__dataclass_params__ = _Shown(cls), _Params(frozen, eq, kw_only)
    own: dict[str, Any] = {"__init__": _first(cls, frozen), "__repr__": _shown}
    if eq:
        own.update(__eq__=_equal, __hash__=_hashed if frozen else None)
    for name, method in own.items():
        if vars(cls).get(name) is None:
            setattr(cls, name, method)
    if frozen:
        cls.__setattr__ = cls.__delattr__ = _refuse
    return cls


def _known(cls: Any, kw_only: bool) -> dict[str, _Field]:
    """The fields of a class, those of its bases first; of each the default remains in the class."""
    known: dict[str, _Field] = {}
    for base in cls.__mro__[:0:-1]:
        known.update(vars(base).get("__record__", {}))
    for name, kind in vars(cls).get("__annotations__", {}).items():
        if "ClassVar" in str(kind).partition("[")[0]:
            continue
        given = vars(cls).get(name, _MISSING)
        one = known[name] = given if isinstance(given, _Field) else _Field(given)
        one.kind, one.kw_only = kind, kw_only
        if given is one and one.default is not _MISSING:
            setattr(cls, name, one.default)
        elif given is one:
            delattr(cls, name)
    return known


def _first(cls: Any, frozen: bool) -> Callable[..., None]:
    """What makes the first record of a class: it compiles what makes the others."""

    def __init__(self: Any, *args: Any, **given: Any) -> None:
        made = cls.__init__ = _compiled(cls, frozen)
        made(self, *args, **given)

    return __init__


def _compiled(cls: Any, frozen: bool) -> Any:
    scope: dict[str, Any] = {"_set": _set, "_none": _MISSING}
    plain: list[str] = []
    by_name: list[str] = []
    body: list[str] = []
    for i, (name, one) in enumerate(cls.__record__.items()):
        value = name
        if one.factory is not _MISSING:
            scope[f"_v{i}"], value = one.factory, f"_v{i}() if {name} is _none else {name}"
        elif one.default is not _MISSING:
            scope[f"_v{i}"] = one.default
        optional = "" if f"_v{i}" not in scope else "=_none" if value != name else f"=_v{i}"
        (by_name if one.kw_only else plain).append(name + optional)
        body.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    words = ", ".join(["self", *plain, *(["*", *by_name] if by_name else [])])
    exec(f"def __init__({words}):\n " + "\n ".join(body or ["pass"]), scope)
    made = scope["__init__"]
    made.__qualname__, made.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
    return made


def _values(record: Any) -> tuple[Any, ...]:
    return tuple([getattr(record, name) for name, one in type(record).__record__.items() if one.compare])


def _equal(self: Any, other: object) -> bool:
    return _values(self) == _values(other) if other.__class__ is self.__class__ else NotImplemented


def _hashed(self: Any) -> int:
    return hash(_values(self))


def _shown(self: Any) -> str:
    rows = type(self).__record__.items()
    words = [f"{name}={getattr(self, name)!r}" for name, one in rows if one.more.get("repr", True)]
    return f"{type(self).__qualname__}({', '.join(words)})"


def _refuse(self: Any, name: str, *_: object) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot change field {name!r}")


def _replace(record: Any, /, **changes: Any) -> Any:
    """A record like this one but for these fields. TypeError: it has no such field."""
    if not hasattr(type(record), "__record__"):
        import dataclasses

        return dataclasses.replace(record, **changes)
    known, found = type(record).__record__, vars(record)
    if len(found) != len(known):  # it keeps something else besides
        found = {name: found[name] for name in known}
    return type(record)(**{**found, **changes})


def _asdict(record: Any) -> dict[str, Any]:
    """Its fields by name, and so the records in them, also within lists, tuples and mappings; values are shared."""
    return {name: _told(getattr(record, name)) for name in type(record).__record__}


def _told(value: Any) -> Any:
    if hasattr(type(value), "__record__"):
        return _asdict(value)
    if isinstance(value, list | tuple):
        told = [_told(one) for one in value]
        return type(value)(*told) if hasattr(value, "_fields") else type(value)(told)
    return {key: _told(one) for key, one in value.items()} if isinstance(value, dict) else value


if not TYPE_CHECKING:
    asdict, dataclass, field, replace = _asdict, _dataclass, _Field, _replace
