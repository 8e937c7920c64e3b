"""The sources of the web client: its own tests, its types and its linter, by npm."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parent.parent.parent / "web"
TIMEOUT = 300.0  # seconds; alone they take ten


@pytest.mark.parametrize("script", ["test", "check"])
def test_the_scripts_of_the_package_pass(script: str) -> None:
    done = subprocess.run(
        ["npm", "run", script],
        cwd=WEB,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
