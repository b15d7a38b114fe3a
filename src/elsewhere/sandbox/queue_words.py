"""The words of SQS: its limits, its attributes, its errors, and the digests that a client checks.

Pure. Where a rule is not obvious, it is that of the service's API reference.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

ACCOUNT = "123456789012"
BATCH = 10
LARGEST = 1 << 20
"""Bytes of a message, and of all messages of a batch together."""

_QUERY = "AWS.SimpleQueueService."
_CODES = {
    "QueueDoesNotExist": _QUERY + "NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    "ReceiptHandleIsInvalid": "ReceiptHandleIsInvalid",
}
_DOTTED = {
    "QueueDeletedRecently", "MessageNotInflight", "BatchEntryIdsNotDistinct", "TooManyEntriesInBatchRequest",
    "EmptyBatchRequest", "BatchRequestTooLong", "InvalidBatchEntryId", "PurgeQueueInProgress", "UnsupportedOperation",
}  # fmt: skip

_NUMBERS = {
    "VisibilityTimeout": (30, 0, 43_200),
    "DelaySeconds": (0, 0, 900),
    "ReceiveMessageWaitTimeSeconds": (0, 0, 20),
    "MessageRetentionPeriod": (345_600, 60, 1_209_600),
    "MaximumMessageSize": (LARGEST, 1024, LARGEST),
}
"""Attribute: what it is if nothing is said, the least and the most."""
_TEXTS = {"Policy", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled"}
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


class Fault(Exception):
    """An error as a client sees it: `kind` in the JSON protocol, `code` as the older one called it."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind, self.text = kind, text
        self.code = _CODES.get(kind) or (_QUERY + kind if kind in _DOTTED else kind)

    def body(self) -> bytes:
        return json.dumps({"__type": f"com.amazonaws.sqs#{self.kind}", "message": self.text}).encode()


def whole(fields: Mapping[str, Any], name: str, usual: int, least: int, most: int) -> int:
    """A number of a request, or `usual`; a Fault if it is out of its bounds."""
    value = fields.get(name)
    if value is None:
        return usual
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Fault(
            "InvalidParameterValue",
            f"Value {value} for parameter {name} is invalid. Reason: Must be >= {least} and <= {most}, if provided.",
        )
    return value


def new_attributes(given: Mapping[str, str]) -> dict[str, str]:
    """All attributes of a queue for which these were given; a Fault if one is unknown, or wrong."""
    for name, value in given.items():
        if name in _NUMBERS:
            _, least, most = _NUMBERS[name]
            if not str(value).isdecimal() or not least <= int(value) <= most:
                raise Fault("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
        elif name == "FifoQueue" or name == "RedrivePolicy":
            raise Fault("InvalidAttributeValue", f"This sandbox has no queues with {name}.")
        elif name not in _TEXTS:
            raise Fault("InvalidAttributeName", f"Unknown Attribute {name}.")
    return {**{name: str(usual) for name, (usual, _, _) in _NUMBERS.items()}, **given}


def same_attributes(have: Mapping[str, str], given: Mapping[str, str]) -> bool:
    return all(have.get(name) == value for name, value in given.items())


def batch_entries(fields: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The entries of a batch; a Fault if there are none, too many, or not of different names."""
    entries = fields.get("Entries")
    if not isinstance(entries, list) or not entries:
        raise Fault("EmptyBatchRequest", "There should be at least one entry in the request.")
    if len(entries) > BATCH:
        raise Fault("TooManyEntriesInBatchRequest", f"Maximum number of entries per request are {BATCH}. You have "
                    f"sent {len(entries)}.")  # fmt: skip
    ids = [str(entry.get("Id", "")) for entry in entries]
    if bad := [name for name in ids if not _ENTRY_ID.fullmatch(name)]:
        raise Fault("InvalidBatchEntryId", f"A batch entry id can only contain alphanumeric characters, hyphens and "
                    f"underscores, not {bad[0]!r}.")  # fmt: skip
    if len(set(ids)) < len(ids):
        raise Fault("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
    return entries


def attributes_md5(attributes: Mapping[str, Any]) -> tuple[str, int]:
    """The digest of a message's attributes (names sorted; each part with its length), and their bytes."""
    text, size = b"", 0
    for name in sorted(attributes):
        value = attributes[name]
        kind = str(value.get("DataType", ""))
        binary = kind.startswith("Binary")
        data = base64.b64decode(value.get("BinaryValue", "")) if binary else str(value.get("StringValue", "")).encode()
        if not kind or not data:
            raise Fault("InvalidParameterValue", f"The message attribute '{name}' must have a type and a value.")
        text += _counted(name.encode()) + _counted(kind.encode()) + (b"\2" if binary else b"\1") + _counted(data)
        size += len(name) + len(kind) + len(data)
    return hashlib.md5(text, usedforsecurity=False).hexdigest() if text else "", size


def _counted(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
