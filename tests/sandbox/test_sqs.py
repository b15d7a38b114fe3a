"""The sandbox's queues as the real SDK sees them; where another implementation means the same, it passes too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from elsewhere.sandbox.sqs import Queues
from elsewhere.testing.fake import FakeClock
from sandbox.served import client, served


@dataclass
class Ground:
    sqs: Any
    url: str

    def send(self, *bodies: str, **more: Any) -> None:
        entries = [{"Id": str(i), "MessageBody": body, **more} for i, body in enumerate(bodies)]
        assert len(self.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)["Successful"]) == len(bodies)

    def receive(self, most: int = 10, **more: Any) -> list[dict[str, Any]]:
        found = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=most, **more).get("Messages", [])
        return list(found)

    def count(self, what: str = "") -> int:
        name = "ApproximateNumberOfMessages" + what
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=[name])
        return int(answer["Attributes"][name])


def code(call: Callable[..., Any], **words: Any) -> str:
    """The error that a call meets."""
    with pytest.raises(ClientError) as caught:
        call(**words)
    return str(caught.value.response["Error"]["Code"])


class Common:
    """What SQS means, whoever serves it."""

    def test_a_queue_is_made_once_and_found_by_name_and_prefix(self, ground: Ground) -> None:
        sqs = ground.sqs
        url = sqs.create_queue(QueueName="e-1", Attributes={"VisibilityTimeout": "77"})["QueueUrl"]
        assert sqs.create_queue(QueueName="e-1", Attributes={"VisibilityTimeout": "77"})["QueueUrl"] == url
        assert sqs.get_queue_url(QueueName="e-1")["QueueUrl"] == url
        sqs.create_queue(QueueName="f-1")
        assert sqs.list_queues(QueueNamePrefix="e-")["QueueUrls"] == [url]
        assert code(sqs.create_queue, QueueName="e-1", Attributes={"VisibilityTimeout": "78"}) == "QueueAlreadyExists"
        assert sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]["VisibilityTimeout"] == "77"

    def test_what_is_not_there_is_an_error_of_that_name(self, ground: Ground) -> None:
        for call, words in (
            (ground.sqs.get_queue_url, {"QueueName": "none"}),
            (ground.sqs.send_message, {"QueueUrl": ground.url + "-none", "MessageBody": "x"}),
            (ground.sqs.receive_message, {"QueueUrl": ground.url + "-none"}),
        ):
            with pytest.raises(ground.sqs.exceptions.QueueDoesNotExist) as caught:
                call(**words)
            assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"

    def test_what_was_sent_is_received_whole_and_held(self, ground: Ground) -> None:
        attributes = {
            "a": {"DataType": "String", "StringValue": "é"},
            "b": {"DataType": "Binary", "BinaryValue": b"\0"},
        }
        sent = ground.sqs.send_message(QueueUrl=ground.url, MessageBody="bødy\n<&>", MessageAttributes=attributes)
        (got,) = ground.receive(MessageAttributeNames=["All"], AttributeNames=["All"])
        assert (got["Body"], got["MessageId"]) == ("bødy\n<&>", sent["MessageId"])
        assert got["MD5OfBody"] == sent["MD5OfMessageBody"]
        assert got["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
        assert got["MessageAttributes"] == attributes
        assert got["Attributes"]["ApproximateReceiveCount"] == "1"
        assert ground.receive() == []
        assert (ground.count(), ground.count("NotVisible")) == (0, 1)

    def test_what_is_deleted_is_gone_and_may_be_deleted_again(self, ground: Ground) -> None:
        ground.send("a", "b")
        got = ground.receive()
        entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(got)]
        for _ in range(2):
            answer = ground.sqs.delete_message_batch(QueueUrl=ground.url, Entries=entries[:1])
            assert [one["Id"] for one in answer["Successful"]] == ["0"]
        ground.sqs.delete_message(QueueUrl=ground.url, ReceiptHandle=got[1]["ReceiptHandle"])
        assert (ground.count(), ground.count("NotVisible")) == (0, 0)

    def test_what_is_let_go_comes_again_at_once(self, ground: Ground) -> None:
        ground.send("a")
        (got,) = ground.receive()
        entries = [{"Id": "x", "ReceiptHandle": got["ReceiptHandle"], "VisibilityTimeout": 0}]
        ground.sqs.change_message_visibility_batch(QueueUrl=ground.url, Entries=entries)
        (again,) = ground.receive(AttributeNames=["ApproximateReceiveCount"])
        assert again["MessageId"] == got["MessageId"]
        assert again["Attributes"]["ApproximateReceiveCount"] == "2"

    def test_a_long_poll_waits_for_what_comes_and_holds_nobody_up(self, ground: Ground) -> None:
        got: list[Any] = []
        poll = threading.Thread(target=lambda: got.extend(ground.receive(WaitTimeSeconds=20)))
        poll.start()
        for i in range(20):  # others are served meanwhile
            ground.sqs.get_queue_url(QueueName="q")
            if i == 19:
                ground.send("at last")
        poll.join(15)
        assert [message["Body"] for message in got] == ["at last"]

    def test_a_batch_that_is_not_right_is_refused_whole(self, ground: Ground) -> None:
        send = ground.sqs.send_message_batch
        prefix = "AWS.SimpleQueueService."

        def entries(*names: str) -> dict[str, Any]:
            return {"QueueUrl": ground.url, "Entries": [{"Id": name, "MessageBody": "x"} for name in names]}

        assert code(send, **entries("a", "a")) == prefix + "BatchEntryIdsNotDistinct"
        assert code(send, **entries(*map(str, range(11)))) == prefix + "TooManyEntriesInBatchRequest"
        assert code(send, **entries()) == prefix + "EmptyBatchRequest"
        assert code(send, **entries("a b")) == prefix + "InvalidBatchEntryId"
        big = [{"Id": str(i), "MessageBody": "x" * 600_000} for i in range(2)]
        assert code(send, QueueUrl=ground.url, Entries=big) == prefix + "BatchRequestTooLong"
        assert ground.count() == 0

    def test_purge_and_delete(self, ground: Ground) -> None:
        ground.send("a", "b")
        ground.sqs.purge_queue(QueueUrl=ground.url)
        assert ground.receive() == []
        ground.sqs.delete_queue(QueueUrl=ground.url)
        assert code(ground.sqs.get_queue_url, QueueName="q").endswith("NonExistentQueue")

    def test_tags(self, ground: Ground) -> None:
        ground.sqs.tag_queue(QueueUrl=ground.url, Tags={"a": "1", "b": "2"})
        ground.sqs.untag_queue(QueueUrl=ground.url, TagKeys=["a"])
        assert ground.sqs.list_queue_tags(QueueUrl=ground.url)["Tags"] == {"b": "2"}


class TestQueues(Common):
    @pytest.fixture
    def ground(self) -> Iterator[Ground]:
        with served(Queues()) as url:
            sqs = client("sqs", url)
            yield Ground(sqs, sqs.create_queue(QueueName="q")["QueueUrl"])


@pytest.mark.slow
class TestMoto(Common):
    @pytest.fixture
    def ground(self) -> Iterator[Ground]:
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        try:
            host, port = server.get_host_and_port()
            sqs = client("sqs", f"http://{host}:{port}")
            for url in sqs.list_queues().get("QueueUrls", []):
                sqs.delete_queue(QueueUrl=url)
            yield Ground(sqs, sqs.create_queue(QueueName="q")["QueueUrl"])
        finally:
            server.stop()


@dataclass
class Timed(Ground):
    queues: Queues
    clock: FakeClock


@pytest.fixture
def timed() -> Iterator[Timed]:
    clock = FakeClock()
    queues = Queues(clock)
    with served(queues) as url:
        sqs = client("sqs", url)
        yield Timed(sqs, sqs.create_queue(QueueName="q")["QueueUrl"], queues, clock)


def test_what_is_not_renewed_comes_again_when_its_time_is_over(timed: Timed) -> None:
    timed.send("a")
    (got,) = timed.receive(VisibilityTimeout=60)
    words = {"QueueUrl": timed.url, "ReceiptHandle": got["ReceiptHandle"]}
    timed.clock.advance(50)
    timed.sqs.change_message_visibility(**words, VisibilityTimeout=60)
    timed.clock.advance(59)
    assert timed.receive() == []
    timed.clock.advance(2)
    assert code(timed.sqs.change_message_visibility, **words, VisibilityTimeout=60).endswith("MessageNotInflight")
    assert [m["Body"] for m in timed.receive(VisibilityTimeout=60)] == ["a"]
    assert code(timed.sqs.change_message_visibility, **words, VisibilityTimeout=43_300) == "InvalidParameterValue"
    timed.clock.advance(30)
    assert code(timed.sqs.change_message_visibility, **words, VisibilityTimeout=43_199) == "InvalidParameterValue"


def test_what_is_delayed_comes_when_it_is_due_also_to_who_waits(timed: Timed) -> None:
    timed.send("a", DelaySeconds=600)
    assert (timed.receive(), timed.count("Delayed")) == ([], 1)
    got: list[Any] = []
    poll = threading.Thread(target=lambda: got.extend(timed.receive(WaitTimeSeconds=20)))
    poll.start()
    timed.clock.advance(601)
    poll.join(15)
    assert [message["Body"] for message in got] == ["a"]


def test_a_deleted_name_rests_for_a_minute(timed: Timed) -> None:
    timed.sqs.delete_queue(QueueUrl=timed.url)
    assert code(timed.sqs.create_queue, QueueName="q").endswith("QueueDeletedRecently")
    timed.clock.advance(61)
    timed.sqs.create_queue(QueueName="q")


def test_limits_and_forms_are_those_of_the_service(timed: Timed) -> None:
    sqs, url = timed.sqs, timed.url
    sqs.send_message(QueueUrl=url, MessageBody="x" * (1 << 20))
    assert code(sqs.send_message, QueueUrl=url, MessageBody="x" * ((1 << 20) + 1)) == "InvalidParameterValue"
    assert code(sqs.send_message, QueueUrl=url, MessageBody="\0") == "InvalidMessageContents"
    assert code(sqs.receive_message, QueueUrl=url, MaxNumberOfMessages=11) == "InvalidParameterValue"
    assert code(sqs.delete_message, QueueUrl=url, ReceiptHandle="rubbish") == "ReceiptHandleIsInvalid"
    failed = sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": "a", "ReceiptHandle": "rubbish"}])["Failed"]
    assert [(one["Id"], one["Code"]) for one in failed] == [("a", "ReceiptHandleIsInvalid")]
    assert code(sqs.create_queue, QueueName="a.fifo") == "InvalidParameterValue"
    assert code(sqs.create_queue, QueueName="a", Attributes={"Nonsense": "1"}) == "InvalidAttributeName"
    assert code(sqs.create_queue, QueueName="a", Attributes={"DelaySeconds": "901"}) == "InvalidAttributeValue"


def test_queues_of_two_regions_are_two(timed: Timed) -> None:
    other = client("sqs", timed.sqs.meta.endpoint_url, "eu-central-1")
    assert other.list_queues().get("QueueUrls") is None
    other.create_queue(QueueName="q")
    timed.send("a")
    assert other.receive_message(QueueUrl=timed.url).get("Messages") is None


def test_what_is_billed_is_requests_and_what_they_carry(timed: Timed) -> None:
    timed.queues.counts.clear()
    timed.queues.billed = 0
    timed.send("x" * 200_000, "y")
    assert (timed.queues.counts, timed.queues.billed) == ({"SendMessageBatch": 1}, 4)
    timed.receive()
    timed.receive()
    assert (timed.queues.counts["ReceiveMessage"], timed.queues.billed) == (2, 9)


def test_the_dials_deliver_twice_late_and_out_of_order_and_lose_nothing(timed: Timed) -> None:
    timed.queues.dial(seed=3, twice=0.3, late=0.3, late_by=30, shuffled=0.5)
    for start in range(0, 100, 10):
        timed.send(*(str(n) for n in range(start, start + 10)))
    at_once = [m["Body"] for _ in range(30) for m in timed.receive(VisibilityTimeout=600)]
    timed.clock.advance(31)
    late = [m["Body"] for _ in range(30) for m in timed.receive(VisibilityTimeout=600)]
    assert {int(body) for body in at_once + late} == set(range(100))
    assert len(at_once + late) > 110
    assert len(set(late) - set(at_once)) > 10
    assert at_once != sorted(at_once, key=int)


def test_who_holds_what_is_given_out_twice_still_holds_it(timed: Timed) -> None:
    timed.queues.dial(seed=1, twice=1.0)
    timed.send("a")
    (first,) = timed.receive(VisibilityTimeout=60)
    timed.sqs.change_message_visibility(QueueUrl=timed.url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=60)
    assert [m["Body"] for m in timed.receive(VisibilityTimeout=60)] == ["a"]


def test_a_service_that_closes_lets_those_go_who_wait() -> None:
    queues = Queues()
    with served(queues) as url:
        sqs = client("sqs", url)
        queue = sqs.create_queue(QueueName="q")["QueueUrl"]
        done = threading.Event()

        def wait() -> None:
            sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20)
            done.set()

        threading.Thread(target=wait, daemon=True).start()
        end = time.monotonic() + 10
        while not done.wait(0.02) and time.monotonic() < end:
            queues.close()
            queues.close()
        assert done.is_set()
