"""An entry is added to a settings file, and everything else in it stays as it was written."""

from __future__ import annotations

import pytest
import yaml

from elsewhere.config.edit import added
from elsewhere.errors import ConfigError

ENTRY = {"backend": "slurm", "partition": "short", "work-dir": "/scratch/alice"}
LINE = "hpc: {backend: slurm, partition: short, work-dir: /scratch/alice}"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", f"places:\n  {LINE}\n"),
        ("slots: 4  # few\n", f"slots: 4  # few\n\nplaces:\n  {LINE}\n"),
        ("slots: 4", f"slots: 4\n\nplaces:\n  {LINE}\n"),
        ("# only a word\n", f"# only a word\n\nplaces:\n  {LINE}\n"),
        (
            "places:  # where\n    lab:   # hosts\n        hosts: [a, b]   # both\n    # the end\njobs:\n    x: {}\n",
            "places:  # where\n    lab:   # hosts\n        hosts: [a, b]   # both\n"
            f"    {LINE}\n    # the end\njobs:\n    x: {{}}\n",
        ),
        (
            "places:\n  lab:\n    hosts:\n    - a\n\n    - b   # last\n\n\n# jobs\njobs: {}\n",
            f"places:\n  lab:\n    hosts:\n    - a\n\n    - b   # last\n  {LINE}\n\n\n# jobs\njobs: {{}}\n",
        ),
        (
            "places:\n  cloud:\n    backend: aws\n    startup-script: |\n      a: b\n      # in it\n\njobs: {}\n",
            "places:\n  cloud:\n    backend: aws\n    startup-script: |\n      a: b\n      # in it\n"
            f"  {LINE}\n\njobs: {{}}\n",
        ),
        ("places: {lab: {hosts: a}}  # x\n", f"places: {{lab: {{hosts: a}}, {LINE}}}  # x\n"),
        ("places: {}\n", f"places: {{{LINE}}}\n"),
        ("places:\n# none yet\nslots: 1\n", f"places:\n  {LINE}\n# none yet\nslots: 1\n"),
        ("places:\r\n  lab: {hosts: a}\r\n", f"places:\r\n  lab: {{hosts: a}}\r\n  {LINE}\r\n"),
    ],
)
def test_it_stands_behind_what_is_there(text: str, wanted: str) -> None:
    new = added(text, "places", "hpc", ENTRY)
    assert new == wanted
    assert yaml.safe_load(new)["places"]["hpc"] == ENTRY


def test_what_yaml_would_read_otherwise_is_quoted() -> None:
    entry = {"account": "007", "partition": "yes", "login": "a: b # c", "hosts": ["x,y", "null"]}
    assert yaml.safe_load(added("", "places", "on", entry)) == {"places": {"on": entry}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("places: {hpc: {}}\n", "has a hpc already"),
        ("places: [a\n", "broken YAML"),
        ("- a\n", "is no mapping"),
        ("{slots: 4}\n", "as it is laid out"),
        ("a: &a {x: 1}\nplaces: *a\n", "as it is laid out"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_returned(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        added(text, "places", "hpc", ENTRY)
    assert caught.value.hint or "broken" in said
