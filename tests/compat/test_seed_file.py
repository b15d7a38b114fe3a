"""The configuration file of Cloud Tasks: as its text shows it, with flags over it, and with everything wrong in it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from elsewhere.compat.cloud_tasks import jobs, settings
from elsewhere.compat.cloud_tasks.settings import Asked
from elsewhere.errors import ConfigError, UsageError

SEED = """\
provider: PROVIDER
PROVIDER:
  job_id: my-processing-job
  startup_script_file: startup_script.sh
  max-instances: 5
  max-cpu: 8
  min-memory-per-cpu: 4  # GB
  max-total-price-per-hour: 1.00  # USD/hour
  instance-types: "n2-"
"""
AWS = SEED.replace("PROVIDER", "aws").replace("n2-", "m5\\\\.")


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def read(text: str, **flags: Any) -> Asked:
        path = tmp_path / "myconfig.yml"
        path.write_text(text)
        return settings.read(Path("myconfig.yml"), flags)

    return read


def test_the_file_of_the_text_asks_for_what_it_says(read: Any) -> None:
    asked = read(AWS)
    wants = jobs.wants(asked, jobs.place(asked))
    assert asked.job == "my-processing-job"
    assert (wants.machines.most, wants.machine_cpus.most, wants.memory_per_cpu.least) == (5, 8, 4 << 30)
    assert (wants.ceiling, wants.machine_types, wants.architecture) == (Decimal("1.0"), ("re:(?:m5\\.).*",), "x86_64")


def test_hyphens_and_underscores_are_the_same_and_the_nearer_section_wins(read: Any) -> None:
    asked = read("provider: aws\nmax_cpu: 1\nrun:\n  max-cpu: 2\n  min_cpu: 1\naws:\n  max_cpu: 3\n")
    assert (asked.get("max_cpu"), asked.get("min_cpu")) == (3, 1)
    assert asked.origins["max_cpu"] == "myconfig.yml:7"
    assert read("provider: aws\naws:\n  max_cpu: 3\n", max_cpu=4).get("max_cpu") == 4


def test_another_providers_section_is_left_alone(read: Any) -> None:
    assert read("provider: aws\ngcp:\n  project_id: p\naws:\n  job_id: j\n").job == "j"


@pytest.mark.parametrize(
    ("provider", "said"),
    [("gcp", "myconfig.yml:1: machines of gcp cannot be had by this version yet; aws can"),
     ("asw", "myconfig.yml:1: provider 'asw' is not known; did you mean 'aws'?")],
)  # fmt: skip
def test_a_provider_that_is_not_there_is_refused_in_one_sentence(read: Any, provider: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(SEED.replace("PROVIDER", provider))
    assert caught.value.message == said
    with pytest.raises(UsageError, match="the provider is missing"):
        read("aws:\n  job_id: j\n")


def test_every_fault_is_told_at_once_with_its_line_and_the_nearest_key(read: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        read(
            "provider: aws\naws:\n  max-instance: 5\n  max_cpu: many\n  min-instances: 7\n  max_instances: 3\n"
            '  min_cpu_rank: 3\n  instance-types: "c5("\n  project_id: p\nrun:\n  access_key: AKIA\n  job_id: a/b\n',
            max_total_cpus=-1,
        )
    faults = "\n".join(caught.value.faults)
    for said in (
        "myconfig.yml:3: unknown key max-instance; did you mean 'max_instances'?",
        "myconfig.yml:4: max_cpu must be a whole number, not the string 'many'",
        "myconfig.yml:5: min_instances (7) is more than max_instances (3)",
        "myconfig.yml:7: min_cpu_rank is not known here",
        "myconfig.yml:8: instance-types must be regular expressions; 'c5(' is none",
        "myconfig.yml:9: project_id is of gcp",
        "myconfig.yml:11: access_key is a secret",
        "myconfig.yml:12: job_id must be letters",
        "--max-total-cpus must be 0 or more, not -1",
    ):
        assert said in faults, said
    assert len(caught.value.faults) == 9
    assert "AKIA" not in faults


def test_what_has_no_effect_is_said(read: Any) -> None:
    [note] = read("provider: aws\nrun:\n  scaling_check_interval: 60\n").notes
    assert note.startswith("myconfig.yml:3: scaling_check_interval has no effect here: ")


def test_the_script_is_seen_from_the_file_and_only_one_may_be_named(read: Any, tmp_path: Path) -> None:
    (tmp_path / "startup_script.sh").write_bytes(b"#!/bin/bash\r\npython3 my_worker.py\r\n")
    assert read(AWS).script() == ("#!/bin/bash\npython3 my_worker.py\n", "startup_script.sh")
    inline = read("provider: aws\nrun:\n  startup_script: |\n    cd\n    python3 w.py\n")
    assert inline.script()[0] == "cd\npython3 w.py\n"
    with pytest.raises(UsageError, match="one too many"):
        read(AWS + "  startup_script: x\n").script()


@pytest.mark.parametrize(
    ("data", "said"),
    [(None, "no such file"), (b" \n", "is empty"), (b"#!/usr/bin/perl\n", "is run by bash"), (b"a\0b", "NUL"),
     (b"\xff\xfe", "UTF-8"), (b"x" * (1 << 21), "are the most")],
)  # fmt: skip
def test_what_is_no_script_is_refused(read: Any, tmp_path: Path, data: bytes | None, said: str) -> None:
    if data is not None:
        (tmp_path / "startup_script.sh").write_bytes(data)
    with pytest.raises(UsageError, match=said):
        read(AWS).script()


def test_the_terms_of_tasks_are_those_of_the_seed(read: Any) -> None:
    asked = read("provider: aws\naws:\n  job_id: j\n  retry_on_exception: true\n  max_memory_allowed_per_task: 2\n")
    spec = jobs.spec(asked, jobs.place(asked))
    assert spec.timeout == timedelta(hours=1)
    assert spec.resources.memory == 2 << 30
    assert spec.retry.exceptions and spec.retry.asks is None and spec.retry.exit_codes == ()
    assert spec.seed_door
    assert dict(spec.worker) == {"retry_on_exception": True, "max_memory_allowed_per_task": 2}


def test_region_zone_image_and_disk_go_to_the_place(read: Any) -> None:
    asked = read("provider: aws\naws:\n  zone: us-west-2b\n  image: ami-1\n  boot_disk_types: [io2, gp3]\n")
    assert dict(jobs.place(asked).settings) == {
        "region": "us-west-2", "zones": ("us-west-2b",), "image": "ami-1", "disk_type": "io2",
    }  # fmt: skip
    with pytest.raises(UsageError, match="'pd-ssd' is no disk of aws"):
        jobs.place(read("provider: aws\naws:\n  boot_disk_types: pd-ssd\n"))


def test_what_elsewhere_yaml_says_of_the_place_holds_and_its_limits_are_not_passed(read: Any, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.yaml").write_text(
        "places:\n  aws:\n    region: us-west-2\n    instance-profile: mine\n"
        "    limits: {machines: 2, budget: 3, price-per-hour: 4}\n"
    )
    asked = read(AWS + "  region: us-east-2\n  budget: 9\n")
    where = jobs.place(asked)
    assert dict(where.settings) == {"region": "us-east-2", "instance_profile": "mine"}
    wants = jobs.wants(asked, where)
    assert wants.machines.most == 2
    assert (wants.budget, wants.ceiling) == (Decimal(3), Decimal(1))
    assert jobs.wants(read("provider: aws\n"), where).ceiling == 4


def test_memory_for_a_task_may_cost_cpus_if_that_is_allowed(read: Any) -> None:
    text = "provider: aws\naws:\n  min_memory_per_task: 8\n  allow_cpu_wasting: true\n"
    wants = jobs.wants(asked := read(text), jobs.place(asked))
    assert (wants.task.memory, wants.memory_per_task.least) == (8 << 30, None)
    wants = jobs.wants(asked := read(text.replace("true", "false")), jobs.place(asked))
    assert (wants.task.memory, wants.memory_per_task.least) == (None, 8 << 30)
