"""A daemon with files on a real port, and people who upload and read there.

The same tests run with files in the data folder and in an S3 that verifies signatures: what differs
between the two stands here.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import trio
from PIL import Image

from chatd.config import Settings
from chatd.contract import Store
from chatd.ids import uuid7
from chatd.nurseries.daemon import Daemon, open_daemon
from chatd.nurseries.file_sweeper import FileSweeper
from chatd.nurseries.listener import bound_port
from chatd.store.memory import MemoryStore
from tests.files.nanio import Nanio
from tests.listener_kit import open_door

DEADLINE = 30.0  # seconds of real time for a whole test
DAY = timedelta(days=1)


def picture(width: int = 640, height: int = 480, kind: str = "PNG", **options: Any) -> bytes:
    """Return the bytes of an image."""
    output = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(output, kind, **options)
    return output.getvalue()


def bomb(side: int) -> bytes:
    """Return a PNG of some KiB that says it has `side` times `side` pixels, and has them."""

    def chunk(name: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(name + data)
        return struct.pack("!I", len(data)) + name + data + struct.pack("!I", crc)

    head = struct.pack("!IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(side * (side // 8 + 1)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


class Visitor:
    """Somebody with an account, and an HTTP client that follows no redirect unseen."""

    def __init__(self, site: Site, user_id: UUID, http: httpx2.AsyncClient) -> None:
        self.site = site
        self.id = user_id
        self.http = http

    async def ask(self, method: str, path: str, status: int, **body: Any) -> Any:
        """Ask, check the status, and return the JSON of the answer."""
        answer = await self.http.request(method, path, json=body or None)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def refusal(self, method: str, path: str, **body: Any) -> str:
        """Ask, and return the code of the refusal."""
        answer = await self.http.request(method, path, json=body or None)
        assert answer.status_code >= 400, answer.text
        code: str = answer.json()["error"]["code"]
        return code

    async def promise(
        self,
        session_id: UUID | None,
        data: bytes,
        name: str = "cat.png",
        mime_type: str = "image/png",
    ) -> dict[str, Any]:
        """Promise a file; return the answer."""
        body = {"fileName": name, "size": len(data), "mimeType": mime_type}
        if session_id is not None:
            body["sessionId"] = str(session_id)
        answer: dict[str, Any] = await self.ask("POST", "/files", 201, **body)
        return answer

    async def put(self, promise: dict[str, Any], data: bytes, **headers: str) -> httpx2.Response:
        """Put bytes where a promise says."""
        upload = promise["upload"]
        told = upload["headers"] | {name.replace("_", "-"): each for name, each in headers.items()}
        return await self.site.outside.put(upload["url"], content=data, headers=told)

    async def upload(self, session_id: UUID | None, data: bytes, **more: str) -> dict[str, Any]:
        """Upload a file, all of it; return what a message will hold of it."""
        promise = await self.promise(session_id, data, **more)
        answer = await self.put(promise, data)
        assert answer.status_code == 200, answer.text
        done = await self.ask("POST", f"/files/{promise['fileId']}/complete", 200)
        file: dict[str, Any] = done["file"]
        assert file["id"] == promise["fileId"]
        return file

    async def send(self, session_id: UUID, *files: dict[str, Any], content: str = "") -> Any:
        """Send a message with files; return the message."""
        body = {"content": content, "attachments": [file["id"] for file in files]}
        path = f"/chat/sessions/{session_id}/messages"
        return (await self.ask("POST", path, 201, **body))["message"]

    async def link(self, file: dict[str, Any], part: str = "") -> str:
        """Return the link to which the way to a file leads."""
        answer = await self.http.get(f"/files/{file['id']}{part}")
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    async def read(self, file: dict[str, Any], part: str = "", **headers: str) -> httpx2.Response:
        """Follow the way to a file."""
        return await self.site.get(await self.link(file, part), **headers)


class Site:
    """The daemon; made by `open_site`.

    Attributes:
        ahead: what the daemon's clock is ahead of the world's.
        outside: a client without a login, as a browser goes to a link.
    """

    def __init__(self, url: str, store: Store, folder: Path) -> None:
        self.url = url
        self.store = store
        self.folder = folder  # where the bytes lie
        self.ahead = timedelta()
        self.daemon: Daemon
        self.outside: httpx2.AsyncClient
        self._people: list[httpx2.AsyncClient] = []

    def now(self) -> datetime:
        """Return the daemon's time of day."""
        return datetime.now(UTC) + self.ahead

    async def person(self, name: str) -> Visitor:
        """Return somebody with a new account."""
        user = await self.store.insert_user(
            user_id=uuid7(),
            email=f"{name}@example.com",
            name=name,
            password_hash=None,
            created_at=self.now(),
        )
        assert user is not None
        http = httpx2.AsyncClient(base_url=self.url, timeout=DEADLINE, verify=False)
        token = self.token(user.id)
        http.headers["authorization"] = f"Bearer {token}"
        self._people.append(http)
        return Visitor(self, user.id, http)

    def token(self, user_id: UUID) -> str:
        """Return an access token of a new login."""
        services = self.daemon.services
        return services.tokens.issue(user_id, uuid7(), uuid7(), datetime.now(UTC))[0]

    async def session(self, owner: Visitor, *others: Visitor) -> UUID:
        """Return the id of a new session of these people."""
        row, _ = await self.store.create_session(
            session_id=uuid7(),
            kind="GROUP",
            name="tea",
            creator_id=owner.id,
            member_ids=[other.id for other in others],
            at=self.now(),
        )
        return row.id

    async def get(self, url: str, **headers: str) -> httpx2.Response:
        """Go to a link, without a login."""
        told = {name.replace("_", "-"): each for name, each in headers.items()}
        return await self.outside.get(url, headers=told)

    async def sweep(self, ahead: timedelta = timedelta()) -> None:
        """Let the sweep look once, at a time ahead."""
        files = self.daemon.services.files
        assert files is not None
        patience = timedelta(seconds=self.daemon.settings.upload_patience)
        await FileSweeper(self.store, files.blobs, patience, lambda: self.now() + ahead).sweep()

    def key(self, file_id: str) -> str:
        """Return where the bytes of a file lie."""
        assert isinstance(self.store, MemoryStore)
        return self.store._files[UUID(file_id)].row.key

    def blobs(self, key: str) -> list[str]:
        """Return the names of what lies there of a file."""
        return sorted(
            path.name for path in self.folder.rglob("*") if path.is_file() and key in str(path)
        )

    def is_known(self, file_id: str) -> bool:
        """Return whether the store has a row of a file, revoked or not."""
        assert isinstance(self.store, MemoryStore)
        return UUID(file_id) in self.store._files

    async def close(self) -> None:
        """Close the clients."""
        for http in self._people:
            await http.aclose()


@asynccontextmanager
async def open_site(
    tmp_path: Path, nanio: Nanio | None = None, *, store: Store | None = None, **more: Any
) -> AsyncIterator[Site]:
    """Run a daemon on a free port, with its files in the data folder or in an S3."""
    with trio.fail_after(DEADLINE):
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        url = f"http://127.0.0.1:{bound_port(listeners[0])}"
        folder = tmp_path / "files" if nanio is None else nanio.folder
        site = Site(url, store or MemoryStore(), folder)
        usual: dict[str, Any] = {
            "environment": "development",
            "bcrypt_rounds": 4,
            "rate_limits": "off",
            "signing_keys": ("test:" + "k" * 40,),
            "data_dir": tmp_path,
            **({} if nanio is None else nanio.settings),
        }
        async with (
            open_daemon(Settings(**(usual | more)), site.store, now=site.now) as site.daemon,
            open_door([*listeners], site.daemon.http.serve_connection, max_connections=100),
            httpx2.AsyncClient(base_url=url, timeout=DEADLINE, verify=False) as site.outside,
        ):
            try:
                yield site
            finally:
                await site.close()
