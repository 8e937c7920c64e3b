"""The Socket.IO client for browsers: how the build gets it, how the daemon serves it."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import pytest

import hatch_build
from chatd.nurseries.bundle import FILES, bundle_routes
from hatch_build import WebNotBuiltError, build_web, is_bundle_built, is_site_built
from tests.http_kit import Client, get, open_wires

ROOT = Path(__file__).parent.parent
BUILT = ROOT / "chatd" / "web" / "socket.io"
INSTALLED = ROOT / "tests" / "js" / "node_modules" / "socket.io-client"
SCRIPT = "/socket.io/socket.io.min.js"

# Stands for npm: installs one package whose files say their own names.
FAKE_NPM = """#!/bin/sh
set -e
test -f package-lock.json
if [ "$1" = run ]; then
    test "$2" = build
    mkdir -p out/chat
    echo "<html><script>let a</script></html>" > out/index.html
    cp out/index.html out/chat/index.html
    echo built >> "$(dirname "$0")/runs"
    exit
fi
test "$1" = ci
dist=node_modules/socket.io-client/dist
mkdir -p $dist
echo '{"version": "4.8.4"}' > $dist/../package.json
for name in socket.io.js socket.io.min.js socket.io.esm.min.js; do
    echo "// $name" > $dist/$name
    echo '{}' > $dist/$name.map
done
echo ran >> "$(dirname "$0")/runs"
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source tree whose bundle is not built, on a machine whose npm is the fake one."""
    shutil.copytree(
        ROOT / "web", tmp_path / "web", ignore=shutil.ignore_patterns(*hatch_build.MADE)
    )
    npm = tmp_path / "npm"
    npm.write_text(FAKE_NPM)
    npm.chmod(0o755)
    monkeypatch.setattr(hatch_build, "npm_commands", lambda: [[str(npm)]])
    return tmp_path


def bundle_of(source: Path) -> Path:
    return source / "chatd" / "web" / "socket.io"


@asynccontextmanager
async def open_page(folder: Path) -> AsyncIterator[Client]:
    """Run a server of this bundle, and a browser on it."""
    async with open_wires(direct=bundle_routes(folder)) as wires:
        yield wires.connect("browser")


@pytest.fixture
def built(source: Path) -> Path:
    build_web(source)
    return bundle_of(source)


@pytest.mark.parametrize("name", FILES)
async def test_a_file_comes_with_the_type_and_the_version_that_node_sends(
    built: Path, name: str
) -> None:
    async with open_page(built) as browser:
        answer = await browser.ask(get(f"/socket.io/{name}"))
    kind = "json" if name.endswith(".map") else "javascript"
    assert (answer.status, answer.body) == (200, (built / name).read_bytes())
    assert answer.headers["content-type"] == f"application/{kind}; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=0"
    assert answer.headers["etag"] == 'W/"4.8.4"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in answer.headers


async def test_a_page_of_another_origin_may_load_the_script_and_the_module(built: Path) -> None:
    async with open_page(built) as browser:
        answer = await browser.ask(get(SCRIPT, "Origin: https://elsewhere.example"))
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "accepted", ["gzip", "br, gzip;q=0.5", "deflate, GZIP", "*", "gzip; q=1, identity;q=0"]
)
async def test_who_takes_gzip_gets_the_same_file_in_gzip(built: Path, accepted: str) -> None:
    async with open_page(built) as browser:
        answer = await browser.ask(get(SCRIPT, f"Accept-Encoding: {accepted}"))
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(answer.body) == (built / "socket.io.min.js").read_bytes()


@pytest.mark.parametrize("accepted", ["br", "gzip;q=0", "gzip; q=0.000, *", "identity", ""])
async def test_who_does_not_take_gzip_gets_the_file_as_it_is(built: Path, accepted: str) -> None:
    async with open_page(built) as browser:
        answer = await browser.ask(get(SCRIPT, f"Accept-Encoding: {accepted}"))
    assert "content-encoding" not in answer.headers
    assert answer.body == (built / "socket.io.min.js").read_bytes()


@pytest.mark.parametrize("known", ['"4.8.4"', 'W/"4.8.4"', '"1", W/"4.8.4"', "*"])
async def test_who_has_this_version_gets_304_and_no_body(built: Path, known: str) -> None:
    async with open_page(built) as browser:
        answer = await browser.ask(get(SCRIPT, f"If-None-Match: {known}"))
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["etag"] == 'W/"4.8.4"'
        assert answer.headers["cache-control"] == "public, max-age=0"
        assert "content-length" not in answer.headers
        assert (await browser.ask(get(SCRIPT))).status == 200


@pytest.mark.parametrize("known", ['"4.8.3"', "4.8.4", ""])
async def test_who_has_another_version_gets_the_file(built: Path, known: str) -> None:
    async with open_page(built) as browser:
        assert (await browser.ask(get(SCRIPT, f"If-None-Match: {known}"))).status == 200


async def test_a_head_request_gets_the_length_of_the_file_and_no_body(built: Path) -> None:
    async with open_page(built) as browser:
        await browser.send(get(SCRIPT).replace(b"GET", b"HEAD"))
        answer = await browser.read("HEAD")
    size = (built / "socket.io.min.js").stat().st_size
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(size)


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
async def test_another_method_is_refused_and_told_which_are_not(built: Path, method: str) -> None:
    async with open_page(built) as browser:
        answer = await browser.ask(get(SCRIPT).replace(b"GET", method.encode()))
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
        assert answer.code == "not_found"
        assert (await browser.ask(get(SCRIPT))).status == 200


async def test_a_file_is_read_once(built: Path) -> None:
    async with open_page(built) as browser:
        first = await browser.ask(get(SCRIPT))
        shutil.rmtree(built)
        assert (await browser.ask(get(SCRIPT))).body == first.body


async def test_without_a_bundle_the_answer_says_how_to_get_it_and_the_next_one_has_it(
    source: Path,
) -> None:
    async with open_page(bundle_of(source)) as browser:
        answer = await browser.ask(get(SCRIPT))
        assert (answer.status, answer.code) == (404, "not_found")
        assert "make web" in answer.json["error"]["message"]
        build_web(source)
        assert (await browser.ask(get(SCRIPT))).status == 200


def test_the_build_makes_what_the_daemon_serves(source: Path) -> None:
    build_web(source)
    names = {path.name for path in bundle_of(source).iterdir()}
    assert names == {*FILES, *(f"{name}.gz" for name in FILES), "bundle.json"}


def test_a_bundle_is_built_once_for_each_lock(source: Path) -> None:
    for _ in range(2):
        build_web(source)
    assert (source / "runs").read_text().splitlines() == ["ran", "built"]
    lock = source / "web" / "package-lock.json"
    lock.write_text(lock.read_text() + "\n")
    assert not is_bundle_built(source)
    build_web(source)
    assert is_bundle_built(source)
    assert (source / "runs").read_text().splitlines() == ["ran", "built", "ran", "built"]


def test_the_client_is_built_anew_when_a_source_changes_and_nothing_is_installed(
    source: Path,
) -> None:
    build_web(source)
    assert is_site_built(source)
    (source / "web" / "src" / "new.ts").write_text("export {};\n")
    assert not is_site_built(source)
    build_web(source)
    assert is_site_built(source)
    assert (source / "runs").read_text().splitlines() == ["ran", "built", "built"]


def test_two_builds_of_one_lock_have_the_same_bytes(source: Path) -> None:
    def digests() -> dict[str, str]:
        build_web(source)
        folder = bundle_of(source)
        found = {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        shutil.rmtree(folder)
        return found

    assert digests() == digests()


def test_an_npm_that_fails_leaves_its_turn_to_the_next(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = [[str(source / "missing")], ["false"], [str(source / "npm")]]
    monkeypatch.setattr(hatch_build, "npm_commands", lambda: commands)
    build_web(source)
    assert is_bundle_built(source)


@pytest.mark.parametrize("commands", [[], [["false"]]])
def test_a_build_without_a_working_npm_says_in_one_line_what_to_do(
    source: Path, monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> None:
    monkeypatch.setattr(hatch_build, "npm_commands", lambda: commands)
    with pytest.raises(WebNotBuiltError, match="make web") as caught:
        build_web(source)
    assert "\n" not in str(caught.value)
    assert not is_bundle_built(source)


@pytest.mark.parametrize("folder", ["web", "tests/js"])
def test_a_lock_of_npm_pins_every_package_by_hash_and_names_no_registry(folder: str) -> None:
    lock = json.loads((ROOT / folder / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    for name, entry in packages.items():
        assert entry["integrity"].startswith("sha512-"), name
        assert "resolved" not in entry, name


@pytest.mark.parametrize("name", FILES)
async def test_what_is_served_is_what_npm_installs(name: str) -> None:
    if not (is_bundle_built(ROOT) and INSTALLED.exists()):
        pytest.skip("needs `make web` and the packages in tests/js")
    version = json.loads((INSTALLED / "package.json").read_text())["version"]
    official = (INSTALLED / "dist" / name).read_bytes()
    assert (files("chatd") / "web" / "socket.io" / name).read_bytes() == official
    async with open_wires(direct=bundle_routes()) as wires:
        browser = wires.connect()
        answer = await browser.ask(get(f"/socket.io/{name}"))
        assert (answer.body, answer.headers["etag"]) == (official, f'W/"{version}"')
        zipped = await browser.ask(get(f"/socket.io/{name}", "Accept-Encoding: gzip"))
        assert gzip.decompress(zipped.body) == official
        assert len(zipped.body) < len(official) / 2
