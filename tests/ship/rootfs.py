"""Images that tests run: the static busybox, and this machine's Python with what it needs, as an OCI or Docker archive.

Made of files of this machine alone: no registry, no debootstrap.
"""

from __future__ import annotations

import io
import json
import os
import platform
import re
import site
import subprocess
import sys
import sysconfig
import tarfile
import threading
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution, requires
from pathlib import Path

from packaging.requirements import Requirement

_APPLETS = ("sh", "cat", "env", "sleep", "id", "ls", "pwd", "echo", "true", "test", "touch", "mkdir", "setsid")
_LEFT_OUT = re.compile(
    r"test|tests|idlelib|lib2to3|tkinter|ensurepip|turtledemo|unittest|distutils|pydoc_data|xml|email|wsgiref|sqlite3"
    r"|__pycache__|(site|dist)-packages|config-.*"
)
_NEVER = re.compile(
    r"test|tests|idlelib|lib2to3|tkinter|ensurepip|turtledemo|distutils|pydoc_data|(site|dist)-packages|config-.*"
    r"|.*\.opt-\d\.pyc|_tkinter.*"
)
SITE = site.getsitepackages(["/usr/local"])[-1].lstrip("/")
"""Where an image's Python finds packages: Debian's does not look into site-packages."""
PLATFORM = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def archive(
    path: Path, *, python: bool = False, form: str = "oci", architecture: str = PLATFORM, packages: Sequence[str] = (),
    files: Mapping[str, bytes] = {}, **more: bytes,
) -> Path:  # fmt: skip
    """An image of these; `more`: name -> content of further files, below the root; `__` in a name is a slash.
    `files`: the same, by paths.

    `packages`: distributions that are installed here, which its Python has with what they need, and all of the library.
    """
    layer = _layer(python or bool(packages), {**files, **more}, packages)
    _write(path, (_oci if form == "oci" else _docker)(layer, _config(layer, architecture)))
    return path


def _config(layer: bytes, architecture: str) -> bytes:
    return json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": ["PATH=/usr/local/bin:/bin", "OF_THE_IMAGE=yes"], "Entrypoint": ["/bin/false"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer).hexdigest()}"]},
        }
    ).encode()


class Registry:
    """A registry on a free port of loopback, with images of busybox alone; `asked`: the blobs that were fetched."""

    def __init__(self, login: str = "", **images: str) -> None:
        """Tag -> its architecture. `login`: USER:PASSWORD, which everybody is asked for."""
        self.asked: list[str] = []
        self._blobs: dict[str, bytes] = {}
        self._tags: dict[str, str] = {}
        for tag, architecture in images.items():
            files = _oci(_layer(False, {}), _config(_layer(False, {}), architecture))
            self._blobs |= {name.rpartition("/")[2]: data for name, data in files.items() if "/" in name}
            self._tags[tag] = json.loads(files["index.json"])["manifests"][0]["digest"].partition(":")[2]
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if login and self.headers["Authorization"] != f"Basic {b64encode(login.encode()).decode()}":
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="images"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                kind, _, name = self.path.rpartition("/")
                digest = outer._tags.get(name, name.removeprefix("sha256:"))
                if kind.endswith("blobs"):
                    outer.asked.append(digest)
                found = b"{}" if self.path == "/v2/" else outer._blobs.get(digest)
                self.send_response(404 if found is None else 200)
                if kind.endswith("manifests"):
                    self.send_header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
                self.send_header("Content-Length", str(len(found or b"")))
                self.end_headers()
                self.wfile.write(found or b"")

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _oci(layer: bytes, config: bytes) -> dict[str, bytes]:
    image = "application/vnd.oci.image"

    def about(data: bytes, kind: str) -> dict[str, object]:
        return {"mediaType": f"{image}.{kind}", "digest": f"sha256:{sha256(data).hexdigest()}", "size": len(data)}

    manifest = {"schemaVersion": 2, "mediaType": f"{image}.manifest.v1+json", "config": about(config, "config.v1+json")}
    listed = json.dumps({**manifest, "layers": [about(layer, "layer.v1.tar")]}).encode()
    index = json.dumps({"schemaVersion": 2, "manifests": [about(listed, "manifest.v1+json")]}).encode()
    blobs = {f"blobs/sha256/{sha256(data).hexdigest()}": data for data in (layer, config, listed)}
    return {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": index, **blobs}


def _docker(layer: bytes, config: bytes) -> dict[str, bytes]:
    name = f"{sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": None, "Layers": ["layer.tar"]}]
    return {name: config, "layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}


def _write(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            _put(tar, name, data)


def _put(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644, mtime: float = 0) -> None:
    about = tarfile.TarInfo(name)
    about.size, about.mode, about.mtime = len(data), mode, mtime
    tar.addfile(about, io.BytesIO(data))


def _layer(python: bool, more: dict[str, bytes], packages: Sequence[str] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("dev", "proc", "sys", "tmp", "etc", "root"):
            about = tarfile.TarInfo(name)
            about.type, about.mode = tarfile.DIRTYPE, 0o777 if name == "tmp" else 0o755
            tar.addfile(about)
        _put(tar, "bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
        for name in _APPLETS:
            about = tarfile.TarInfo(f"bin/{name}")
            about.type, about.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(about)
        for name, data in more.items():
            _put(tar, name.replace("__", "/"), data)
        if python:
            _add_python(tar, _NEVER if packages else _LEFT_OUT, _add_packages(tar, _with_needs(packages)))
    return buffer.getvalue()


def _with_needs(packages: Sequence[str]) -> list[str]:
    found, left = dict[str, None](), list(packages)
    while left:
        if (name := left.pop()) not in found:
            found[name] = None
            wants = map(Requirement, requires(name) or ())
            left += [one.name for one in wants if one.marker is None or one.marker.evaluate({"extra": ""})]
    return list(found)


def _add_packages(tar: tarfile.TarFile, names: Sequence[str]) -> list[Path]:
    """Those of them that are linked with libraries."""
    linked = []
    for name in names:
        for file in distribution(name).files or ():
            path = Path(str(file.locate()))
            if ".." not in file.parts and not any(map(_NEVER.fullmatch, file.parts)) and path.is_file():
                _put(tar, f"{SITE}/{file}", path.read_bytes(), mtime=path.stat().st_mtime)
                linked += [path] if path.suffix == ".so" else []
    return linked


def _add_python(tar: tarfile.TarFile, left_out: re.Pattern[str], linked: list[Path]) -> None:
    program = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    library = Path(sysconfig.get_path("stdlib"))
    _put(tar, "usr/local/bin/python3", program.read_bytes(), 0o755)
    for folder, names, files in os.walk(library):
        names[:] = [name for name in names if not left_out.fullmatch(name)]
        for name in files:
            path = Path(folder, name)
            if left_out.fullmatch(name):
                continue
            _put(
                tar,
                f"usr/local/lib/{library.name}/{path.relative_to(library)}",
                path.read_bytes(),
                0o755,
                path.stat().st_mtime,
            )
    for library_path in _needed([program, *library.glob("lib-dynload/*.so"), *linked]):
        _put(tar, library_path.lstrip("/"), Path(library_path).read_bytes(), 0o755)


def _needed(files: list[Path]) -> list[str]:
    said = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True, check=False).stdout
    return sorted(set(re.findall(r"(/\S+) \(0x", said)))
