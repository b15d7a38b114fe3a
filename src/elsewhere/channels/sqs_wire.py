"""The calls of SQS that the channel makes, in batches of ten, with their errors in our words.

What SQS counts (receives, messages left) is never asked for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from elsewhere import aws
from elsewhere.errors import NotFound, Unreachable

BATCH = 10
LARGEST = 1 << 20
"""Bytes of all messages of a batch together."""
LONGEST_DELAY = 900
LONGEST_HOLD = 43_200
"""Seconds from its receipt on for which a message may be held, by all renewals together."""
_KEPT = {"MessageRetentionPeriod": "1209600"}


class Came(NamedTuple):
    """A message in our hands. `start` and `end` of the call that brought it, by our clock."""

    id: str
    receipt: str
    text: str
    start: float
    end: float
    hold: float


class Wire:
    """One region's queues. `client` makes, or remembers, the SDK's client; it is asked for at each call."""

    def __init__(self, region: str, client: Callable[[], Any] | None, clock: Callable[[], float],
                 pause: Callable[[float], None] = time.sleep) -> None:  # fmt: skip
        self._client = client or (lambda: aws.client("sqs", region))
        self._clock, self._pause = clock, pause
        self._urls: dict[str, str] = {}

    def create(self, name: str, labels: Mapping[str, str]) -> None:
        """Twice: harmless. Waits until it is there: a new queue is known everywhere after about a second."""
        with aws.asking("sqs:CreateQueue"):
            made = self._client().create_queue(QueueName=name, Attributes=_KEPT, tags=dict(labels))
        self._urls[name] = str(made["QueueUrl"])
        for k in range(8):
            try:
                with aws.asking("sqs:GetQueueUrl"):
                    self._client().get_queue_url(QueueName=name)
                return
            except NotFound:
                self._pause(0.1 * 2**k)
        raise Unreachable(f"the queue {name} was made and is not there yet")

    def drop(self, name: str) -> None:
        """Twice, or never there: harmless."""
        try:
            with aws.asking("sqs:DeleteQueue"):
                self._client().delete_queue(QueueUrl=self._url(name))
        except NotFound:
            pass
        self._urls.pop(name, None)

    def send(self, name: str, texts: Sequence[str], delay: float = 0.0) -> list[int]:
        """The places of those that were not taken. Unreachable: a batch may have been, and whatever came before it."""
        failed: list[int] = []
        seconds = min(math.ceil(delay), LONGEST_DELAY)
        for places in _batches(texts):
            entries = [{"Id": str(i), "MessageBody": texts[i], "DelaySeconds": seconds} for i in places]
            with aws.asking("sqs:SendMessage"):
                answer = self._client().send_message_batch(QueueUrl=self._url(name), Entries=entries)
            failed += [int(one["Id"]) for one in answer.get("Failed", ())]
        return failed

    def receive(self, name: str, most: int, hold: float, wait: int) -> list[Came]:
        start = self._clock()
        with aws.asking("sqs:ReceiveMessage"):
            answer = self._client().receive_message(
                QueueUrl=self._url(name),
                MaxNumberOfMessages=max(1, min(most, BATCH)),
                VisibilityTimeout=max(1, min(math.ceil(hold), LONGEST_HOLD)),
                WaitTimeSeconds=wait,
            )
        end = self._clock()
        return [Came(one["MessageId"], one["ReceiptHandle"], one["Body"], start, end, hold)
                for one in answer.get("Messages", ())]  # fmt: skip

    def delete(self, name: str, receipts: Sequence[str]) -> None:
        """Gone already, or a receipt that is no longer one: harmless."""
        later = False
        for places in _parts(len(receipts)):
            entries = [{"Id": str(i), "ReceiptHandle": receipts[i]} for i in places]
            with aws.asking("sqs:DeleteMessage"):
                answer = self._client().delete_message_batch(QueueUrl=self._url(name), Entries=entries)
            later = later or any(not one.get("SenderFault") for one in answer.get("Failed", ()))
        if later:
            raise Unreachable("sqs:DeleteMessage: not all of a batch could be deleted")

    def hold(self, name: str, receipts: Sequence[str], length: float) -> list[int]:
        """Keep these from others for so long from now; the places of those that are ours no longer."""
        failed: list[int] = []
        seconds = min(math.ceil(length), LONGEST_HOLD)
        for places in _parts(len(receipts)):
            entries = [{"Id": str(i), "ReceiptHandle": receipts[i], "VisibilityTimeout": seconds} for i in places]
            with aws.asking("sqs:ChangeMessageVisibility"):
                answer = self._client().change_message_visibility_batch(QueueUrl=self._url(name), Entries=entries)
            wrong = answer.get("Failed", ())
            if any(not one.get("SenderFault") for one in wrong):
                raise Unreachable("sqs:ChangeMessageVisibility: no answer for some of a batch")
            failed += [int(one["Id"]) for one in wrong]
        return failed

    def _url(self, name: str) -> str:
        if name not in self._urls:
            with aws.asking("sqs:GetQueueUrl"):
                self._urls[name] = str(self._client().get_queue_url(QueueName=name)["QueueUrl"])
        return self._urls[name]


def _parts(count: int) -> Iterator[range]:
    return (range(start, min(start + BATCH, count)) for start in range(0, count, BATCH))


def _batches(texts: Sequence[str]) -> Iterator[list[int]]:
    part: list[int] = []
    size = 0
    for i, text in enumerate(texts):
        if part and (len(part) == BATCH or size + len(text) > LARGEST):
            yield part
            part, size = [], 0
        part.append(i)
        size += len(text)
    if part:
        yield part
