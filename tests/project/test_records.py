"""Records are dataclasses to whoever looks, and are made as those are."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any, ClassVar

import msgspec
import pytest

from elsewhere.model.records import asdict, dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Point:
    KINDS: ClassVar[int] = 2
    x: int
    y: int = 0
    tags: list[str] = field(default_factory=list)
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "y", int(self.y))


@dataclass(frozen=True, kw_only=True)
class Named(Point):
    name: str
    """Without a default, behind those that have one: it goes by name."""


@dataclass
class Open:
    items: dict[str, int] = field(default_factory=dict)


@dataclass(eq=False)
class Alone:
    x: int = 1


POINT: Any = Point


def test_a_record_is_made_compared_and_shown_as_a_dataclass_is() -> None:
    made = POINT(1, y="2")
    assert (made.x, made.y, made.tags, POINT.y, Point.KINDS) == (1, 2, [], 0, 2)
    assert made == Point(1, 2, note="other") and made != Point(2, 2) and made != (1, 2, [])
    assert repr(made) == "Point(x=1, y=2, tags=[], note='')"
    assert Point(1).tags is not Point(1).tags
    assert replace(made, x=5) == Point(5, 2) == dataclasses.replace(made, x=5)
    match made:
        case Point(x, y):
            assert (x, y) == (1, 2)


def test_what_is_frozen_stays_and_can_be_a_key() -> None:
    made = POINT(1, tags=())
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.x = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del made.x
    assert {made: 1}[POINT(1, tags=())] == 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(Open())
    Open().items = {"a": 1}
    assert Alone() != Alone() and hash(Alone())


@pytest.mark.parametrize("words", [(), (1, 2, [], "", "more")])
def test_a_wrong_call_is_refused(words: tuple[object, ...]) -> None:
    with pytest.raises(TypeError, match=r"Point\.__init__|__init__\(\)"):
        POINT(*words)
    with pytest.raises(TypeError, match="unexpected"):
        POINT(1, z=2)


def test_a_derived_record_has_all_fields_and_makes_none_of_its_base() -> None:
    made = Named(1, name="n")
    assert (made.x, made.y, made.name) == (1, 0, "n") and isinstance(made, Point) and made != Point(1)
    assert [one.name for one in dataclasses.fields(Named)] == ["x", "y", "tags", "note", "name"]
    assert [one.name for one in dataclasses.fields(Point)] == ["x", "y", "tags", "note"]


def test_who_reads_and_writes_dataclasses_knows_it() -> None:
    made = Named(1, tags=["a"], name="n")
    assert dataclasses.is_dataclass(made)
    nest = Open({"a": Named(1, name="n"), "b": [Alone(), (Alone(2),)]})  # type: ignore[dict-item]
    assert asdict(nest) == dataclasses.asdict(nest)
    assert dataclasses.asdict(made) == {"x": 1, "y": 0, "tags": ["a"], "note": "", "name": "n"}
    assert msgspec.json.decode(msgspec.json.encode(made), type=Named) == made
    for twin in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert twin == made and twin is not made

    @dataclasses.dataclass(frozen=True)
    class Standard(Point):
        more: int = 7

    assert Standard(1).more == 7 and Standard(1, 2) == Standard(1, 2)
