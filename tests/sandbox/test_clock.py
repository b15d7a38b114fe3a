"""The sandbox's clock and the orders that end by it; the buckets; user data. No server."""

from __future__ import annotations

import threading
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from elsewhere.sandbox import userdata
from elsewhere.sandbox.clock import Clock
from elsewhere.sandbox.ec2.limits import Bucket
from elsewhere.sandbox.faults import Fault, Faults


def test_a_fast_clock_runs_ahead_and_knows_the_true_time_of_its_moments() -> None:
    ticks = [0.0]
    clock = Clock(60, lambda: ticks[0])
    start = clock.now()
    ticks[0] = 2.0
    assert clock.now() - start == 120
    assert clock.true(start + 120) - clock.true(start) == 2


def test_what_is_due_is_done_in_order_and_nothing_after_the_end() -> None:
    clock, done, over = Clock(1000), list[str](), threading.Event()
    now = clock.now()
    clock.at(now + 300, over.set)
    clock.at(now + 200, lambda: done.append("second"))
    clock.at(now + 100, lambda: done.append("first"))
    clock.at(now + 1e9, lambda: done.append("never"))
    assert over.wait(60)
    clock.close()
    assert done == ["first", "second"]


def test_an_order_ends_with_its_count_or_its_time() -> None:
    now = [0.0]
    faults = Faults(lambda: now[0])
    faults.add(Fault("Run*", "lose", times=2))
    faults.add(Fault("Describe*", "throttle", times=None, until=600))
    assert [faults.take("ec2", "RunInstances") is not None for _ in range(3)] == [True, True, False]
    assert faults.take("ec2", "DescribeInstances") is not None
    now[0] = 601
    assert faults.take("ec2", "DescribeInstances") is None


def test_who_hangs_is_let_go_when_faults_are_cleared() -> None:
    faults, let_go = Faults(lambda: 0.0), threading.Event()

    def wait() -> None:
        faults.hang()
        let_go.set()

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    assert not let_go.wait(0.05)
    while not let_go.wait(0.05):  # it may only be about to wait
        faults.clear()
    waiting.join(60)


def test_a_bucket_gives_what_it_holds_and_fills_up_to_its_size() -> None:
    now = [0.0]
    bucket = Bucket(5, 2, lambda: now[0])
    assert [bucket.take(1) for _ in range(6)] == [True] * 5 + [False]
    now[0] = 1.0
    assert [bucket.take(1) for _ in range(3)] == [True, True, False]
    now[0] = 1000.0
    assert not bucket.take(6) and bucket.take(5)


def test_user_data_in_several_parts_runs_its_scripts_and_names_what_it_does_not_run() -> None:
    archive = MIMEMultipart()
    archive.attach(MIMEText("#!/bin/sh\necho 1\n", "x-shellscript"))
    archive.attach(MIMEText("#cloud-config\npackages: [x]\n", "cloud-config"))
    scripts, complaints = userdata.scripts(archive.as_bytes())
    assert [text.split() for text in scripts] == [[b"#!/bin/sh", b"echo", b"1"]]
    assert len(complaints) == 1 and "#cloud-config" in complaints[0]
