"""What a store must do: one test for each answer of its verbs' docstrings."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from elsewhere.errors import NotFound, Refused
from elsewhere.stores import Store, get_file, put_file


class StoreConformance:
    """Subclass it and give a fixture `store`: an empty store."""

    def test_what_was_put_is_got(self, store: Store) -> None:
        data = bytes(range(256)) * 1000
        store.put("a/b.c/d-e=f_1", data)
        assert store.get("a/b.c/d-e=f_1") == data

    def test_an_empty_object_is_an_object(self, store: Store) -> None:
        store.put("empty", b"")
        assert store.get("empty") == b""
        assert list(store.list()) == ["empty"]

    def test_what_is_not_there_is_not_found(self, store: Store) -> None:
        with pytest.raises(NotFound):
            store.get("a/b")

    def test_put_twice_leaves_the_later(self, store: Store) -> None:
        store.put("k", b"first")
        store.put("k", b"second")
        store.put("k", b"second")
        assert store.get("k") == b"second"

    def test_create_makes_what_is_not_there_and_leaves_what_is(self, store: Store) -> None:
        assert store.create("a/k", b"first") is True
        assert store.create("a/k", b"second") is False
        assert store.get("a/k") == b"first"

    def test_create_does_not_replace_what_was_put(self, store: Store) -> None:
        store.put("k", b"put")
        assert store.create("k", b"created") is False
        assert store.get("k") == b"put"

    def test_of_many_who_create_at_once_exactly_one_does(self, store: Store) -> None:
        with ThreadPoolExecutor(8) as crowd:
            made = list(crowd.map(lambda i: store.create("one", b"%d" % i), range(24)))
        assert made.count(True) == 1
        assert store.get("one") == b"%d" % made.index(True)

    def test_what_was_deleted_can_be_created(self, store: Store) -> None:
        store.create("a/k", b"first")
        store.delete(["a/k"])
        assert store.create("a/k", b"second") is True
        assert store.get("a/k") == b"second"

    def test_list_is_sorted_within_a_prefix_and_after_a_key(self, store: Store) -> None:
        keys = ["a", "a-b/x", "a.b", "a0", "ab", "b/1", "b/10", "b/2", "b/2-x", "c/d/e", "c/d/f"]
        for key in reversed(keys):
            store.put(key, b"")
        assert list(store.list()) == sorted(keys)
        assert list(store.list("b/")) == ["b/1", "b/10", "b/2", "b/2-x"]
        assert list(store.list("b/1")) == ["b/1", "b/10"]
        assert list(store.list("b/", after="b/10")) == ["b/2", "b/2-x"]
        assert list(store.list(after="b/2")) == ["b/2-x", "c/d/e", "c/d/f"]
        assert list(store.list("c/d")) == ["c/d/e", "c/d/f"]

    def test_listing_what_is_not_there_is_empty(self, store: Store) -> None:
        assert list(store.list()) == []
        assert list(store.list("no/such/")) == []

    def test_delete_twice_and_of_what_never_was_is_harmless(self, store: Store) -> None:
        store.put("a/b/c", b"x")
        store.put("a/d", b"y")
        for _ in range(2):
            store.delete(["a/b/c", "never/was"])
        store.delete([])
        assert list(store.list()) == ["a/d"]

    @pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".hidden", "a/.b", "a b", "a\nb", "ä"])
    def test_what_is_not_a_key_is_refused_and_changes_nothing(self, store: Store, key: str) -> None:
        with pytest.raises(Refused):
            store.get(key)
        with pytest.raises(Refused):
            store.put(key, b"")
        with pytest.raises(Refused):
            store.create(key, b"")
        with pytest.raises(Refused):
            store.delete([key])
        assert list(store.list()) == []

    def test_a_url_names_the_object_without_asking_for_it(self, store: Store) -> None:
        assert store.url("a/b").endswith("a/b")

    def test_files_go_in_and_come_out_whole(self, store: Store, tmp_path: Path) -> None:
        data = bytes(range(256)) * 40_000  # more than one part, where there are parts
        (tmp_path / "given").write_bytes(data)
        for _ in range(2):
            put_file(store, "a/k", tmp_path / "given")
        get_file(store, "a/k", tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == data == store.get("a/k")
        with pytest.raises(NotFound):
            get_file(store, "a/none", tmp_path / "none")
