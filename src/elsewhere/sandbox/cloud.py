"""One sandbox, put together: its clock, machines, services and door, behind one server."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import secrets
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from elsewhere.sandbox import catalog, doors, gpus, standins
from elsewhere.sandbox.bill import Meter
from elsewhere.sandbox.clock import Clock
from elsewhere.sandbox.control import PATH as CONTROL
from elsewhere.sandbox.control import Control
from elsewhere.sandbox.doors import Doors
from elsewhere.sandbox.ec2.limits import Limits
from elsewhere.sandbox.ec2.service import Ec2
from elsewhere.sandbox.fallback import Moto
from elsewhere.sandbox.faults import Faults
from elsewhere.sandbox.fleet import Fleet, Instance
from elsewhere.sandbox.front import Front
from elsewhere.sandbox.http import Request, Response, Service
from elsewhere.sandbox.keys import Keys
from elsewhere.sandbox.machines import Machine
from elsewhere.sandbox.market import STEP, Market
from elsewhere.sandbox.metadata import PREFIX, Metadata
from elsewhere.sandbox.parameters import Parameters
from elsewhere.sandbox.pricing import Pricing
from elsewhere.sandbox.quotas import ServiceQuotas
from elsewhere.sandbox.server import Server
from elsewhere.sandbox.sessions import Sessions
from elsewhere.sandbox.state import Found
from elsewhere.sandbox.sts import Sts
from elsewhere.sandbox.walls import Walls, lacking

_NOTICE = 120.0


@dataclass(frozen=True, slots=True)
class Settings:
    speed: float = 1.0
    """Seconds of the sandbox to each of ours."""
    seed: int = 0
    region: str = "us-east-1"
    lag: float = 5.0
    """Seconds of the sandbox, at most, by which answers may lag behind what happened."""
    throttle: bool = True
    """Whether the published buckets are held to."""
    isolation: str = "none"
    """none: machines are plain processes; netns: each in a network namespace; auto: netns where it can be."""


class Cloud:
    """Everything of one sandbox; `directory` is its own. `start`, then `close`, which ends every machine."""

    def __init__(self, directory: Path, settings: Settings = Settings()) -> None:
        self.directory, self.settings = directory, settings
        self.mark = secrets.token_hex(8)
        self.token = secrets.token_urlsafe(24)
        self.clock = Clock(settings.speed)
        self.keys, self.meter, self.market = Keys(), Meter(), Market(settings.seed)
        self.moto = Moto()
        self.fleet = Fleet(self.clock, self._machine, settings.lag, settings.seed)
        self.limits = Limits(self.fleet, settings.throttle)
        self.faults = Faults(self.clock.now)
        self.front = Front(self.keys, self.faults, self.meter, self._cut_off, directory / "log")
        self.front.otherwise = self.moto
        self.sessions = Sessions(self.fleet, Parameters(self.moto))
        self.front.services = self._services()
        self.metadata = Metadata(self.fleet, self.clock, self.keys)
        self.over = threading.Event()
        self.control = Control(self)
        self.server = Server(self.answer)
        self.walls = self._walls()
        self.doors = None if self.walls is None else Doors(self.fleet, self.moto, self.walls.hold)
        self.fleet.ended = self._forget
        self.fleet.fitted = self._fit

    def _services(self) -> dict[str, Service]:
        ec2 = Ec2(self.fleet, self.market, self.limits, self.moto, self.clock)
        ec2.regrouped = self.renew_doors
        services: dict[str, Service] = {
            "ec2": ec2,
            "sts": Sts(self.keys, self.moto),
            "ssm": self.sessions,
            "pricing": Pricing(),
            "servicequotas": ServiceQuotas(self.limits),
        }
        queues = _queues()
        if queues is not None:
            services["sqs"] = queues
        return services

    def _walls(self) -> Walls | None:
        how = self.settings.isolation
        return Walls(self.mark) if how == "netns" or (how == "auto" and not lacking()) else None

    def start(self) -> None:
        standins.lay(self.directory / standins.BIN)
        self.server.start()
        if self.walls is not None:
            self.walls.open(self.server.port, self.answer, self._tell_machine, doors.text())
        self.moto.load()
        self._watch_prices()

    @property
    def found(self) -> Found:
        user = self.keys.user
        return Found(
            os.getpid(), self.server.port, self.token, self.mark, self.settings.region, user.access_key, user.secret
        )

    def answer(self, request: Request) -> Response | None:
        if request.path.startswith(PREFIX):
            return self.metadata.answer(request)
        if request.path == CONTROL:
            return self.control.answer(request)
        return self.front.answer(request)

    def close(self) -> None:
        """Again: harmless. Every machine's processes are gone when it returns, and their files."""
        self.clock.close()
        self.fleet.close()
        for service in self.front.services.values():
            service.close()
        self.server.close()
        if self.walls is not None:
            self.walls.close()
        shutil.rmtree(self.directory / "machines", ignore_errors=True)

    def _tell_machine(self, request: Request) -> Response | None:
        """What comes to 169.254.169.254: whose it is, its address tells."""
        instance = self.fleet.at(request.peer)
        if instance is None:
            return None
        return self.metadata.answer(replace(request, path=PREFIX + instance.secret + request.path))

    def _machine(self, id: str, secret: str, address: str) -> Machine:
        endpoint = f"http://127.0.0.1:{self.server.port}"
        variables = {"AWS_ENDPOINT_URL": endpoint}
        if self.walls is None:
            variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = f"{endpoint}{PREFIX}{secret}"
            variables["AWS_METADATA_ENDPOINT"] = f"{endpoint}{PREFIX}{secret}"
        place = ("127.0.0.1", self.server.port, PREFIX + secret)
        wall = None if self.walls is None else self.walls.wall(id, address, self.server.port)
        home = self.directory / "machines" / id
        return Machine(id, home, f"{self.mark}-{id}", variables, place, wall, self.metadata.answer)

    def renew_doors(self) -> None:
        """Which machine hears which, after a change of either or of a rule; behind no walls each hears all."""
        if self.doors is not None:
            self.doors.renew()

    def _forget(self, instance: Instance) -> None:
        self.keys.forget(instance.id)
        self.sessions.forget(instance.id)
        with contextlib.suppress(OSError):  # who is gone is not in anybody's way; its address is never another's
            self.renew_doors()

    def _fit(self, instance: Instance) -> None:
        self.renew_doors()
        kind = catalog.types().get(instance.order.type)
        if kind is not None and kind.gpus:
            broken = self.faults.take("machine", gpus.ACTION) is not None
            instance.machine.programs[gpus.ACTION] = gpus.program(kind.gpus, broken)

    def _cut_off(self, machine: str) -> bool:
        instance = self.fleet.instances.get(machine)
        return instance is not None and instance.partitioned

    def _watch_prices(self) -> None:
        self.look_at_prices()
        self.clock.at(self.clock.now() + STEP, self._watch_prices)

    def look_at_prices(self) -> None:
        """Spot machines whose price has passed their own limit are taken back, with notice."""
        now = self.clock.now()
        for instance in self.fleet.alive():
            if instance.notice is None and self._is_outbid(instance, now):
                self.fleet.preempt(instance.id, _NOTICE)

    def _is_outbid(self, instance: Instance, now: float) -> bool:
        order = instance.order
        limit = order.max_price or self.market.on_demand(order.type, order.region)
        return order.spot and self.market.spot(order.type, order.zone, now) > limit


def _queues() -> Service | None:
    """SQS of the sandbox's own, where it is installed; moto's is slow."""
    name = "elsewhere.sandbox.sqs"
    if importlib.util.find_spec(name) is None:
        return None
    make: Callable[[], Service] = importlib.import_module(name).Queues
    return make()
