"""An S3 that we did not write and that verifies signatures: PyPI `nanio`, as a process."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from botocore.config import Config
from botocore.session import Session

KEY, SECRET, BUCKET = "AKIDTEST", "secret-of-the-tests", "chatd-files"
START_TIMEOUT = 20.0  # seconds


class Nanio(NamedTuple):
    """A server with an empty bucket."""

    port: int
    folder: Path

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, Any]:
        """What tells chatd of it."""
        return {
            "files": "s3",
            "s3_endpoint": self.url,
            "s3_bucket": BUCKET,
            "s3_access_key_id": KEY,
            "s3_secret_access_key": SECRET,
            "s3_style": "path",
        }


@contextmanager
def running_nanio(folder: Path) -> Iterator[Nanio]:
    """Run it for the block. Blocks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    nanio = Nanio(port, folder)
    log = folder.with_name("nanio.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "nanio", "serve", "--host", "127.0.0.1"),
                *("--port", str(port), "--data-dir", folder, "--log-level", "warning"),
            ],
            env={"NANIO_ACCESS_KEY": KEY, "NANIO_SECRET_KEY": SECRET, "PATH": ""},
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not _listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        client = Session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=nanio.url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            config=Config(s3={"addressing_style": "path"}),
        )
        client.create_bucket(Bucket=BUCKET)
        client.close()
        yield nanio
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
