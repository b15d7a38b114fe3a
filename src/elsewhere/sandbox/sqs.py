"""SQS on this machine: the JSON protocol of the real one, its limits and errors; thousands of messages a second.

Standard queues only. What is counted here is what would be on the bill.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from elsewhere.sandbox.http import Request, Response
from elsewhere.sandbox.queue import Dials, Message, NotInFlight, Queue, TooLong
from elsewhere.sandbox.queue_words import (
    ACCOUNT,
    BATCH,
    LARGEST,
    Fault,
    attributes_md5,
    batch_entries,
    new_attributes,
    same_attributes,
    whole,
)

CHUNK = 1 << 16
"""A request is billed once for each 64 KiB that it carries."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_SLICE = 0.02
"""Seconds between two looks at a clock that does not run as fast as the one that wakes us."""
_REST = 60.0
"""Seconds after a deletion, or a purge, in which it may not be made again."""
Fields = Mapping[str, Any]


class Queues:
    """The service. `counts`: requests by action; `billed`: what they come to on the bill."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since the epoch; it may run faster than real time, in which long polls are measured."""
        self.counts: Counter[str] = Counter()
        self.billed = 0
        self._clock = clock
        self._dials = Dials()
        self._queues: dict[tuple[str, str], Queue] = {}
        self._deleted: dict[tuple[str, str], float] = {}
        self._lock = threading.RLock()
        self._closed = False

    def dial(self, seed: int = 0, twice: float = 0.0, late: float = 0.0, late_by: float = 5.0,
             shuffled: float = 0.0) -> None:  # fmt: skip
        """Set what goes wrong from now on; see `Dials`. Without arguments: nothing."""
        with self._lock:
            dials = self._dials
            dials.twice, dials.late, dials.late_by, dials.shuffled = twice, late, late_by, shuffled
            dials.chance = random.Random(seed)

    def answer(self, request: Request) -> Response:
        prefix, _, action = request.headers.get("x-amz-target", "").partition(".")
        try:
            act = _ACTIONS.get(action) if prefix == "AmazonSQS" else None
            if act is None:
                raise Fault("InvalidAction", f"The action {action or '(none)'} is not valid for this endpoint.")
            found = act(self, _Call(request, _fields(request.body)))
            body, status, headers = json.dumps(found).encode() if found is not None else b"", 200, {}
        except Fault as fault:
            body, status, headers = fault.body(), 400, {"x-amzn-query-error": f"{fault.code};Sender"}
        received = len(body) if action == "ReceiveMessage" else len(request.body)
        with self._lock:
            self.counts[action] += 1
            self.billed += max(1, -(-received // CHUNK))
        return Response(status, body, {"content-type": "application/x-amz-json-1.0", **headers})

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for queue in self._queues.values():
                queue.changed.notify_all()

    # --- queues ---------------------------------------------------------------------------------------------------

    def _create(self, call: _Call) -> Fields:
        name = str(call.fields.get("QueueName", ""))
        if not _NAME.fullmatch(name):
            raise Fault("InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores. "
                        "1 to 80 in length")  # fmt: skip
        given = call.fields.get("Attributes") or {}
        attributes = new_attributes(given)
        key = (call.region, name)
        with self._lock:
            queue = self._queues.get(key)
            if queue is None:
                if self._clock() - self._deleted.get(key, float("-inf")) < _REST:
                    raise Fault("QueueDeletedRecently", "You must wait 60 seconds after deleting a queue before you "
                                "can create another with the same name.")  # fmt: skip
                queue = self._queues[key] = Queue(attributes, self._clock, self._dials, threading.Condition(self._lock))
                queue.tags.update(call.fields.get("tags") or {})
            elif not same_attributes(queue.attributes, given):
                raise Fault("QueueNameExists", "A queue already exists with the same name and a different value for "
                            "an attribute.")  # fmt: skip
        return {"QueueUrl": call.url(name)}

    def _url(self, call: _Call) -> Fields:
        name = str(call.fields.get("QueueName", ""))
        with self._lock:
            if (call.region, name) not in self._queues:
                raise Fault("QueueDoesNotExist", "The specified queue does not exist.")
        return {"QueueUrl": call.url(name)}

    def _list(self, call: _Call) -> Fields:
        prefix, after = str(call.fields.get("QueueNamePrefix", "")), str(call.fields.get("NextToken", ""))
        most = whole(call.fields, "MaxResults", 1000, 1, 1000)
        with self._lock:
            names = sorted(name for region, name in self._queues if region == call.region)
        found = [name for name in names if name.startswith(prefix) and name > after]
        more = {"NextToken": found[most - 1]} if len(found) > most and "MaxResults" in call.fields else {}
        return {"QueueUrls": [call.url(name) for name in found[:most]], **more} if found else {}

    def _attributes(self, call: _Call) -> Fields:
        wanted = call.fields.get("AttributeNames") or []
        with self._lock:
            queue = self._queue(call)
            visible, flying, later = queue.counts()
            known = {
                **queue.attributes,
                "QueueArn": f"arn:aws:sqs:{call.region}:{ACCOUNT}:{call.queue}",
                "CreatedTimestamp": str(int(queue.created)),
                "LastModifiedTimestamp": str(int(queue.modified)),
                "ApproximateNumberOfMessages": str(visible),
                "ApproximateNumberOfMessagesNotVisible": str(flying),
                "ApproximateNumberOfMessagesDelayed": str(later),
            }
        if "All" in wanted:
            return {"Attributes": known}
        if unknown := [name for name in wanted if name not in known]:
            raise Fault("InvalidAttributeName", f"Unknown Attribute {unknown[0]}.")
        return {"Attributes": {name: known[name] for name in wanted}}

    def _set_attributes(self, call: _Call) -> None:
        given = call.fields.get("Attributes") or {}
        new_attributes(given)
        with self._lock:
            queue = self._queue(call)
            queue.attributes.update(given)
            queue.modified = self._clock()

    def _purge(self, call: _Call) -> None:
        with self._lock:
            queue = self._queue(call)
            if self._clock() - queue.purged < _REST:
                raise Fault("PurgeQueueInProgress", f"Only one PurgeQueue operation on {call.queue} is allowed every "
                            "60 seconds.")  # fmt: skip
            queue.purged = self._clock()
            queue.purge()

    def _delete_queue(self, call: _Call) -> None:
        with self._lock:
            queue = self._queue(call)
            del self._queues[call.region, call.queue]
            self._deleted[call.region, call.queue] = self._clock()
            queue.changed.notify_all()

    def _tag(self, call: _Call) -> None:
        with self._lock:
            self._queue(call).tags.update(call.fields.get("Tags") or {})

    def _untag(self, call: _Call) -> None:
        with self._lock:
            for key in call.fields.get("TagKeys") or []:
                self._queue(call).tags.pop(key, None)

    def _tags(self, call: _Call) -> Fields:
        with self._lock:
            return {"Tags": dict(self._queue(call).tags)}

    # --- messages -------------------------------------------------------------------------------------------------

    def _send(self, call: _Call) -> Fields:
        return self._send_all(call, [_Entry(call.fields)])[0]

    def _send_batch(self, call: _Call) -> Fields:
        entries = batch_entries(call.fields)
        made = [_Entry(fields) for fields in entries]
        if sum(entry.size for entry in made) > LARGEST:
            raise Fault("BatchRequestTooLong", f"Batch requests cannot be longer than {LARGEST} bytes.")
        sent = self._send_all(call, made)
        return {"Successful": [{"Id": fields["Id"], **one} for fields, one in zip(entries, sent, strict=True)]}

    def _send_all(self, call: _Call, entries: Sequence[_Entry]) -> list[dict[str, str]]:
        with self._lock:
            queue = self._queue(call)
            most, usual = queue.setting("MaximumMessageSize"), queue.setting("DelaySeconds")
            if any(entry.size > most for entry in entries):
                raise Fault("InvalidParameterValue", "One or more parameters are invalid. Reason: Message must be "
                            f"shorter than {most:.0f} bytes.")  # fmt: skip
            sent = [entry.into(queue, usual) for entry in entries]
            queue.changed.notify_all()
        return [_sent(message) for message in sent]

    def _receive(self, call: _Call) -> Fields:
        most = whole(call.fields, "MaxNumberOfMessages", 1, 1, BATCH)
        end: float | None = None
        with self._lock:
            while True:
                queue = self._queue(call)
                usual = int(queue.setting("VisibilityTimeout"))
                hold = whole(call.fields, "VisibilityTimeout", usual, 0, 43_200)
                if end is None:
                    usual = int(queue.setting("ReceiveMessageWaitTimeSeconds"))
                    end = time.monotonic() + whole(call.fields, "WaitTimeSeconds", usual, 0, 20)
                found = queue.receive(most, hold)
                left = end - time.monotonic()
                if found or left <= 0 or self._closed:
                    break
                queue.changed.wait(min(left, self._next(queue)))
        return {"Messages": [_received(call.fields, *one) for one in found]} if found else {}

    def _next(self, queue: Queue) -> float:
        if queue.due() == float("inf"):
            return float("inf") if self._clock is time.time else _SLICE * 5
        return max(0.001, queue.due() - self._clock()) if self._clock is time.time else _SLICE

    def _delete(self, call: _Call) -> None:
        with self._lock:
            self._queue(call).delete(_receipt(call.fields))

    def _delete_batch(self, call: _Call) -> Fields:
        return self._each(call, lambda queue, fields: queue.delete(_receipt(fields)))

    def _hold(self, call: _Call) -> None:
        with self._lock:
            queue = self._queue(call)
            _hold(queue, call.fields)
            queue.changed.notify_all()

    def _hold_batch(self, call: _Call) -> Fields:
        return self._each(call, _hold)

    def _each(self, call: _Call, act: Callable[[Queue, Fields], None]) -> Fields:
        entries = batch_entries(call.fields)
        done, failed = [], []
        with self._lock:
            queue = self._queue(call)
            for fields in entries:
                try:
                    act(queue, fields)
                    done.append({"Id": fields["Id"]})
                except Fault as fault:
                    failed.append({"Id": fields["Id"], "Code": fault.code, "Message": fault.text, "SenderFault": True})
            queue.changed.notify_all()
        return {"Successful": done, **({"Failed": failed} if failed else {})}

    def _queue(self, call: _Call) -> Queue:
        queue = self._queues.get((call.region, call.queue))
        if queue is None:
            raise Fault("QueueDoesNotExist", "The specified queue does not exist.")
        return queue


class _Call:
    """A request, read: what is asked, in which region, of which queue."""

    def __init__(self, request: Request, fields: Fields) -> None:
        self.fields, self.region = fields, request.caller.region
        self.queue = str(fields.get("QueueUrl", "")).rpartition("/")[2]
        self._base = f"http://{request.headers.get('host', 'localhost')}/{ACCOUNT}/"

    def url(self, name: str) -> str:
        return self._base + name


class _Entry:
    """A message that is to be sent, as far as it is right without its queue."""

    def __init__(self, fields: Fields) -> None:
        self.body = fields.get("MessageBody")
        if not isinstance(self.body, str) or not self.body:
            raise Fault("MissingParameter", "The request must contain the parameter MessageBody.")
        if _FORBIDDEN.search(self.body):
            raise Fault("InvalidMessageContents", "Invalid characters found.")
        self.attributes = fields.get("MessageAttributes") or {}
        encoded = self.body.encode()
        self.md5 = hashlib.md5(encoded, usedforsecurity=False).hexdigest()
        self.attributes_md5, size = attributes_md5(self.attributes)
        self.size = len(encoded) + size
        self.delay = whole(fields, "DelaySeconds", -1, 0, 900)

    def into(self, queue: Queue, usual: float) -> Message:
        delay = usual if self.delay < 0 else self.delay
        return queue.send(str(self.body), self.md5, self.attributes, self.attributes_md5, self.size, delay)


_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _fields(body: bytes) -> Fields:
    try:
        fields = json.loads(body or b"{}")
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise Fault("SerializationException", "The request is not a JSON object.")
    return fields


def _sent(message: Message) -> dict[str, str]:
    more = {"MD5OfMessageAttributes": message.attributes_md5} if message.attributes else {}
    return {"MessageId": message.id, "MD5OfMessageBody": message.md5, **more}


def _received(asked: Fields, message: Message, receipt: str) -> Fields:
    found: dict[str, Any] = {"MessageId": message.id, "ReceiptHandle": receipt, "MD5OfBody": message.md5,
                             "Body": message.body}  # fmt: skip
    names = {*(asked.get("AttributeNames") or ()), *(asked.get("MessageSystemAttributeNames") or ())}
    if names:
        known = {
            "SenderId": ACCOUNT,
            "SentTimestamp": str(int(message.sent * 1000)),
            "ApproximateReceiveCount": str(message.receives),
            "ApproximateFirstReceiveTimestamp": str(int(message.first * 1000)),
        }
        found["Attributes"] = {name: text for name, text in known.items() if "All" in names or name in names}
    wanted = asked.get("MessageAttributeNames") or ()
    chosen = {name: value for name, value in message.attributes.items() if _wanted(name, wanted)}
    if chosen:
        found["MessageAttributes"] = chosen
        found["MD5OfMessageAttributes"] = attributes_md5(chosen)[0]
    return found


def _wanted(name: str, patterns: Sequence[str]) -> bool:
    return any(p in ("All", ".*", name) or (p.endswith(".*") and name.startswith(p[:-1])) for p in patterns)


def _receipt(fields: Fields) -> str:
    receipt = str(fields.get("ReceiptHandle", ""))
    if not re.fullmatch(r"[0-9a-f-]{36}#\d+", receipt):
        raise Fault(
            "ReceiptHandleIsInvalid", f'The input receipt handle "{receipt[:80]}" is not a valid receipt handle.'
        )
    return receipt


def _hold(queue: Queue, fields: Fields) -> None:
    receipt = _receipt(fields)
    length = whole(fields, "VisibilityTimeout", -1, 0, 43_200)
    if length < 0:
        raise Fault("MissingParameter", "The request must contain the parameter VisibilityTimeout.")
    try:
        queue.hold(receipt, length)
    except NotInFlight:
        raise Fault("MessageNotInflight", "The message referred to is not in flight.") from None
    except TooLong:
        raise Fault("InvalidParameterValue", "Total VisibilityTimeout for the message is beyond the limit [43200 "
                    "seconds]") from None  # fmt: skip


_ACTIONS: dict[str, Callable[[Queues, _Call], Fields | None]] = {
    "CreateQueue": Queues._create,
    "GetQueueUrl": Queues._url,
    "ListQueues": Queues._list,
    "GetQueueAttributes": Queues._attributes,
    "SetQueueAttributes": Queues._set_attributes,
    "PurgeQueue": Queues._purge,
    "DeleteQueue": Queues._delete_queue,
    "TagQueue": Queues._tag,
    "UntagQueue": Queues._untag,
    "ListQueueTags": Queues._tags,
    "SendMessage": Queues._send,
    "SendMessageBatch": Queues._send_batch,
    "ReceiveMessage": Queues._receive,
    "DeleteMessage": Queues._delete,
    "DeleteMessageBatch": Queues._delete_batch,
    "ChangeMessageVisibility": Queues._hold,
    "ChangeMessageVisibilityBatch": Queues._hold_batch,
}
