"""What settings ask of machines: the keys that the command line's options have, in runs and in places."""

from __future__ import annotations

import os
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from elsewhere.choose import given
from elsewhere.cli import wanting
from elsewhere.config import load, settings
from elsewhere.errors import ConfigError
from elsewhere.model.spans import Span

GIB = 1 << 30


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("ELSEWHERE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "project"
    (path / ".git").mkdir(parents=True)
    monkeypatch.chdir(path)
    return path


def written(text: str) -> load.Settings:
    Path("elsewhere.yaml").write_text(text)
    return load.current()


def test_every_option_that_asks_something_of_machines_is_a_key_of_settings() -> None:
    ours = settings.keys(settings.Machines)
    assert {option.key for option in wanting.OPTIONS} - {"disk"} == set(ours), "disk is a key of Needs"


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("spot: true", "spot", "spot"),
        ("spot: false", "spot", "on-demand"),
        ("spot: prefer", "spot", "prefer"),
        ('machine-types: "c7*,m7*"', "machine_types", ("c7*", "m7*")),
        ("machine_types: ['re:c7,m7', c5*]", "machine_types", ("re:c7,m7", "c5*")),
        ("instance-types: c5*", "machine_types", ("c5*",)),
        ("machine-cpus: 4..16", "machine_cpus", Span(4, 16)),
        ("machine-cpus: 4", "machine_cpus", Span(4, 4)),
        ("machine-memory: 8GiB..", "machine_memory", Span(8 * GIB, None)),
        ("machines: 5", "machines", Span(None, 5)),
        ("instances: 2..5", "machines", Span(2, 5)),
        ("max-total-cpus: 64", "total_cpus", Span(None, 64)),
        ("{min-machines: 2, max_machines: 3}", "machines", Span(2, 3)),
        ("zones: [us-east-1a]", "zone", ("us-east-1a",)),
        ("task-time: 2m", "task_time", timedelta(minutes=2)),
        ("budget: $2.50", "budget", Decimal("2.50")),
        ("boot-disk: 40GiB", "boot_disk", 40 * GIB),
    ],
)
def test_a_key_says_what_the_option_does(text: str, key: str, value: Any) -> None:
    assert written(text).wants() == {key: value}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spto: true", "1: unknown key spto; did you mean 'spot'?"),
        ("spot: maybe", "1: spot must be true, false or prefer, not the string 'maybe'"),
        ("machine-cpus: 0..4", "1: machine-cpus must be 1 or more, not 0"),
        ("machine-cpus: many", "1: machine-cpus must be a whole number, not the string 'many'"),
        ("machine-memory: 1..lots", "1: machine-memory is wrong: 'lots' is not a size"),
        ("machine-cpus: '..'", "1: machine-cpus is wrong: '..' is not a span"),
        ("architecture: mips", "1: architecture must be one of x86_64, arm64, any"),
        ("places:\n  a: {backend: aws, machine-typse: c7*}", "2: unknown key places.a.machine-typse; did you mean"),
        ("places:\n  a: {backend: aws, machine-cpus: x}", "2: places.a.machine-cpus must be a whole number"),
        ("places:\n  a: {backend: aws, budget: lots}", "2: places.a.budget must be an amount of dollars"),
    ],
)
def test_a_wrong_one_has_its_line_and_the_nearest(text: str, said: str) -> None:
    from elsewhere.backends.aws.settings import AwsSettings

    Path("elsewhere.yaml").write_text(text + "\n")
    with pytest.raises(ConfigError) as caught:
        load.current(backends={"aws": AwsSettings})
    assert len(caught.value.faults) == 1, caught.value.faults
    assert caught.value.faults[0].startswith("elsewhere.yaml:" + said), caught.value.faults


PLACE = """\
places:
  cloud: {backend: aws, machine-types: "c7*", spot: true, max-machines: 5, budget: 3, machine-cpus: 2..8}
default: {on: cloud, machine-cpus: 4..}
jobs:
  fit: {command: [ls], spot: prefer, profile: small}
profiles:
  small: {max-price-per-hour: 1}
"""


def test_a_place_asks_unless_the_run_says_otherwise() -> None:
    found = written(PLACE)
    place = found.places()["cloud"]
    assert place.wants == {"machine_types": ("c7*",), "spot": "spot", "machine_cpus": Span(2, 8)}
    assert (place.limits.machines, place.limits.budget) == (5, Decimal(3))
    assert found.wants(job="fit") == {
        "machine_cpus": Span(4, None), "spot": "prefer", "max_price_per_hour": Decimal(1)
    }  # fmt: skip
    made = given.wants({**place.wants, **found.wants(job="fit")}, None, place.limits)
    assert (made.spot, made.machine_types, made.machine_cpus) == ("prefer", ("c7*",), Span(4, None))
    assert (made.budget, made.machines, made.ceiling) == (Decimal(3), Span(None, 5), Decimal(1))


def test_what_was_typed_wins_over_settings() -> None:
    from elsewhere.cli import grammar, projects, run

    written(PLACE)
    asked = grammar.read(run.COMMAND, ["fit", "--machine-cpus", "16", "--machine-types", "m7*"])
    wants = wanting.wants(projects.job_of_file(asked, "fit"))
    assert (wants.machine_cpus, wants.machine_types, wants.spot) == (Span(16, 16), ("m7*",), "prefer")


def test_the_backend_takes_its_own_keys_and_leaves_those_that_ask() -> None:
    from elsewhere.backends import registry

    place = written(PLACE).places()["cloud"]
    made = registry.build(place)
    assert (made.settings.region, made.settings.spot) == ("", True)  # type: ignore[attr-defined]


def test_variables_ask_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE_SPOT", "true")
    monkeypatch.setenv("ELSEWHERE_MACHINES", "3")
    assert load.current().wants() == {"spot": "spot", "machines": Span(None, 3)}


def test_they_are_shown_with_their_lines() -> None:
    rows = written(PLACE).shown()
    assert ("machine_cpus", "4..", "elsewhere.yaml:3") in rows
    assert ("places.cloud.machine_types", "c7*", "elsewhere.yaml:2") in rows
    assert ("places.cloud.limits.machines", "5", "elsewhere.yaml:2") in rows


def test_inputs_are_part_of_the_boot_disk() -> None:
    from elsewhere.cli import grammar, run

    with Path("large.bin").open("wb") as file:
        file.truncate(GIB)
    plain = wanting.wants(grammar.read(run.COMMAND, ["--boot-disk", "30GiB"]))
    more = wanting.wants(
        grammar.read(run.COMMAND, ["--boot-disk", "30GiB", "--input", "large.bin", "--input", "s3://b/x"])
    )
    assert (plain.boot_disk.total, more.boot_disk.total) == (30 * GIB, 32 * GIB)


def test_check_names_an_environment_that_nobody_defines() -> None:
    Path("elsewhere.yaml").write_text("environments:\n  model: {pip: [numpy]}\njobs:\n  a: {environment: modle}\n")
    with pytest.raises(ConfigError, match=r"elsewhere.yaml:4: there is no environment 'modle'; did you mean 'model'\?"):
        load.check()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{pips: [a]}", "1: unknown key environments.a.pips; did you mean 'pip'?"),
        ("{python: 3.12}", '1: environments.a.python must be text, not the number 3.12; write "3.12"'),
        ("{pip: [1]}", "1: environments.a.pip must be a list of strings"),
    ],
)
def test_a_wrong_key_of_an_environment_has_its_line(text: str, said: str) -> None:
    Path("elsewhere.yaml").write_text(f"environments: {{a: {text}}}\n")
    with pytest.raises(ConfigError) as caught:
        load.current()
    assert caught.value.faults[0].startswith("elsewhere.yaml:" + said), caught.value.faults


def test_an_environment_has_the_name_of_its_entry_and_all_that_stands_there() -> None:
    from elsewhere.model.job import Environment

    found = written(
        "environments: {all: {conda: environment.yml, channels: conda-forge, julia: '1.10', prefix: /opt/x, "
        "offline: true}}\n"
    ).environment("all")
    assert found.name == "all"
    assert found == Environment(
        conda="environment.yml", channels=("conda-forge",), julia="1.10", prefix="/opt/x", offline=True
    )
