"""Files in a store that speaks S3: clients go there with presigned links, the daemon too.

A link to upload has signed headers: exact key, type and length, so that the store refuses all else
(Signature Version 4). What clients write lies under `incoming/`, and is copied to `files/` when it
is adopted: whatever is done with a link afterwards, what was looked at is what is read. botocore
signs, nothing more: it takes 38 MiB and 0.6 s, so it is imported here and where S3 is configured
only; what it would find in the environment (keys, endpoints, proxies) does not count.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import httpx2
import structlog
import trio

from chatd.blobs import BlobPart, Serving, Upload
from chatd.config import Settings, SettingsError
from chatd.errors import NotFound, Unavailable
from chatd.nurseries.bounded_http import BoundedTransport
from chatd.rows import FileRow

CONNECTIONS = 16  # of the daemon itself: files do not pass through it
COPY_TIMEOUTS = 6  # times as long as any other question: it may copy a GiB
LINK_SECONDS = 60  # of links that the daemon makes for itself
RETRY_AFTER = 5.0  # seconds that a refusal tells to wait

log = structlog.get_logger("chatd.s3")


class S3Error(Exception):
    """The store does not do what is asked of it; the text tells the operator what."""


class S3Blobs:
    """See `chatd.blobs.Blobs`; made by `open_s3`."""

    def __init__(
        self, client: Any, http: httpx2.AsyncClient, settings: Settings, now: Callable[[], datetime]
    ) -> None:
        self._client = client
        self._http = http
        self._bucket = settings.s3_bucket
        self._timeout = settings.s3_timeout
        self._link_seconds = max(1, int(settings.file_link_ttl))
        self._now = now

    async def upload_to(self, row: FileRow) -> Upload:
        """Return a link that takes exactly the promised bytes."""
        seconds = max(1, int((row.upload_until - self._now()).total_seconds()))
        url = self._sign(
            "put_object",
            seconds,
            Key=_incoming(row.key),
            ContentType=row.mime_type,
            ContentLength=row.size,
        )
        return Upload(url, "PUT", {"Content-Type": row.mime_type})

    async def link_to(self, row: FileRow, serving: Serving, *, reader: str, part: BlobPart) -> str:
        """Return a link to a file or its thumbnail; the store is asked to say what it is."""
        del reader  # its transfers are the store's to bound
        return self._sign(
            "get_object",
            self._link_seconds,
            Key=_stored(row.key, part),
            ResponseContentType=serving.content_type,
            ResponseContentDisposition=serving.disposition,
            ResponseCacheControl=f"private, max-age={self._link_seconds}",
        )

    async def adopt(self, row: FileRow) -> int | None:
        """Copy what was uploaded out of its uploader's reach; return its size."""
        if await self._stat(_incoming(row.key)) is not None:
            source = f"{self._bucket}/{_incoming(row.key)}"
            url = self._sign("copy_object", LINK_SECONDS, Key=_stored(row.key), CopySource=source)
            await self._ask("PUT", url, {"x-amz-copy-source": source}, patience=COPY_TIMEOUTS)
            await self.delete_upload(row.key)
        found = await self._stat(_stored(row.key))  # a copy may fail behind its 200
        return None if found is None or found[1] != row.mime_type else found[0]

    async def read(self, key: str, start: int, length: int) -> bytes:
        """Return a part of an adopted file."""
        url = self._sign("get_object", LINK_SECONDS, Key=_stored(key))
        wanted = {"Range": f"bytes={start}-{start + length - 1}"}
        answer = await self._ask("GET", url, wanted)
        if answer is None:
            raise NotFound
        if answer.status_code != httpx2.codes.PARTIAL_CONTENT:
            msg = "a part of a file was not given"
            raise self._away(msg)
        return bytes(answer.content)

    async def write_thumbnail(self, key: str, data: bytes, content_type: str) -> None:
        """Keep the thumbnail of a file beside it."""
        url = self._sign(
            "put_object",
            LINK_SECONDS,
            Key=_stored(key, "thumbnail"),
            ContentType=content_type,
            ContentLength=len(data),
        )
        await self._ask("PUT", url, {"Content-Type": content_type}, content=data)

    async def clean(self, *, is_shared: bool) -> None:
        """Do nothing: a store that speaks S3 shows no object before it is whole."""

    async def delete_upload(self, key: str) -> None:
        """Delete what was uploaded and not adopted."""
        await self._delete(_incoming(key))

    async def delete(self, key: str) -> None:
        """Delete everything of a file."""
        for name in (_incoming(key), _stored(key, "thumbnail"), _stored(key)):
            await self._delete(name)

    async def _delete(self, name: str) -> None:
        await self._ask("DELETE", self._sign("delete_object", LINK_SECONDS, Key=name))

    async def _stat(self, name: str) -> tuple[int, str] | None:
        """Return size and type of an object, None when there is none."""
        answer = await self._ask("HEAD", self._sign("head_object", LINK_SECONDS, Key=name))
        if answer is None:
            return None
        length = answer.headers.get("content-length", "")
        if not length.isdecimal():
            msg = "an object without a length"
            raise self._away(msg)
        return int(length), answer.headers.get("content-type", "")

    def _sign(self, operation: str, seconds: int, **params: object) -> str:
        url: str = self._client.generate_presigned_url(
            operation, Params={"Bucket": self._bucket, **params}, ExpiresIn=seconds
        )
        return url

    async def _ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        content: bytes | None = None,
        patience: int = 1,
    ) -> httpx2.Response | None:
        """Ask the store; None: there is no such object.

        Raises:
            Unavailable: it does not answer, or not as it should; the log says what.
        """
        try:
            with trio.fail_after(self._timeout * patience):
                answer = await self._http.request(method, url, headers=headers, content=content)
        except (trio.TooSlowError, httpx2.HTTPError) as trouble:
            raise self._away(f"{method}: {type(trouble).__name__}") from None
        if answer.status_code == httpx2.codes.NOT_FOUND:
            return None
        if not answer.is_success:
            raise self._away(f"{method} is answered with {answer.status_code}")
        return answer

    def _away(self, reason: str) -> Unavailable:
        log.warning("s3", reason=reason)  # never the URL: it is signed
        msg = "the store of the files does not answer as it should: try again"
        return Unavailable(msg, retry_after=RETRY_AFTER)


@asynccontextmanager
async def open_s3(settings: Settings, now: Callable[[], datetime]) -> AsyncIterator[S3Blobs]:
    """Keep connections to the store for the length of the block; it is asked when it is needed.

    Raises:
        SettingsError: botocore is not installed.
    """
    client = await trio.to_thread.run_sync(_signer, settings)
    async with httpx2.AsyncClient(
        transport=BoundedTransport(limits=httpx2.Limits(max_connections=CONNECTIONS)),
        timeout=httpx2.Timeout(settings.s3_timeout * COPY_TIMEOUTS),
        headers={"Accept-Encoding": "identity"},
        follow_redirects=False,
        trust_env=False,
    ) as http:
        yield S3Blobs(client, http, settings, now)


def _signer(settings: Settings) -> Any:
    """Return botocore's client, of which only the signatures are used."""
    try:
        from botocore.config import Config  # noqa: PLC0415 - see above
        from botocore.session import Session  # noqa: PLC0415 - see above
    except ImportError:
        msg = "files=s3 needs botocore: pip install 'chatd[s3]'"
        raise SettingsError(msg) from None
    secret, token = settings.s3_secret_access_key, settings.s3_session_token
    assert secret is not None  # noqa: S101 - the settings' own check
    return Session().create_client(
        "s3",
        region_name=settings.s3_region,
        endpoint_url=settings.s3_url,
        aws_access_key_id=settings.s3_access_key_id,
        aws_secret_access_key=secret.get_secret_value(),
        aws_session_token=None if token is None else token.get_secret_value(),
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": settings.s3_style},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _incoming(key: str) -> str:
    return f"incoming/{key}"


def _stored(key: str, part: str = "") -> str:
    return f"files/{key}-{part}" if part else f"files/{key}"
