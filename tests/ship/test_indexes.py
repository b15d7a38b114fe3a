"""What pip is told of indexes is told to uv, unless uv was told itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsewhere.ship import indexes


def test_files_of_pip_and_its_variables_are_read_the_strongest_last(tmp_path: Path) -> None:
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    (tmp_path / ".config" / "pip" / "pip.conf").write_text(
        "[global]\nindex-url = https://own/simple\nextra-index-url =\n  https://a/simple\n  https://b/simple\n"
        "[install]\ntrusted-host = own\n"
    )
    (tmp_path / "mine.conf").write_text("[global]\nindex_url = https://mine/simple\ncert = /etc/mine.pem\n")
    known = {"HOME": str(tmp_path), "PIP_FIND_LINKS": "/wheels /more"}
    found = indexes.variables(tmp_path, known)
    assert found["UV_DEFAULT_INDEX"] == "https://own/simple"
    assert found["UV_INDEX"] == "https://a/simple https://b/simple"
    assert found["UV_INDEX_STRATEGY"] == "unsafe-best-match", "as pip does"
    assert (found["UV_INSECURE_HOST"], found["UV_FIND_LINKS"]) == ("own", "/wheels,/more")
    found = indexes.variables(tmp_path, {**known, "PIP_CONFIG_FILE": str(tmp_path / "mine.conf")})
    assert (found["UV_DEFAULT_INDEX"], found["SSL_CERT_FILE"]) == ("https://mine/simple", "/etc/mine.pem")
    over = {**known, "PIP_INDEX_URL": "https://variable/simple", "UV_FIND_LINKS": "/other"}
    found = indexes.variables(tmp_path, over)
    assert found["UV_DEFAULT_INDEX"] == "https://variable/simple" and "UV_FIND_LINKS" not in found


@pytest.mark.parametrize("told", ["variable", "uv.toml", "pyproject.toml", "devnull"])
def test_where_uv_is_told_itself_pip_is_not_asked(told: str, tmp_path: Path) -> None:
    known = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://own/simple\n")
    if told == "variable":
        known["UV_INDEX_URL"] = "https://uv/simple"
    elif told == "devnull":
        known["PIP_CONFIG_FILE"] = "/dev/null"
    else:
        (tmp_path / told).write_text("[tool.uv]\n" if told == "pyproject.toml" else "")
    assert indexes.variables(tmp_path / "sub", known) == {}
