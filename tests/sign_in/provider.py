"""A certified provider of OpenID Connect, as a process of Node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.sign_in.issuer import CLIENT_ID, CLIENT_SECRET

SCRIPT = Path(__file__).parents[1] / "js/oidc.mjs"
ACCOUNTS = {
    "zoe": {"email": "zoe@example.com", "email_verified": True, "name": "Zoe"},
    "ada": {"email": "ada@example.com", "email_verified": True, "name": "Ada"},
    "max": {"email": "max@example.com", "email_verified": False, "name": "Max"},
}


@contextmanager
def running_provider(redirect_uri: str) -> Iterator[str]:
    """Run the provider for the block; yields its issuer URL."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    node = shutil.which("node", path=path)
    assert node is not None, "there is no `node`: `make test` installs one"
    client = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "redirect_uris": [redirect_uri],
    }
    command = [node, str(SCRIPT), json.dumps(client), json.dumps(ACCOUNTS)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it warns of everything that is not production
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            url = process.stdout.readline().decode().strip()
            assert url.startswith("http://127.0.0.1:"), "the provider did not start"
            yield url
        finally:
            process.kill()
