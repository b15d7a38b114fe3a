"""A stand-in for the one command of AWS's command line that leads into machines: `aws ssm start-session`.

It takes the words that the real one takes, and no others, asks the API as that does, and begins session-manager-plugin.
https://docs.aws.amazon.com/cli/latest/reference/ssm/start-session.html
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, NoReturn

_OPTIONS = ("target", "document-name", "reason", "parameters", "region", "profile", "endpoint-url", "output")
_USAGE, _REFUSED = 252, 254
"""Statuses of version 2: https://docs.aws.amazon.com/cli/latest/userguide/cli-usage-returncodes.html"""


def main(words: list[str]) -> int:
    if words[:2] != ["ssm", "start-session"]:
        fail(_USAGE, "aws: this stand-in of the sandbox has `aws ssm start-session` and no other command; install "
             "AWS's own for those: it works here too")  # fmt: skip
    said = options(words[2:])
    if "target" not in said:
        fail(_USAGE, "aws: [ERROR]: the following arguments are required: --target")
    asked: dict[str, Any] = {"Target": said["target"]}
    for name, key in (("document-name", "DocumentName"), ("reason", "Reason")):
        if name in said:
            asked[key] = said[name]
    if "parameters" in said:
        asked["Parameters"] = parameters(said["parameters"])
    return start(said, asked)


def options(words: list[str]) -> dict[str, str]:
    said: dict[str, str] = {}
    left = list(words)
    while left:
        name, equals, value = left.pop(0).partition("=")
        if name.removeprefix("--") not in _OPTIONS or not name.startswith("--"):
            fail(_USAGE, f"aws: [ERROR]: Unknown options: {name}")
        if not equals:
            if not left:
                fail(_USAGE, f"aws: [ERROR]: argument {name}: expected one argument")
            value = left.pop(0)
        said[name.removeprefix("--")] = value
    return said


def parameters(text: str) -> dict[str, list[str]]:
    """Of shorthand (KEY=VALUE[,VALUE],KEY=...), or of JSON."""
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except ValueError as error:
            fail(_USAGE, f"aws: [ERROR]: Error parsing parameter '--parameters': Invalid JSON: {error}")
        return dict(found)
    made: dict[str, list[str]] = {}
    key = ""
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if equals:
            key, made[name] = name, [value]
        elif key:
            made[key].append(part)
        else:
            fail(_USAGE, f"aws: [ERROR]: Error parsing parameter '--parameters': Expected: '=', received: {text!r}")
    return made


def start(said: dict[str, str], asked: dict[str, Any]) -> int:
    import botocore.exceptions
    import botocore.session

    session = botocore.session.Session(profile=said.get("profile"))
    try:
        client = session.create_client("ssm", region_name=said.get("region"), endpoint_url=said.get("endpoint-url"))
        response = client.start_session(**asked)
    except botocore.exceptions.ClientError as error:
        fail(_REFUSED, f"aws: [ERROR]: {error}")
    except botocore.exceptions.BotoCoreError as error:
        fail(_USAGE, f"aws: [ERROR]: {error}")
    told = json.dumps({name: response[name] for name in ("SessionId", "TokenValue", "StreamUrl")})
    # in the environment, since a process list would show it
    variable = "AWS_SSM_START_SESSION_RESPONSE"
    words = ["session-manager-plugin", variable, client.meta.region_name, "StartSession", said.get("profile", ""),
             json.dumps(asked), client.meta.endpoint_url]  # fmt: skip
    try:
        return subprocess.call(words, env={**os.environ, variable: told})
    except FileNotFoundError:
        client.terminate_session(SessionId=response["SessionId"])
        fail(255, "SessionManagerPlugin is not found.")


def fail(status: int, said: str) -> NoReturn:
    print(f"\n{said}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
