"""Settings under calls from Python: what files and variables say, profiles, and what a call says over them."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from elsewhere.api import remote as remote_module
from elsewhere.api.options import Options
from elsewhere.api.remote import Remote
from elsewhere.errors import ConfigError, UnknownPlace, UsageError
from elsewhere.model.job import Entry, JobSpec
from elsewhere.model.task import RetryPolicy


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("ELSEWHERE_") and name != "ELSEWHERE_HOME"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    directory = tmp_path / "work"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


def spec(**given: object) -> JobSpec:
    return Options.of(given).spec(Entry("call"), name="f")


def test_a_call_that_says_nothing_is_as_the_settings_say(here: Path) -> None:
    (here / "elsewhere.yaml").write_text(
        "default: {slots: 3, priority: 2, grace: 2s, keep: 1d, max-failures: 5%, env: {MARK: a}, timeout: 4s}\n"
    )

    made = spec()

    assert (made.slots, made.priority, made.grace, made.keep) == (3, 2, timedelta(seconds=2), timedelta(days=1))
    assert made.env == {"MARK": "a"}
    assert str(made.max_failures) == "0.05"
    assert Options.of({}).own == b'{"timeout":4.0}'


def test_the_call_wins_over_the_profile_and_the_profile_over_the_rest(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "elsewhere.yaml").write_text(
        "default: {slots: 3, priority: 1, isolate: true}\nprofiles: {warm: {slots: 4, priority: 2}}\n"
    )

    made = spec(profile="warm", priority=7)

    assert (made.slots, made.priority, made.isolate) == (4, 7, True)
    monkeypatch.setenv("ELSEWHERE_SLOTS", "5")
    assert spec().slots == 5


def test_retries_of_a_call_keep_the_rest_of_the_settings_policy(here: Path) -> None:
    (here / "elsewhere.yaml").write_text("default: {retries: {retries: 1, delay: 20ms}}\n")

    assert spec(retries=3).retry == RetryPolicy(retries=3, delay=timedelta(milliseconds=20))
    with pytest.raises(UsageError, match="retries must be 0 or more"):
        Options.of({"retries": -1})


def test_an_unknown_profile_is_an_error_that_names_the_nearest(here: Path) -> None:
    (here / "elsewhere.yaml").write_text("profiles: {careful: {slots: 1}}\n")

    with pytest.raises(UnknownPlace, match="careflu") as caught:
        Remote(len, {"profile": "careflu"})
    assert "careful" in caught.value.hint


def test_a_place_of_the_settings_is_known_and_its_settings_go_with_the_job(here: Path) -> None:
    (here / "elsewhere.yaml").write_text("places: {near: {backend: local, directory: /records}}\n")

    made = spec(on="near")

    assert (made.place, made.backend, made.settings) == ("near", "local", {"directory": "/records"})
    with pytest.raises(UnknownPlace, match="did you mean near"):
        spec(on="naer")


def test_a_secret_stays_a_reference_in_the_job_and_a_call_may_replace_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "elsewhere.yaml").write_text("default: {env: {TOKEN: 'env:MY_TOKEN'}}\n")
    monkeypatch.setenv("MY_TOKEN", "hush")

    made = spec()

    assert made.secrets == {"TOKEN": "env:MY_TOKEN"}
    assert "hush" not in repr((made, Options.of({})))
    monkeypatch.delenv("MY_TOKEN")
    with pytest.raises(ConfigError, match="MY_TOKEN is not set"):
        spec()
    assert spec(env={"TOKEN": "mine"}).secrets == {}


def test_broken_settings_are_told_with_their_line(here: Path) -> None:
    (here / "elsewhere.yaml").write_text("default:\n  slots: many\n")

    with pytest.raises(ConfigError, match=r"elsewhere.yaml:2: .*slots"):
        spec()


def test_in_a_slot_no_settings_are_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "elsewhere.yaml").write_text("default: [broken\n")
    monkeypatch.setattr(remote_module, "inside", lambda: True)

    assert Options.of({"slots": 2, "profile": "any"}).slots == 2


def test_options_stay_good_for_a_key_of_warm_slots(here: Path) -> None:
    (here / "elsewhere.yaml").write_text("default: {retries: {delay: 1s, exit-codes: [1]}, env: {A: b}, keep: 1d}\n")

    assert hash(Options.of({}).pool) == hash(Options.of({}).pool)


def test_secrets_of_a_call_are_references_over_those_of_the_settings(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "elsewhere.yaml").write_text("default: {env: {A: plain, B: b}, secrets: {C: 'env:KEPT', D: 'env:KEPT'}}\n")
    for name in ("KEPT", "A"):
        monkeypatch.setenv(name, "hush")

    made = spec(secrets={"A": "env:KEPT", "C": "env:A"}, env={"D": "d"})

    assert made.secrets == {"A": "env:KEPT", "C": "env:A"}
    assert made.env == {"B": "b"}
    assert spec(secrets=["A"]).secrets == {"A": "env:A", "C": "env:KEPT", "D": "env:KEPT"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"secrets": {"A": "hush"}}, "A wants a reference"),
        ({"secrets": ["A"], "env": {"A": "1"}}, "A stands in env and in secrets"),
        ({"secrets": [""]}, "names of variables"),
    ],
)
def test_secrets_that_are_none_are_refused_and_not_shown(given: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        Options.of(given)
    assert "hush" not in str(caught.value)


def test_a_secret_of_a_call_that_is_not_there_is_said_before_anything_is_made() -> None:
    with pytest.raises(ConfigError, match="NOT_SET_HERE is not set"):
        spec(secrets=["NOT_SET_HERE"])
