"""What image files say of themselves, and how they are unpacked without a daemon."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from elsewhere.errors import UsageError
from elsewhere.ship import archives


def layer(**files: bytes | str | list[str] | None) -> bytes:
    """bytes: a file; a string: a link to it, in a list a hard one; None: a directory. `__` in a name is a slash."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, what in files.items():
            about = tarfile.TarInfo(name.replace("__", "/").replace("WH", ".wh."))
            if isinstance(what, str):
                about.type, about.linkname = tarfile.SYMTYPE, what
            elif isinstance(what, list):
                about.type, about.linkname = tarfile.LNKTYPE, what[0]
            elif what is None:
                about.type = tarfile.DIRTYPE
            else:
                about.size = len(what)
            tar.addfile(about, io.BytesIO(what if isinstance(what, bytes) else b""))
    return buffer.getvalue()


def image(path: Path, *layers: bytes, architecture: str = "") -> Path:
    config = {"architecture": architecture, "config": {"Env": ["A=1", "B=x=y"]}}
    names = [f"{n}.tar" for n in range(len(layers))]
    files = {"c.json": json.dumps(config).encode(), **dict(zip(names, layers, strict=True))}
    files["manifest.json"] = json.dumps([{"Config": "c.json", "Layers": names}]).encode()
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return path


def unpacked(tmp_path: Path, *layers: bytes) -> Path:
    path = image(tmp_path / "i.tar", *layers)
    archives.unpack(path, archives.read(path, "docker-archive"), tmp_path / "root")
    return tmp_path / "root"


def test_an_upper_layer_replaces_and_takes_away(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path,
        layer(a=None, a__one=b"1", a__two=b"2", b=None, b__old=b"o", c=b"file", link="a", same=["a/one"]),
        layer(a__one=b"new", a__WHtwo=b"", b__fresh=b"f", c=None, c__in=b"i", link=b"a file now"),
    )
    assert (root / "same").read_bytes() == b"1"
    assert (root / "a/one").read_bytes() == b"new" and not (root / "a/two").exists()
    assert (root / "c/in").read_bytes() == b"i" and (root / "link").read_bytes() == b"a file now"


def test_an_opaque_directory_loses_what_was_below(tmp_path: Path) -> None:
    upper = layer(b=None, **{"b__WHWH.opq": b"", "b__fresh": b"f"})
    root = unpacked(tmp_path, layer(b=None, b__old=b"o"), upper)
    assert [path.name for path in (root / "b").iterdir()] == ["fresh"]


@pytest.mark.parametrize(
    "files",
    [{"x": "/", "x__evil": b"!"}, {"..__evil": b"!"}, {"x": "..", "x__evil": b"!"}, {"x": ["../i.tar"]}],
)
def test_what_leads_out_of_an_image_is_refused(files: dict[str, bytes | str | list[str]], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be unpacked"):
        unpacked(tmp_path, layer(**files))
    assert not (tmp_path / "evil").exists() and not Path("/evil").exists()
    assert not (tmp_path / "root").exists()


def test_an_image_tells_its_variables_and_its_processors(tmp_path: Path) -> None:
    found = archives.check(image(tmp_path / "i.tar", layer(a=b"")), "docker-archive")
    assert found.env == {"A": "1", "B": "x=y"} and found.layers == ("0.tar",)
    other = image(tmp_path / "o.tar", layer(a=b""), architecture="s390x")
    with pytest.raises(UsageError, match="is for s390x, and tasks would run on"):
        archives.check(other, "docker-archive")


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_another_file_is_no_image(form: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no")
    with pytest.raises(UsageError, match=f"text is no {form}"):
        archives.read(tmp_path / "text", form)
    (tmp_path / "other.tar").write_bytes(layer(a=b""))
    with pytest.raises(UsageError, match=f"other.tar is no {form}"):
        archives.read(tmp_path / "other.tar", form)
