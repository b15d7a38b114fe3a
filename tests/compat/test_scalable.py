"""Scalable's names: where a tag's container is looked for, and what its words come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsewhere.compat.scalable import images
from elsewhere.errors import UsageError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_a_tag_s_image_lies_where_the_bootstrap_puts_it(tmp_path: Path) -> None:
    (tmp_path / "containers").mkdir()
    sif = tmp_path / "containers" / "gcam_container.sif"
    sif.touch()
    assert images.of_tag("gcam", None, tmp_path) == {"image": str(sif)}


def test_config_dict_says_another_path_and_what_nobody_else_says(tmp_path: Path) -> None:
    (tmp_path / "other.sif").touch()
    (tmp_path / "config_dict.yaml").write_text(
        'GCAM: {CPUs: 4, Memory: "8G", Path: ./other.sif, Dirs: {/data: /data}, PreloadScript: null}\n'
        "osiris: {Path: oci-archive:osiris.tar}\n"
    )
    found = images.of_tag("gcam", None, tmp_path)
    assert found == {"cpus": 4, "memory": "8G", "image": str(tmp_path / "other.sif"), "mounts": {"/data": "/data"}}
    assert images.of_tag("osiris", None, tmp_path) == {"image": "oci-archive:osiris.tar"}


def test_without_an_image_an_environment_of_that_name_is_taken(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.yaml").write_text("environments: {stitches: {pip: [numpy]}}\n")
    assert images.of_tag("stitches", None, tmp_path) == {"environment": "stitches"}


def test_what_is_not_there_is_told_with_what_would_make_it(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM ubuntu:22.04 AS build_env\nFROM build_env AS GCAM\nRUN make\n")
    assert images.targets(tmp_path) == ["build_env", "gcam"]
    with pytest.raises(
        UsageError, match=r"no container of gcam: containers/gcam_container\.sif is not there"
    ) as caught:
        images.of_tag("gcam", None, tmp_path)
    assert "docker build --target gcam" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        images.of_tag("other", None, tmp_path)
    assert "name an environment other in elsewhere.yaml" in caught.value.hint


def test_its_cluster_is_told_only_what_scalable_s_is_told() -> None:
    pytest.importorskip("distributed")
    from elsewhere.compat.scalable import SlurmCluster

    with pytest.raises(TypeError, match="SlurmCluster has no 'dashboard_address'"):
        SlurmCluster(queue="slurm", dashboard_address=":8787")


def test_a_cacheable_function_is_computed_once_for_each_of_its_calls_and_not_mixed_up(tmp_path: Path) -> None:
    from elsewhere.compat.scalable import FileType, ValueType, cacheable

    calls: list[object] = []

    @cacheable(return_type=ValueType, void=False, a=ValueType, b=ValueType)
    def sub(a: int, b: int = 1) -> int:
        with Path("log").open("a") as log:
            log.write("x")
        return a - b

    @cacheable
    def nothing() -> None:
        with Path("log").open("a") as log:
            log.write("n")

    assert (sub(5, 3), sub(3, 5), sub(5, 3), sub(b=3, a=5), sub(2), sub(2, 1)) == (2, -2, 2, 2, 1, 1)
    assert (nothing(), nothing(), calls) == (None, None, [])
    assert Path("log").read_text() == "xxxn"

    @cacheable(return_type=FileType, source=FileType)
    def copied(source: str) -> str:
        assert isinstance(source, str)
        with Path("log").open("a") as log:
            log.write("c")
        Path("copy").write_text(Path(source).read_text())
        return "copy"

    Path("in").write_text("1")
    assert (copied("in"), copied("in")) == ("copy", "copy")
    Path("copy").write_text("spoiled")
    assert copied("in") == "copy"
    assert Path("copy").read_text() == "1"
    Path("in").write_text("2")
    assert copied("in") == "copy"
    assert Path("copy").read_text() == "2"
    assert Path("log").read_text() == "xxxnccc"
