"""moto, within this process: what the sandbox does not answer itself, and the networks and images that it keeps.

Loading it takes seconds, so that this begins in the background and only who needs it waits.
"""

from __future__ import annotations

import io
import os
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from elsewhere.sandbox import images
from elsewhere.sandbox.http import Request, Response

ACCOUNT = "123456789012"


@dataclass(frozen=True, slots=True)
class Subnet:
    id: str
    vpc: str
    zone: str
    cidr: str


@dataclass(frozen=True, slots=True)
class Rule:
    """What a security group lets in: from a network (IPv4), or from the members of a group."""

    protocol: str
    """tcp, udp, icmp, a number, or -1: all."""
    first: int = 0
    last: int = 65535
    cidr: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    id: str
    vpc: str
    rules: tuple[Rule, ...] = ()


PROFILES = ("elsewhere", "elsewhere-controller")


class Moto:
    """A Service. `load` is called once, at start; all else waits for it."""

    def __init__(self) -> None:
        self._loaded = threading.Event()
        self._conditional = threading.Lock()
        self._defaults: set[str] = set()
        self._defaults_lock = threading.Lock()
        self._app: Any = None
        self._error: BaseException | None = None

    def load(self) -> None:
        threading.Thread(target=self._load, name="moto", daemon=True).start()

    def _load(self) -> None:
        try:
            # Its checks would ask a server of its own for credentials, and its data must not depend on the user's.
            os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "true")
            from moto.ec2.models import amis, ec2_backends
            from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

            known = {row["ami_id"] for row in amis.AMIS}
            amis.AMIS.extend(row for row in images.rows() if row["ami_id"] not in known)
            _give_profile()
            self._backends = ec2_backends
            self._app = DomainDispatcherApplication(create_backend_app)
        except BaseException as error:
            self._error = error
        self._loaded.set()

    def wait(self) -> None:
        """Until it is loaded."""
        self._loaded.wait()
        if self._error is not None:
            raise RuntimeError(f"moto could not be loaded: {self._error}") from self._error

    def answer(self, request: Request) -> Response:
        self.wait()
        said: dict[str, Any] = {}

        def start(status: str, headers: list[tuple[str, str]], *_: object) -> None:
            said["status"], said["headers"] = int(status.split(" ", 1)[0]), headers

        # moto looks whether an object is there and then writes it: two who create at once would both be told so.
        alone = "if-none-match" in request.headers or "if-match" in request.headers
        with self._conditional if alone and request.method == "PUT" else nullcontext():
            parts = self._app(_environ(request), start)
            try:
                body = b"".join(parts)
            finally:
                if hasattr(parts, "close"):
                    parts.close()
        return Response(said["status"], body, {name.lower(): value for name, value in said["headers"]})

    def close(self) -> None:
        pass

    def image(self, region: str, id: str) -> str | None:
        """The image's architecture; None: there is none of that id."""
        self.wait()
        found = self._backends[ACCOUNT][region].amis.get(id)
        return str(found.architecture) if found else None

    def subnets(self, region: str) -> list[Subnet]:
        """Those of the default VPC first."""
        self.wait()
        found = self._backends[ACCOUNT][region].describe_subnets()
        found = sorted(found, key=lambda subnet: not subnet.default_for_az)
        return [Subnet(s.id, s.vpc_id, s.availability_zone, s.cidr_block) for s in found]

    def groups(self, region: str) -> dict[str, Group]:
        """All security groups there, by id."""
        self.wait()
        known = [one for some in list(self._backends[ACCOUNT][region].groups.values()) for one in list(some.values())]
        return {one.id: Group(one.id, str(one.vpc_id), tuple(map(_rule, list(one.ingress_rules)))) for one in known}

    def default_group(self, region: str, vpc: str) -> str:
        """That of the network, in which a machine is when nothing else is asked for; as EC2 makes it, it admits its
        own members."""
        self.wait()
        backend: Any = self._backends[ACCOUNT][region]
        found = backend.get_default_security_group(vpc)
        if found is None:  # somebody has deleted it, which EC2 would have refused
            return ""
        with self._defaults_lock:
            if found.id not in self._defaults and not found.ingress_rules:
                backend.authorize_security_group_ingress(
                    found.id, "-1", None, None, [], source_groups=[{"GroupId": found.id}]
                )
            self._defaults.add(found.id)
        return str(found.id)

    def role(self, profile: str) -> str | None:
        """The role of an instance profile, by the profile's name; None: there is no such profile, or it has none."""
        self.wait()
        from moto.iam.models import iam_backends

        for found in iam_backends[ACCOUNT]["aws"].instance_profiles.values():
            if found.name == profile and found.roles:
                return str(found.roles[0].name)
        return None


def _rule(rule: Any) -> Rule:
    first = 0 if rule.from_port is None else int(rule.from_port)
    last = 65535 if rule.to_port is None else int(rule.to_port)
    return Rule(
        str(rule.ip_protocol), first, last, str(rule.cidr_ipv4 or ""), str(rule.source_group.get("GroupId", ""))
    )


def _give_profile() -> None:
    """The instance profiles that machines get by default, as the page for a new account has it made."""
    from moto.iam.models import iam_backends

    iam = iam_backends[ACCOUNT]["aws"]
    known = {found.name for found in iam.instance_profiles.values()}
    for name in PROFILES:
        if name not in known:
            iam.create_role(name, "{}", "/", None, "", [], None)
            iam.create_instance_profile(name, "/", [])
            iam.add_role_to_instance_profile(name, name)


def _environ(request: Request) -> dict[str, Any]:
    raw = request.path + (f"?{request.query}" if request.query else "")
    host, _, port = request.headers.get("host", "127.0.0.1:80").partition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "QUERY_STRING": request.query,
        "RAW_URI": raw,
        "REQUEST_URI": raw,
        "SERVER_NAME": host,
        "SERVER_PORT": port or "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(request.body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.input_terminated": True,
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        if name not in ("content-type", "content-length", "transfer-encoding"):
            environ["HTTP_" + name.upper().replace("-", "_")] = value
    return environ
