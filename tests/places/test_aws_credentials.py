"""Credentials that run out in the middle: the controller waits and says how to log in; then it goes on by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsewhere import session
from places.far import at_once, billed, make, nobody_is_forgotten, nothing_is_left, recorded_once, world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def write(path: Path, access: str, secret: str) -> None:
    path.write_text(f"[lab]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\nregion = us-east-1\n")


def test_who_logs_in_again_finds_the_work_going_on(
    far_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(far_home) as cloud:
        file, user = tmp_path / "credentials", cloud.cloud.keys.user
        write(file, user.access_key, user.secret)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
        monkeypatch.setenv("AWS_PROFILE", "lab")
        files = make(tmp_path / "project", "wait", [{"x": i, "place": str(tmp_path)} for i in range(4)])
        notes: list[str] = []
        acts = iter(("expire", "renew", "over"))
        act = next(acts)

        def watch(view: session.View) -> None:
            nonlocal act
            notes.append(view.note)
            if act == "expire" and len(list(tmp_path.glob("began-*"))) == 2:
                cloud.order("expire")
                (tmp_path / "go").touch()
                act = next(acts)
            elif (
                act == "renew"
                and "aws sso login --profile lab" in view.note
                and len(list(tmp_path.glob("done-*"))) >= 2
            ):
                new = cloud.order("renew", new=True)
                write(file, new["access_key"], new["secret"])
                act = next(acts)

        session.run_here(files, watch=watch)
        assert act == "over", f"{act} was never due: {set(notes)}"
        recorded_once(files, 4)
        nothing_is_left(cloud, files)
        nobody_is_forgotten(cloud, files)
        assert at_once(billed(cloud, files)) == len(billed(cloud, files)) == 1
