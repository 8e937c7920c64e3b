"""`docs/asvs.md` is whole and names tests that exist; and what is tested nowhere else."""

from __future__ import annotations

import ast
import base64
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from trio.testing import MockClock

from chatd.config import Settings
from chatd.events.accounts import Tokens
from chatd.handlers.catalogue import OPERATIONS
from chatd.handlers.operations import Operation
from chatd.store.memory import MemoryStore
from chatd.tokens import new_refresh_token
from tests.assistant.model import Model
from tests.canary.forms import Forms
from tests.people import open_world

ROOT = Path(__file__).parents[1]
# How many requirements of level 1 and of level 2 each chapter of ASVS 5.0.0 has: 70 and 183.
CHAPTERS = {
    1: (8, 19), 2: (4, 7), 3: (8, 11), 4: (2, 8), 5: (4, 5), 6: (13, 22), 7: (6, 12),
    8: (4, 3), 9: (4, 3), 10: (5, 24), 11: (3, 11), 12: (3, 6), 13: (1, 12), 14: (2, 7),
    15: (3, 10), 16: (0, 16), 17: (0, 7),
}  # fmt: skip
STATES = {"met", "not applicable", "open"}
ROW = re.compile(r"\| (\d+\.\d+\.\d+) \| ([12]) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|")
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def rows() -> list[tuple[str, str, str, str, str]]:
    """Return number, level, text, state and reason of each row."""
    page = (ROOT / "docs/asvs.md").read_text()
    lines = [line for line in page.splitlines() if re.match(r"\| \d", line)]
    found = [ROW.fullmatch(line) for line in lines]
    wrong = [line for line, match in zip(lines, found, strict=True) if match is None]
    assert not wrong, wrong
    return [(m[1], m[2], m[3], m[4], m[5]) for m in found if m is not None]


@cache
def names_in(path: str) -> set[str]:
    file = ROOT / "tests" / path
    tree = ast.parse(file.read_text()) if file.is_file() else ast.Module([], [])
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")
    }


def test_every_requirement_of_levels_1_and_2_has_one_row_in_its_order() -> None:
    numbers = [tuple(map(int, row[0].split("."))) for row in rows()]
    assert numbers == sorted(set(numbers))
    counted = Counter((int(row[0].split(".")[0]), row[1]) for row in rows())
    for chapter, (first, second) in CHAPTERS.items():
        assert (counted[chapter, "1"], counted[chapter, "2"]) == (first, second), chapter
    assert sum(map(sum, CHAPTERS.values())) == len(numbers) == 253


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row[0]))
def test_a_row_is_met_by_tests_that_exist_or_says_why_not(row: tuple[str, ...]) -> None:
    _, _, _, state, reason = row
    assert state in STATES
    named = TEST.findall(reason)
    if state == "met":
        assert named
        assert TEST.sub("", reason).strip() == ""
        missing = [f"{path}::{name}" for path, name in named if name not in names_in(path)]
        assert not missing
    else:
        assert not named
        assert len(reason) > 5


# What rows need that no other test shows


def table_of(title: str, column: int) -> set[str]:
    """Return the names in code in a column of the table in a section of docs/security.md."""
    page = (ROOT / "docs/security.md").read_text()
    section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    cells = (line.split(" | ")[column] for line in lines[2:])
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_each_secret_of_the_settings_is_in_the_inventory() -> None:
    secrets = {
        name
        for name, field in Settings.model_fields.items()
        if "SecretStr" in str(field.annotation)
    }
    assert len(secrets) > 5
    assert table_of("Keys and secrets", 0) - {"data_dir", "signing.key", "tls_keyfile"} == secrets


def test_each_way_to_an_access_token_is_written_down() -> None:
    ways = {
        f"{operation.route.method} {operation.route.path}"
        for operation in OPERATIONS
        if operation.route is not None and operation.answer is Tokens
    }
    assert len(ways) > 3
    assert table_of("Ways in", 0) - {"chatd_pat_…"} == ways


def test_each_server_that_a_setting_names_is_written_down() -> None:
    ours = {"public_url", "files_url"}  # where we are ourselves
    servers = {name for name in Settings.model_fields if re.search("_(url|endpoint|issuer)$", name)}
    assert table_of("What chatd talks to", 1) == servers - ours


def test_each_table_is_in_a_class_of_data() -> None:
    tables = set(
        re.findall(r"^CREATE TABLE (\w+)", (ROOT / "schema.sql").read_text(), re.MULTILINE)
    )
    assert table_of("Classes of data", 2) == tables


class Watched(MemoryStore):
    """A memory store that knows which of its methods were called."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name != "asked":
            self.asked.append(name)
        return super().__getattribute__(name)


READING = [
    operation
    for operation in OPERATIONS
    if operation.route is not None and operation.route.method == "GET" and not operation.is_page
]  # a page begins or ends a sign-in, which is of the browser's cookie alone
WRITES = re.compile(
    "accept_|add_|append_|ban$|begin_|create_|delete_|edit_|erase_|finish_|insert_|make_|mark_"
    "|open_family|pin_|react|remove_|revoke_|rotate_|save_|set_|take_|unban|update_|verify_|write_"
)


@pytest.mark.parametrize("operation", READING, ids=lambda operation: operation.name)
async def test_no_get_changes_anything(
    tmp_path: Path, autojump_clock: MockClock, operation: Operation
) -> None:
    store = Watched()
    async with open_world(tmp_path, store, Model(), files="local") as world:
        anna = await world.person("anna")
        session_id = await world.session(anna)
        token = world.token(anna)
        path = f"/chat/sessions/{session_id}"
        sent = await world.rest("POST", f"{path}/messages", {"content": "tea"}, token=token)
        invite = (await world.rest("POST", f"{path}/invites", {}, token=token)).json["invite"]
        ids = {
            "sessionId": session_id,
            "userId": anna.id,
            "messageId": sent.json["message"]["id"],
            "code": invite["code"],
            "aiSessionId": session_id,
            "fileId": session_id,
        }
        _, needed, *_ = Forms(operation, "tea", ids).good()
        assert operation.route is not None
        url = re.sub(
            r"<\w+:(\w+)>", lambda match: str(needed.pop(camel(match[1]))), operation.route.path
        )
        store.asked.clear()
        answer = await world.rest("GET", f"{url}?{urlencode(needed)}", token=token)
    assert answer.status < 500
    assert [name for name in store.asked if WRITES.match(name)] == []


def camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda letter: letter[1].upper(), name)


def modules() -> dict[str, ast.Module]:
    return {str(p.relative_to(ROOT)): ast.parse(p.read_text()) for p in ROOT.glob("chatd/**/*.py")}


def imports(tree: ast.Module) -> set[str]:
    """Return the top-level names of what a module imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module.partition(".")[0])
    return found


def test_no_weak_hash_is_used() -> None:
    for path, tree in modules().items():
        words = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        words |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not words & {"md5", "sha1"}, path


def test_cryptography_comes_from_the_standard_library_or_known_packages() -> None:
    looks = re.compile("crypt|nacl|jw|hash|secret|hmac|ssl|rsa|jose|auth|otp|pass")
    known = {
        "bcrypt",
        "cryptography",
        "hashlib",
        "hmac",
        "secrets",
        "ssl",
        "jwt",
        "joserfc",
        "pyotp",
    }
    used = {name for tree in modules().values() for name in imports(tree) if looks.search(name)}
    assert used <= known | {"authlib", "getpass"}


def test_nothing_that_counts_comes_from_random() -> None:
    """`random` spreads waits, and makes the networks of `chatd.testing` as bad as asked."""
    for path, tree in modules().items():
        if "random" in imports(tree) and not path.startswith("chatd/testing/"):
            used = [
                node.func.attr
                for node in ast.walk(tree)
                if isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "random"
            ]
            assert set(used) <= {"uniform", "random", "SystemRandom"}, path
            assert not {"tokens", "keys", "passwords"} & set(Path(path).stem.split("_")), path


def test_a_refresh_token_has_256_random_bits() -> None:
    tokens = {new_refresh_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert {len(base64.urlsafe_b64decode(token + "==")) for token in tokens} == {32}


def test_a_new_database_has_nobody_who_can_log_in(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT count(*) FROM users WHERE password_hash IS NOT NULL"
        ).fetchall()
    assert rows == [(0,)]


def test_every_component_is_locked_by_hash() -> None:
    for name in ("requirements.lock", "requirements-dev.lock", "requirements-node.lock"):
        text = (ROOT / name).read_text().replace("\\\n", " ")
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        assert len(lines) > 0
        assert [line for line in lines if "==" not in line or "--hash=sha256:" not in line] == []


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("### What is logged, and where", ("UTC", "Standard error", "postgres.log", "escaped")),
        ("### Updates of components", ("within 7 days", "make lock", "locked by hash")),
        ("## Reporting", ("In private", "chatd --version")),
    ],
)
def test_security_tells_what_is_logged_how_soon_is_updated_and_how_to_report(
    title: str, words: tuple[str, ...]
) -> None:
    page = (ROOT / "docs/security.md").read_text()
    section = page.partition(f"\n{title}\n")[2].partition("\n#")[0]
    assert all(word in section for word in words)
