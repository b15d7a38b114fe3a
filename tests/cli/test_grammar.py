"""The grammar of the command line: what is read, what is refused, and what help says."""

from __future__ import annotations

import pytest

from elsewhere.cli.grammar import Argument, Command, HelpAsked, Option, WrongWords, page, read
from elsewhere.cli.read import count, duration, share, variable

CAST = Command(
    "cast",
    about="Casts a spell.",
    arguments=[Argument("WHO", "Whom.", default="@last"), Argument("WHAT", "What.", many=True)],
    options=[
        Option("--retries", "-r", value="N", parse=count, help="How often."),
        Option("--timeout", value="TIME", parse=duration, help="How long."),
        Option("--max-failures", value="N|P%", parse=share, help="How bad."),
        Option("--env", value="NAME=VALUE", parse=variable, many=True, help="Variables."),
        Option("--colour", value="COLOUR", choices=("red", "green"), default="red", help="Which."),
        Option("--quiet", "-q", help="Hush."),
        Option("--follow", "-f", help="On."),
    ],
    rest="COMMAND...",
)


def faults_of(*words: str) -> tuple[str, ...]:
    with pytest.raises(WrongWords) as caught:
        read(CAST, words)
    return caught.value.faults or (caught.value.message,)


def test_options_may_stand_anywhere_before_the_dashes() -> None:
    asked = read(CAST, ["fit", "--retries", "2", "a", "-q", "b", "--timeout=1m30s"])

    assert (asked.who, asked.what, asked.retries, asked.quiet) == ("fit", ["a", "b"], 2, True)
    assert asked.timeout.total_seconds() == 90
    assert asked.rest is None


def test_what_comes_after_the_dashes_is_left_alone() -> None:
    asked = read(CAST, ["-q", "--", "python", "train.py", "--retries", "x", "--help", "--", "-q"])

    assert asked.rest == ["python", "train.py", "--retries", "x", "--help", "--", "-q"]
    assert asked.retries is None


def test_what_was_not_typed_has_its_default() -> None:
    asked = read(CAST, [])

    assert (asked.who, asked.what, asked.colour, asked.quiet, asked.env) == ("@last", [], "red", False, [])


def test_underscores_are_hyphens() -> None:
    assert read(CAST, ["--max_failures", "5%"]).max_failures * 100 == 5


def test_an_option_that_may_be_repeated_keeps_all_its_values() -> None:
    assert read(CAST, ["--env", "A=1", "--env", "B=2=3"]).env == [("A", "1"), ("B", "2=3")]


def test_short_flags_may_be_joined_and_take_their_value_at_once() -> None:
    asked = read(CAST, ["-qfr3"])

    assert (asked.quiet, asked.follow, asked.retries) == (True, True, 3)


def test_a_negative_number_is_a_value_and_not_an_option() -> None:
    assert read(CAST, ["x", "-5"]).what == ["-5"]


def test_every_fault_of_a_line_is_named_at_once() -> None:
    faults = faults_of("--retries", "many", "--timeout", "soon", "--colour=blue", "--quite")

    assert len(faults) == 4
    assert "'many' is not a whole number of 0 or more" in faults[0]
    assert "'soon' is not a duration; write for example 30s" in faults[1]
    assert "'blue' is not one of red, green" in faults[2]
    assert faults[3] == "there is no option --quite; did you mean --quiet?"


def test_options_are_not_shortened_by_guessing() -> None:
    assert "did you mean --retries" in faults_of("--retrie", "3")[0]


def test_an_option_without_its_value_says_so() -> None:
    assert faults_of("--retries", "--quiet") == ("cast: --retries needs a value: --retries N",)
    assert "needs a value" in faults_of("--retries", "--", "ls")[0]


def test_a_flag_takes_no_value() -> None:
    assert "--quiet takes no value" in faults_of("--quiet=no")[0]


def test_a_word_too_many_is_named() -> None:
    one = Command("one", about="", arguments=[Argument("JOB", "Which.")])

    with pytest.raises(WrongWords, match="'b': one word more than is understood"):
        read(one, ["a", "b"])


def test_a_missing_word_is_named_with_what_it_means() -> None:
    one = Command("one", about="", arguments=[Argument("JOB", "Which job.", required=True)])

    with pytest.raises(WrongWords, match="JOB is missing: Which job"):
        read(one, [])


def test_help_wins_over_faults() -> None:
    with pytest.raises(HelpAsked):
        read(CAST, ["--help", "--nonsense"])


def test_the_page_shows_every_option_with_its_value_and_default() -> None:
    shown = page(CAST)

    assert shown.startswith("Usage: elsewhere cast [WHO] [WHAT...] [OPTIONS]\n\nCasts a spell.\n")
    assert "-r, --retries N" in shown
    assert "Which. One of red, green. [red]" in shown
    assert "Variables. May be given more than once." in shown
    assert all(len(line) <= 110 for line in shown.splitlines())


def test_a_variable_takes_the_value_that_it_has_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPELL", "lumos")

    assert variable("SPELL") == ("SPELL", "lumos")
    with pytest.raises(ValueError, match="WAND is not set here"):
        variable("WAND")
    with pytest.raises(ValueError, match="is not a variable"):
        variable("2=3")
