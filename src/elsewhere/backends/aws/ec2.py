"""The backend of EC2. Each verb is a few calls in the caller's thread, each with a bound on how long it waits.

RunInstances is called once per asking, or once for each part of a large one: an answer then says what became of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from elsewhere import aws
from elsewhere.backends.aws import away, catalog, ground, policy, request, shell
from elsewhere.backends.aws import images as ami
from elsewhere.backends.aws.clients import shared
from elsewhere.backends.aws.forward import Forward
from elsewhere.backends.aws.labels import PREFIX, SIGNATURE, escape, signed
from elsewhere.backends.aws.network import Network, Subnet
from elsewhere.backends.aws.settings import ARCHITECTURES, AwsSettings
from elsewhere.backends.aws.sightings import ID, sighting
from elsewhere.backends.aws.types import burstable, machine_type
from elsewhere.backends.base import Condition, Deposit, Finding, Ground, Launch, NativeId, Sighting, Traits
from elsewhere.errors import InternalError, NotFound, PlaceError, Refused, Unreachable
from elsewhere.model.catalog import Catalog, Image, MachineType
from elsewhere.model.place import Offer
from elsewhere.model.resources import Resources

_PAGE, _NAMED, _ENDED, _TAGGED = 1000, 200, 500, 500
"""Machines in a page of an answer, named in one filter, ended in one call, tagged in one."""
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
_SIGNED = [{"Name": "tag-key", "Values": [PREFIX + name]} for name in SIGNATURE]
ALIVE = (Condition.PENDING, Condition.RUNNING)


class Aws:
    """Machines of EC2, in the place's region, or in that of the offer's zone."""

    Settings: ClassVar[type[AwsSettings]] = AwsSettings
    traits: ClassVar[Traits] = Traits(
        prices=True, interruptible=True, outlives_client=True, lag=timedelta(seconds=10), channels=("sqs",)
    )

    def __init__(self, settings: AwsSettings | None = None) -> None:
        aws.require()
        self.settings = settings or AwsSettings()
        aws.prefer(self.settings.profile)
        self.clients = shared(self.settings)
        self.network = Network(self.clients)
        self.shop = catalog.Shop(self.clients)
        self._regions: dict[NativeId, str] = {}
        """Of machines that bear our full signature, as we asked for or saw them."""
        self._ended: dict[NativeId, datetime] = {}
        self._types: dict[tuple[str, str], MachineType] = {}
        self._images: dict[tuple[str, str, bool], ami.Found] = {}

    # --- what is sold ---

    def offers(self, need: Resources) -> Sequence[Offer]:
        disk = max(self.settings.disk, (need.disk or 0) + request.SYSTEM)
        return catalog.offers(self.catalog(self.clients.regions), need, self.settings, disk)

    def catalog(self, regions: Sequence[str], fresh: bool = False) -> Catalog:
        """Without those where the image is not to be had that the settings name. Refused if that is all of them."""
        regions = regions or self.clients.regions
        with ThreadPoolExecutor(1) as other:  # neither needs to know what the other finds
            having = other.submit(ami.having, self.clients, regions, self.settings.image)
            found = self.shop.catalog(regions, fresh)
            return catalog.within(found, having.result())

    def regions(self) -> Sequence[str]:
        return catalog.regions(self.clients)

    def images(self) -> Sequence[Image]:
        found, region = [], self.clients.region
        for architecture in (self.settings.architecture,) if self.settings.architecture else ARCHITECTURES:
            try:
                image = ami.find(self.clients, region, self.settings.image, architecture)
            except Refused:
                continue  # an image that was named is made for one of them
            found.append(Image(image.name, image.id, region, image.architecture, image.created))
        return found

    def networks(self) -> Collection[str]:
        return self.network.networks(self.clients.region)

    # --- what its machines and their controller share ---

    def deposit(self) -> Deposit:
        aws.use(away.place_of(self.clients, self.settings.bucket)[0], self.settings.profile)
        return away.deposit(self.clients, self.settings.bucket)

    def ground(self) -> Ground:
        bucket, prefix = away.place_of(self.clients, self.settings.bucket)
        return ground.ground(self.clients.region, bucket, f"{prefix}/")

    def identify(self, proof: bytes, claim: bytes) -> NativeId:
        return away.identify(self.clients, proof, claim)

    def shell(self, native_id: NativeId, zone: str = "") -> Sequence[str]:
        return shell.words(native_id, region_of(zone) or self.clients.region, self.settings.profile)

    def gathering(self) -> str:
        return self.network.gathering(self.clients.region)

    def forwards(self) -> None:
        shell.require("a way to a port of a machine of AWS")

    def forward(self, native: NativeId, port: int, zone: str = "") -> Forward:
        self.forwards()
        region, profile = region_of(zone) or self.clients.region, self.settings.profile
        return Forward(lambda here: shell.forwarding(native, port, here, region, profile), region, profile)

    def policy(self, who: str = "user") -> Mapping[str, Any]:
        return policy.document(self.settings, who)

    def hires(self, architecture: str) -> tuple[Aws, timedelta]:
        own = replace(self.settings, instance_profile=self.settings.controller_profile, spot=False,
                      architecture=self.settings.architecture or architecture)  # fmt: skip
        return Aws(own), self.settings.controller_term

    # --- machines ---

    def submit(self, launch: Launch) -> Sequence[NativeId]:
        """One RunInstances for each part of it, under tokens made of the launch's id: the same parts each time.

        A part that is refused, or comes short, is the end: what came until then, and what the labels show, is the
        answer. Of a part whose reply was lost nothing is known, so nothing is said of the others.
        """
        if not signed({"launch": launch.id, **launch.labels}):
            raise InternalError(f"the launch {launch.id} lacks one of our labels: {', '.join(SIGNATURE)}")
        if any(secret in launch.script for secret in self.clients.secrets()):
            raise InternalError("the boot text holds the credentials of this machine; nothing was launched")
        region, words = self.plan(launch)
        natives: list[NativeId] = []
        for part in request.parts(launch, words):
            try:
                came = self._run(launch.id, region, part)
            except Unreachable:
                raise
            except PlaceError:
                if not natives:
                    raise
                came = self._come(launch.id, region)  # it may be the echo of one that was asked for before
            natives = list(dict.fromkeys([*natives, *came]))
            if len(came) < part["MaxCount"]:
                break
        self._regions.update(dict.fromkeys(natives, region))
        return natives

    def _run(self, launch: str, region: str, words: Mapping[str, Any]) -> list[NativeId]:
        try:
            with self.clients.talking("ec2:RunInstances", region):
                answer = self.clients.get("ec2", region, once=True).run_instances(**words)
        except InternalError as error:
            if "IdempotentParameterMismatch" not in error.message:
                raise
            # The token is known with other words: an image or subnet that changed meanwhile. The labels have the set.
            found = self._launched(launch, region)
            if not found:  # it was made all the same; a moment later they are shown
                raise Unreachable(f"the launch {launch} is not shown yet", hint="it is asked again") from None
            return found
        except Refused as error:
            if "IdempotentInstanceTerminated" not in error.message:
                raise
            return self._launched(launch, region)  # it had come, and has ended since
        return [str(instance["InstanceId"]) for instance in answer["Instances"]]

    def plan(self, launch: Launch, create: bool = True) -> tuple[str, dict[str, Any]]:
        """Where to, and the arguments of RunInstances. `create`: our closed security group may be made."""
        offer = launch.offer or self._cheapest(launch.shape)
        region = region_of(offer.zone) or self.clients.region
        with ThreadPoolExecutor(1) as other:  # neither needs to know what the other finds
            place = other.submit(self._place, region, offer.zone, create)
            kind = self._type(region, offer.name)
            image = self._image(region, kind)
            subnet, group = place.result()
        site = request.Site(
            kind.name, subnet.zone, offer.spot, image, group, subnet.id, burstable(kind.name)
        )  # fmt: skip
        return region, request.build(launch, self.settings, site)

    def _place(self, region: str, zone: str, create: bool) -> tuple[Subnet, str]:
        """Network and door of a machine there."""
        subnet = self.network.subnet(region, zone)
        return subnet, self.network.group(region, subnet.vpc) if create else self.network.ours(region, subnet.vpc)

    def status(self, ids: Collection[NativeId]) -> Mapping[NativeId, Sighting]:
        known = {native for native in ids if ID.fullmatch(native)}
        if len(known) > _NAMED:
            return {seen.native: seen for seen in self.owned() if seen.native in known}
        found: dict[NativeId, Sighting] = {}
        for region in dict.fromkeys(self._regions.get(native, "") for native in known):
            some = [native for native in known if self._regions.get(native, "") == region]
            for where in [region] if region else self.clients.regions:
                filters = [{"Name": "instance-id", "Values": some}]
                found.update({seen.native: seen for seen in self._seen(where, filters)})
        return found

    def cancel(self, ids: Collection[NativeId]) -> None:
        """Of machines that nobody has seen yet with our full signature, the labels are looked at first."""
        known = [native for native in dict.fromkeys(ids) if ID.fullmatch(native)]
        strange = [native for native in known if native not in self._regions]
        for seen in self.status(strange).values():
            if not signed(seen.labels):
                raise Refused(f"{seen.native} does not bear our full signature; it was not stopped, nor any other",
                              hint="If it is yours to stop: `aws ec2 terminate-instances`.")  # fmt: skip
        mine: dict[str, list[NativeId]] = {}
        for native in known:
            if native in self._regions:
                mine.setdefault(self._regions[native], []).append(native)
        for region, natives in mine.items():
            for k in range(0, len(natives), _ENDED):
                self._terminate(region, natives[k : k + _ENDED])

    def ring(self, ids: Collection[NativeId]) -> None:
        """By a tag of theirs that shows in their metadata: its value is new each time."""
        now, mine = datetime.now(UTC).isoformat(), [native for native in ids if native in self._regions]
        for region in sorted({self._regions[native] for native in mine}):
            some = sorted(native for native in mine if self._regions[native] == region)
            for k in range(0, len(some), _TAGGED):
                with self.clients.talking("ec2:CreateTags", region):
                    tag = {"Key": aws.RING, "Value": now}
                    self.clients.get("ec2", region).create_tags(Resources=some[k : k + _TAGGED], Tags=[tag])

    def owned(self) -> Iterable[Sighting]:
        """One sweep of the regions asked; a page is a thousand machines."""
        found = [seen for region in self.clients.regions for seen in self._seen(region, _SIGNED)]
        return [seen for seen in found if signed(seen.labels)]

    def logs(self, native_id: NativeId, start: int = 0) -> bytes:
        """The serial console, as far as EC2 has taken it up; minutes late."""
        region, text = self._where(native_id), ""
        try:
            with self.clients.talking("ec2:GetConsoleOutput", region):
                # botocore has decoded the base64 of it
                answer = self.clients.get("ec2", region).get_console_output(InstanceId=native_id)
                text = str(answer.get("Output") or "")
        except NotFound:
            pass  # made or seen by us, and not known everywhere yet
        return text.encode("utf-8", "surrogateescape")[start:]

    def check(self) -> Iterable[Finding]:
        from elsewhere.backends.aws.check import check

        return check(self)

    # --- within ---

    def _cheapest(self, shape: Resources) -> Offer:
        found = self.offers(shape)
        if not found:
            raise Refused(f"nothing in {', '.join(self.clients.regions)} has {shape.cpus:g} CPUs and the rest",
                          hint="Ask for less, or allow other regions, zones or architectures.")  # fmt: skip
        return found[0]

    def _type(self, region: str, name: str) -> MachineType:
        if (region, name) not in self._types:
            with self.clients.talking("ec2:DescribeInstanceTypes", region):
                answer = self.clients.get("ec2", region).describe_instance_types(InstanceTypes=[name])["InstanceTypes"]
            if not answer:
                raise Refused(f"there is no machine type {name!r} in {region}",
                              hint="`elsewhere offers` lists the machine types of a region.")  # fmt: skip
            self._types[region, name] = machine_type(answer[0])
        return self._types[region, name]

    def _image(self, region: str, kind: MachineType) -> ami.Found:
        """Kept as long as this place is: the same launch must have the same image when it is asked for again."""
        key = (region, kind.architecture, bool(kind.gpus))
        if key not in self._images:
            named = self.settings.image
            found = ami.find(self.clients, region, named, *key[1:]) if named else self.shop.image(*key)
            self._images[key] = found
        return self._images[key]

    def _launched(self, launch: str, region: str) -> list[NativeId]:
        filters = [{"Name": f"tag:{PREFIX}launch", "Values": [escape(launch)]}]
        return [seen.native for seen in self._seen(region, filters)]

    def _come(self, launch: str, region: str) -> list[NativeId]:
        """As `_launched`. Unreachable if that is not to be had: some are there, so nobody may take it for a refusal."""
        try:
            return self._launched(launch, region)
        except PlaceError as error:
            raise Unreachable(f"it is not known what came of the launch {launch}: {error.message}", hint=error.hint
                              ) from error  # fmt: skip

    def _seen(self, region: str, filters: Sequence[Mapping[str, Any]]) -> Iterator[Sighting]:
        with self.clients.talking("ec2:DescribeInstances", region):
            pages = self.clients.get("ec2", region).get_paginator("describe_instances")
            asked = pages.paginate(Filters=list(filters), PaginationConfig={"PageSize": _PAGE})
            found = [each for page in asked for group in page["Reservations"] for each in group["Instances"]]
        for each in found:
            yield self._noted(sighting(each), region)

    def _noted(self, seen: Sighting, region: str) -> Sighting:
        if signed(seen.labels):
            self._regions[seen.native] = region
        if seen.condition in ALIVE or seen.ended is not None:
            return seen
        # the place does not say when: not later than now, when we first saw it so
        return replace(seen, ended=self._ended.setdefault(seen.native, datetime.now(UTC)))

    def _where(self, native: NativeId) -> str:
        if native not in self._regions and native not in self.status([native]):
            raise NotFound(f"there is no machine {native} in {', '.join(self.clients.regions)}")
        return self._regions.get(native, self.clients.region)

    def _terminate(self, region: str, natives: list[NativeId]) -> None:
        """All of them; those that are gone for good are left out, or one would keep all others alive."""
        while natives:
            try:
                with self.clients.talking("ec2:TerminateInstances", region):
                    self.clients.get("ec2", region).terminate_instances(InstanceIds=natives)
                return
            except NotFound as error:
                gone = set(ID.findall(error.message))
                left = [native for native in natives if native not in gone]
                if len(left) == len(natives) and len(natives) > 1:
                    for native in natives:
                        self._terminate(region, [native])
                    return
                natives = [] if len(left) == len(natives) else left


def region_of(zone: str) -> str:
    """`us-east-1` of `us-east-1a`, and of the local zone `us-east-1-bos-1a`; empty if there is none."""
    found = _REGION.match(zone)
    return found[0] if found else ""
