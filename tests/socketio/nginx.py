"""Real nginx in front of daemons, with the configuration that users are to copy."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.redis_kit import free_port

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx.conf"
START_TIMEOUT = 10.0  # seconds; the machine is shared
MAIN = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/chatd.conf;
}}
"""


def configured(port: int, servers: Sequence[int]) -> str:
    """Return our configuration with these ports of this machine, and without TLS."""
    text = CONFIGURATION.read_text()
    lines = "".join(f"    server 127.0.0.1:{each};\n" for each in servers)
    for pattern, wanted in (
        (r"(?m)(^    server 10\..*;\n)+", lines),
        (r"listen 443 ssl http2;", f"listen 127.0.0.1:{port};"),
        (r"(?m)(^    ssl_.*;\n)+", ""),
    ):
        text, count = re.subn(pattern, wanted, text)
        assert count == 1, pattern
    return text


@asynccontextmanager
async def open_nginx(folder: Path, servers: Sequence[int]) -> AsyncIterator[str]:
    """Run nginx for the block, round robin over these ports; yields its URL."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    assert program is not None, "there is no nginx: `.ci/run` installs one"
    port = free_port()
    process = _start(program, folder, configured(port, servers))
    try:
        await _until_open(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _start(program: str, folder: Path, configuration: str) -> subprocess.Popen[bytes]:
    (folder / "chatd.conf").write_text(configuration)
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
    command = [program, "-e", str(folder / "log"), "-c", str(folder / "nginx.conf")]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


async def _until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    with trio.fail_after(START_TIMEOUT):
        while True:
            assert process.poll() is None, "nginx has ended; why is in its log"
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.01)
            else:
                await stream.aclose()
                return
