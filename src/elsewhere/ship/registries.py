"""SHIP registries: whether one has an image, and for which processors, asked before anything is started.

By the OCI distribution specification (github.com/opencontainers/distribution-spec), with the logins that `docker login`
and `podman login` have left here. Only a clear answer counts: where nobody answers, or a login is missing, nothing is
known, and the machines find out.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from elsewhere.config.home import home
from elsewhere.hosts import private_directory, write_whole

LIMIT = 6.0
"""Seconds for all questions together: whoever is offline does not wait longer."""
THERE, SILENT = 86400.0, 600.0
"""Seconds for which a good answer is believed, and none is asked who gave no answer."""
_HUB = "docker.io"
_DOCKER = "application/vnd.docker.distribution.manifest"
_KINDS = ("application/vnd.oci.image.index.v1+json", f"{_DOCKER}.list.v2+json",
          "application/vnd.oci.image.manifest.v1+json", f"{_DOCKER}.v2+json")  # fmt: skip
_ABSENT = ("MANIFEST_UNKNOWN", "NAME_UNKNOWN")
_LOCAL = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?")
_MOST = 4 << 20
"""Bytes of an answer."""


@dataclass(frozen=True, slots=True)
class Name:
    """`docker.io/library/python:3.12` in its parts. `version`: a tag, or a digest."""

    registry: str
    repository: str
    version: str

    @property
    def host(self) -> str:
        """Whom to ask."""
        return "registry-1.docker.io" if self.registry == _HUB else self.registry


@dataclass(frozen=True, slots=True)
class Answer:
    """What a registry says of an image. `processors`: those that it is for; empty: it does not say. `nearest`: tags
    like the one that is not there."""

    there: bool
    processors: frozenset[str] = frozenset()
    nearest: tuple[str, ...] = ()


def name_of(image: str) -> Name | None:
    """None: it does not say which registry, or it is that of whatever machine asks."""
    text = image.removeprefix("docker://")
    registry, slash, rest = text.partition("/")
    if "://" in text or not slash or not re.search(r"[.:]", registry) or _LOCAL.fullmatch(registry):
        return None
    rest, _, digest = rest.partition("@")
    repository, colon, tag = rest.rpartition(":")
    if not colon:
        repository, tag = rest, "latest"
    if registry in ("index.docker.io", "registry-1.docker.io"):
        registry = _HUB
    if registry == _HUB and "/" not in repository:
        repository = f"library/{repository}"
    return Name(registry, repository, digest or tag)


def ask(image: str) -> Answer | None:
    """What its registry says; None: nobody knows. Waits some seconds at most; good answers are remembered for a day."""
    name = name_of(image)
    if name is None:
        return None
    kept = home() / "cache" / "images" / f"{sha256(image.encode()).hexdigest()}.asked"
    with suppress(OSError, ValueError):
        found = json.loads(kept.read_bytes())
        if time.time() - kept.stat().st_mtime < (SILENT if found is None else THERE):
            return None if found is None else Answer(True, frozenset(found))
    answers: list[Answer | None] = []
    asking = threading.Thread(target=lambda: answers.append(_asked(name)), daemon=True)  # names resolve without a limit
    asking.start()
    asking.join(LIMIT)
    answer = answers[0] if answers else None
    if answer is None or answer.there:
        with suppress(OSError):
            private_directory(kept.parent)
            write_whole(kept, json.dumps(None if answer is None else sorted(answer.processors)).encode())
    return answer


def _asked(name: Name) -> Answer | None:
    try:
        return _Registry(name).answer()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


class _Registry:
    """Of one image. Its errors are those of the network, and of answers that are not as they should be."""

    def __init__(self, name: Name) -> None:
        self.name, self._login = name, _login(name.registry)
        self._headers: dict[str, str] = {}
        self._scheme = "https"

    def answer(self) -> Answer | None:
        status, body = self._get(f"manifests/{self.name.version}")
        if status == 200:
            return Answer(True, frozenset(self._processors(json.loads(body))))
        official = self.name.registry == _HUB and self.name.repository.startswith("library/")
        let_in = bool(self._headers) and official  # all of those are public
        if (status == 404 and _code(body) in _ABSENT) or (status == 401 and let_in):
            return Answer(False, nearest=self._nearest())
        return None

    def _processors(self, manifest: Mapping[str, Any]) -> Iterator[str]:
        if "manifests" in manifest:
            for one in manifest["manifests"]:
                about = one.get("platform", {})
                if about.get("os") == "linux":
                    yield _processors(about["architecture"])
            return
        status, body = self._get(f"blobs/{manifest['config']['digest']}")
        if status == 200 and (known := json.loads(body).get("architecture")):
            yield _processors(known)

    def _nearest(self) -> tuple[str, ...]:
        with suppress(OSError, ValueError, TypeError):
            status, body = self._get("tags/list?n=1000")
            if status == 200:
                tags = json.loads(body).get("tags") or ()
                return tuple(difflib.get_close_matches(self.name.version, tags, 3))
        return ()

    def _get(self, what: str) -> tuple[int, bytes]:
        """Once more with what the registry wants for it, where it wants something."""
        url = f"{self.name.host}/v2/{self.name.repository}/{what}"
        status, body, wants = self._fetched(url, self._headers)
        if status == 401 and (headers := self._admission(wants)):
            self._headers = headers
            status, body, _ = self._fetched(url, headers)
        return status, body

    def _fetched(self, url: str, headers: Mapping[str, str]) -> tuple[int, bytes, str]:
        """A registry on this machine need not have a certificate, as Docker has it."""
        try:
            return _fetch(f"{self._scheme}://{url}", headers)
        except OSError:
            if self._scheme == "http" or not _is_here(self.name.host):
                raise
            self._scheme = "http"
            return _fetch(f"http://{url}", headers)

    def _admission(self, wants: str) -> dict[str, str]:
        kind, _, rest = wants.partition(" ")
        if kind.lower() == "basic":
            return {"Authorization": f"Basic {self._login}"} if self._login else {}
        told = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = told.get("realm", "")
        if kind.lower() != "bearer" or not realm.startswith("https://" if self._scheme == "https" else "http"):
            return {}
        from urllib.parse import urlencode

        asked = {"service": told.get("service", ""), "scope": f"repository:{self.name.repository}:pull"}
        login = {"Authorization": f"Basic {self._login}"} if self._login else {}
        status, body, _ = _fetch(f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked)}", login)
        if status != 200:
            return {}
        found = json.loads(body)
        return {"Authorization": f"Bearer {found.get('token') or found['access_token']}"}


def _fetch(url: str, headers: Mapping[str, str]) -> tuple[int, bytes, str]:
    """(status, body, what is wanted of us): by the proxies and certificates that Python knows."""
    import urllib.error
    import urllib.request

    asked = urllib.request.Request(url, headers={"Accept": ", ".join(_KINDS)})
    for key, value in headers.items():
        asked.add_unredirected_header(key, value)  # it is of this host alone
    try:
        with urllib.request.urlopen(asked, timeout=LIMIT) as answer:
            return answer.status, answer.read(_MOST), ""
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(_MOST), error.headers.get("WWW-Authenticate", "")


def _code(body: bytes) -> str:
    """That of an error, which a page of a proxy has not."""
    with suppress(ValueError, KeyError, IndexError, TypeError):
        return str(json.loads(body)["errors"][0]["code"])
    return ""


def _is_here(host: str) -> bool:
    import socket

    with suppress(OSError):
        return socket.gethostbyname(host.partition(":")[0]).startswith("127.")
    return False


def _processors(name: str) -> str:
    return {"amd64": "x86_64", "aarch64": "arm64"}.get(name, name)


# -- logins


def _login(registry: str) -> str:
    """`user:password` in base 64, as a login has left it here; empty: there is none."""
    names = [registry, *(["https://index.docker.io/v1/", "index.docker.io"] if registry == _HUB else [])]
    for told in _told():
        for name in names:
            if auth := (told.get("auths", {}).get(name) or {}).get("auth"):
                return str(auth)
            helper = told.get("credHelpers", {}).get(name) or told.get("credsStore", "")
            if helper and (auth := _helped(helper, name)):
                return auth
    return ""


def _told() -> Iterator[Mapping[str, Any]]:
    """The files of Podman and Docker, in that order, as each looks for them (containers-auth.json(5))."""
    env, house = os.environ, Path.home()
    run = env.get("XDG_RUNTIME_DIR", "")
    files = [env.get("REGISTRY_AUTH_FILE", ""), f"{run}/containers/auth.json" if run else "",
             str(house / ".config/containers/auth.json"),
             str(Path(env.get("DOCKER_CONFIG") or house / ".docker") / "config.json")]  # fmt: skip
    texts = [env.get("DOCKER_AUTH_CONFIG", "")]
    for path in filter(None, files):
        with suppress(OSError, UnicodeDecodeError):
            texts.append(Path(path).read_text())
    for text in texts:
        with suppress(ValueError):
            if isinstance(found := json.loads(text), dict):
                yield found


def _helped(helper: str, registry: str) -> str:
    """What a program keeps for Docker (docs.docker.com/reference/cli/docker/login, credential helpers)."""
    import base64
    import subprocess

    with suppress(OSError, ValueError, KeyError, subprocess.SubprocessError):
        done = subprocess.run([f"docker-credential-{helper}", "get"], input=registry, capture_output=True, text=True,
                              timeout=LIMIT, check=True)  # fmt: skip
        found = json.loads(done.stdout)
        if found["Username"] != "<token>":
            return base64.b64encode(f"{found['Username']}:{found['Secret']}".encode()).decode()
    return ""
