"""Files from end to end: the same with the data folder and with an S3 that verifies signatures."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trio
from PIL import Image

from chatd.errors import Unavailable
from chatd.links import Link
from chatd.model import iso
from chatd.nurseries.local_blobs import LocalBlobs
from tests.files.kit import DAY, Site, Visitor, open_site, picture
from tests.files.nanio import Nanio

PICTURE = picture()


def served(site: Site, url: str) -> tuple[str, str]:
    """Return the type and disposition that a link makes the store say."""
    files = site.daemon.services.files
    assert files is not None
    query = parse_qs(urlsplit(url).query)
    if isinstance(files.blobs, LocalBlobs):
        link: Link = files.blobs.links.verify(query["link"][0], "GET", site.now().timestamp())
        return link.content_type, link.disposition
    return query["response-content-type"][0], query["response-content-disposition"][0]


async def test_a_picture_goes_with_a_message_and_comes_to_its_readers_as_it_was(
    site: Site,
) -> None:
    anna, bert = await site.person("anna"), await site.person("bert")
    tea = await site.session(anna, bert)
    file = await anna.upload(tea, PICTURE)
    assert file == {
        "id": file["id"],
        "name": "cat.png",
        "size": len(PICTURE),
        "mimeType": "image/png",
        "width": 640,
        "height": 480,
        "hasThumbnail": True,
    }
    message = await anna.send(tea, file)
    assert (message["content"], message["attachments"]) == ("", [file])
    page = await bert.ask("GET", f"/chat/sessions/{tea}/messages", 200)
    assert page["messages"] == [message]
    for reader in (anna, bert):
        answer = await reader.read(file)
        assert (answer.status_code, answer.content) == (200, PICTURE)
    small = (await bert.read(file, "/thumbnail")).content
    with Image.open(io.BytesIO(small)) as image:
        assert (image.format, image.size) == ("WEBP", (512, 384))
    assert served(site, await bert.link(file)) == ("image/png", 'inline; filename="cat.png"')


@pytest.mark.parametrize(
    ("sent", "headers"),
    [
        pytest.param(PICTURE + b"x", {}, id="one byte more"),
        pytest.param(PICTURE[:-1], {}, id="one byte less"),
        pytest.param(b"", {}, id="nothing"),
        pytest.param(PICTURE, {"Content_Type": "text/html"}, id="another type"),
        pytest.param(PICTURE, {"Content_Type": "image/png; x=1"}, id="a parameter more"),
    ],
)
async def test_an_upload_that_is_not_as_promised_is_refused(
    site: Site, sent: bytes, headers: dict[str, str]
) -> None:
    anna = await site.person("anna")
    tea = await site.session(anna)
    promise = await anna.promise(tea, PICTURE)
    answer = await anna.put(promise, sent, **headers)
    assert answer.status_code == 403
    assert site.blobs(site.key(promise["fileId"])) == []
    assert await anna.refusal("POST", f"/files/{promise['fileId']}/complete") == "conflict"
    assert (await anna.put(promise, PICTURE)).status_code == 200  # the link itself is good


async def test_an_upload_behind_the_end_of_its_link_is_refused(
    tmp_path: Any, place: Nanio | None
) -> None:
    async with open_site(tmp_path, place, upload_ttl=1) as site:
        anna = await site.person("anna")
        promise = await anna.promise(None, PICTURE)
        await trio.sleep(2.1)  # the clock of the store is its own
        assert (await anna.put(promise, PICTURE)).status_code == 403


async def test_a_link_to_read_behind_its_end_is_refused(tmp_path: Any, place: Nanio | None) -> None:
    async with open_site(tmp_path, place, file_link_ttl=1) as site:
        anna = await site.person("anna")
        file = await anna.upload(None, PICTURE)
        url = await anna.link(file)
        await trio.sleep(2.1)  # as above
        assert (await site.get(url)).status_code == 403


async def test_a_link_that_was_tampered_with_is_refused(site: Site) -> None:
    anna, bert = await site.person("anna"), await site.person("bert")
    promise, other = await anna.promise(None, PICTURE), await bert.promise(None, PICTURE)
    url, others = promise["upload"]["url"], other["upload"]["url"]
    key, other_key = site.key(promise["fileId"]), site.key(other["fileId"])
    forged = [url[:-1] + ("A" if url[-1] != "A" else "B"), url[:-1], url[:-20]]
    if key in url:  # S3: the key stands in the path
        forged.append(url.rpartition("&")[0])
        forged += [url.replace(key, other_key), url.replace("X-Amz-Expires=", "X-Amz-Expires=9")]
        forged.append(url.replace("content-length%3B", ""))
    else:  # the payload of one under the signature of the other
        forged.append(f"{url.rpartition('.')[0]}.{others.rpartition('.')[2]}")
        forged.append(url.replace("?link=", "?link=e30."))
    for each in forged:
        bad = {"upload": promise["upload"] | {"url": each}}
        assert (await anna.put(bad, PICTURE)).status_code in {400, 403}, each
    assert site.blobs(key) == site.blobs(other_key) == []
    for method in ("GET", "POST", "DELETE"):
        answer = await site.outside.request(method, url)
        assert answer.status_code in {400, 403, 405}


async def test_a_link_to_read_writes_nothing(site: Site) -> None:
    anna = await site.person("anna")
    file = await anna.upload(None, PICTURE)
    url = await anna.link(file)
    evil = {"upload": {"url": url, "headers": {"Content-Type": "image/png"}}}
    assert (await anna.put(evil, PICTURE[::-1])).status_code == 403
    assert (await site.outside.delete(url)).status_code in {403, 405}
    assert (await site.get(url)).content == PICTURE


@pytest.mark.parametrize(
    ("data", "mime_type"),
    [
        pytest.param(b"<script>alert(1)</script>", "image/png", id="html as png"),
        pytest.param(picture(kind="JPEG"), "image/png", id="jpeg as png"),
        pytest.param(b"MZ" + bytes(100), "application/pdf", id="a program as pdf"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "application/pdf", id="png as pdf"),
        pytest.param(b"\0\1\2", "text/plain", id="bytes as text"),
    ],
)
async def test_bytes_that_are_not_what_was_promised_are_refused_and_swept(
    site: Site, data: bytes, mime_type: str
) -> None:
    anna = await site.person("anna")
    tea = await site.session(anna)
    promise = await anna.promise(tea, data, mime_type=mime_type)
    assert (await anna.put(promise, data)).status_code == 200
    file_id = promise["fileId"]
    key = site.key(file_id)
    refusal = await anna.refusal("POST", f"/files/{file_id}/complete")
    assert refusal == "validation_failed"
    assert await anna.refusal("POST", f"/files/{file_id}/complete") == "not_found"
    await site.sweep()
    assert site.blobs(key) == []
    await site.sweep(2 * DAY)
    assert not site.is_known(file_id)


async def test_what_was_looked_at_is_what_is_read_whatever_its_link_is_used_for_later(
    site: Site,
) -> None:
    anna = await site.person("anna")
    tea = await site.session(anna)
    promise = await anna.promise(tea, PICTURE)
    await anna.put(promise, PICTURE)
    done = await anna.ask("POST", f"/files/{promise['fileId']}/complete", 200)
    other = b"<script>" + PICTURE[8:]
    late = await anna.put(promise, other)
    if site.daemon.settings.files == "local":
        assert (late.status_code, late.json()["error"]["code"]) == (409, "conflict")
    again = await anna.ask("POST", f"/files/{promise['fileId']}/complete", 200)
    assert again == done
    await anna.send(tea, done["file"])
    assert (await anna.read(done["file"])).content == PICTURE
    await site.sweep(2 * DAY)  # what came late is swept, the file is not
    key = site.key(promise["fileId"])
    assert site.blobs(key)
    assert not any("incoming" in str(path) and key in str(path) for path in files_below(site))
    assert (await anna.read(done["file"])).content == PICTURE


def files_below(site: Site) -> list[Any]:
    return [path for path in site.folder.rglob("*") if path.is_file()]


async def test_before_it_is_complete_a_file_goes_with_no_message_and_is_read_by_nobody(
    site: Site,
) -> None:
    anna = await site.person("anna")
    tea = await site.session(anna)
    promise = await anna.promise(tea, PICTURE)
    path, file_id = f"/chat/sessions/{tea}/messages", promise["fileId"]
    await anna.put(promise, PICTURE)
    assert await anna.refusal("POST", path, attachments=[file_id]) == "not_found"
    assert await anna.refusal("GET", f"/files/{file_id}") == "not_found"


async def test_a_file_of_another_is_not_found_whatever_is_asked_of_it(site: Site) -> None:
    anna, bert, eve = [await site.person(name) for name in ("anna", "bert", "eve")]
    tea, cake = await site.session(anna, bert), await site.session(anna, bert)
    promise = await anna.promise(tea, PICTURE)
    file_id = promise["fileId"]
    await anna.put(promise, PICTURE)
    assert await bert.refusal("POST", f"/files/{file_id}/complete") == "not_found"
    done = await anna.ask("POST", f"/files/{file_id}/complete", 200)
    for session_id, sender in ((tea, bert), (cake, anna)):
        path = f"/chat/sessions/{session_id}/messages"
        assert await sender.refusal("POST", path, attachments=[file_id]) == "not_found"
    for way in ("", "/thumbnail", "/link"):
        assert await bert.refusal("GET", f"/files/{file_id}{way}") == "not_found"
    await anna.send(tea, done["file"])
    for way in ("", "/thumbnail", "/link"):
        assert await eve.refusal("GET", f"/files/{file_id}{way}") == "not_found"
        assert await site.get(f"/files/{file_id}{way}") is not None
    assert await bert.refusal("DELETE", f"/files/{file_id}") == "not_found"
    assert await anna.refusal("DELETE", f"/files/{file_id}") == "conflict"
    anonymous = await site.get(f"/files/{file_id}")
    assert anonymous.status_code == 401
    body = {"fileName": "x", "size": 1, "mimeType": "text/plain", "sessionId": str(tea)}
    assert await eve.refusal("POST", "/files", **body) == "not_a_member"


async def test_who_has_left_reads_no_more_from_that_moment(site: Site) -> None:
    anna, bert = await site.person("anna"), await site.person("bert")
    tea = await site.session(anna, bert)
    file = await anna.upload(tea, PICTURE)
    await anna.send(tea, file)
    assert (await bert.read(file)).status_code == 200
    await anna.ask("DELETE", f"/chat/sessions/{tea}/members?userId={bert.id}", 200)
    assert await bert.refusal("GET", f"/files/{file['id']}") == "not_found"


async def test_deleting_a_message_revokes_its_files_at_once_and_the_sweep_takes_the_bytes(
    site: Site,
) -> None:
    anna, bert = await site.person("anna"), await site.person("bert")
    tea = await site.session(anna, bert)
    file = await anna.upload(tea, PICTURE)
    message = await anna.send(tea, file, content="look")
    url = await bert.link(file)
    key = site.key(file["id"])
    gone = await anna.ask("DELETE", f"/chat/messages/{message['id']}", 200)
    assert gone["message"]["attachments"] == []
    assert await bert.refusal("GET", f"/files/{file['id']}") == "not_found"
    if site.daemon.settings.files == "local":  # a link of before is ours to refuse
        assert (await site.get(url)).status_code == 404
    await site.sweep()
    assert site.blobs(key) == []
    assert (await site.get(url)).status_code == 404
    for late in (timedelta(), timedelta(minutes=20)):  # an upload may still be on its way
        await site.sweep(late)
        assert site.is_known(file["id"])
    await site.sweep(2 * DAY)
    assert not site.is_known(file["id"])


@pytest.mark.parametrize(
    ("data", "name", "mime_type"),
    [
        (b"<script>alert(1)</script>", "a.html", "text/html"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "a.svg", "image/svg+xml"),
        (b'<?xml version="1.0"?><x/>', "a.xml", "application/xml"),
        (b"<html xmlns='http://www.w3.org/1999/xhtml'/>", "a.xhtml", "application/xhtml+xml"),
        (b"plain words", "a.txt", "text/plain"),
        (b"who knows", "a.bin", "application/x-unheard-of"),
        (PICTURE, "a.html", "application/octet-stream"),
    ],
)
async def test_what_runs_or_is_not_known_is_served_as_bytes_to_be_saved(
    site: Site, data: bytes, name: str, mime_type: str
) -> None:
    anna = await site.person("anna")
    file = await anna.upload(None, data, name=name, mime_type=mime_type)
    assert (file["width"], file["hasThumbnail"]) == (None, False)
    url = await anna.link(file)
    assert served(site, url) == ("application/octet-stream", f'attachment; filename="{name}"')
    assert (await site.get(url)).content == data
    assert await anna.refusal("GET", f"/files/{file['id']}/thumbnail") == "not_found"


@pytest.mark.parametrize(
    ("sent", "kept", "told"),
    [
        ("../../etc/passwd", "passwd", 'filename="passwd"'),
        ("C:\\Users\\me\\cat.png", "cat.png", 'filename="cat.png"'),
        ("a\r\nSet-Cookie: x=1", "aSet-Cookie: x=1", 'filename="aSet-Cookie: x=1"'),
        (
            'a"b%22.png',
            'a"b%22.png',
            "filename=\"a_b_22.png\"; filename*=UTF-8''a%22b%2522.png",
        ),
        (
            "\u202egnp.exe",
            "gnp.exe",
            'filename="gnp.exe"',
        ),
        ("kätzchen.png", "kätzchen.png", "filename*=UTF-8''k%C3%A4tzchen.png"),
        ("猫.png", "猫.png", "filename=\"_.png\"; filename*=UTF-8''%E7%8C%AB.png"),
    ],
)
async def test_a_name_breaks_neither_a_header_nor_a_path(
    site: Site, sent: str, kept: str, told: str
) -> None:
    anna = await site.person("anna")
    file = await anna.upload(None, b"words", name=sent, mime_type="text/plain")
    assert file["name"] == kept
    _, disposition = served(site, await anna.link(file))
    assert told in disposition
    answer = await anna.read(file)
    assert (answer.status_code, answer.content) == (200, b"words")
    assert "set-cookie" not in answer.headers


async def test_a_quota_is_told_by_name_and_a_deleted_file_gives_back_its_place(
    tmp_path: Any, place: Nanio | None
) -> None:
    limits: dict[str, Any] = {
        "file_bytes": 2048,
        "user_file_bytes": 4096,
        "user_files": 3,
        "user_uploads": 2,
    }
    async with open_site(tmp_path, place, **limits) as site:
        anna = await site.person("anna")
        body: dict[str, Any] = {"fileName": "a", "mimeType": "text/plain"}
        answer = await anna.ask("POST", "/files", 413, **body, size=2049)
        assert answer["error"]["details"] == {"maxBytes": 2048}
        assert await anna.refusal("POST", "/files", **body, size=0) == "validation_failed"
        first = await anna.upload(None, b"x" * 2048, mime_type="text/plain")
        for _ in range(2):
            await anna.ask("POST", "/files", 201, **body, size=1)
        assert await anna.refusal("POST", "/files", **body, size=1) == "rate_limited"
        site.ahead = timedelta(seconds=301)
        answer = await anna.ask("POST", "/files", 409, **body, size=1)
        assert answer["error"]["details"] == {"quota": "files", "limit": 3}
        await anna.ask("DELETE", f"/files/{first['id']}", 200)
        await anna.ask("POST", "/files", 201, **body, size=2048)
        config = await anna.ask("GET", "/config.json", 200)
        assert config["files"] is True
        assert config["fileLimits"] == {
            "maxBytes": 2048,
            "maxAttachments": 10,
            "maxUserBytes": 4096,
            "maxUserFiles": 3,
        }


async def test_what_is_attached_to_nothing_is_swept_after_a_day_bytes_and_all(site: Site) -> None:
    anna = await site.person("anna")
    tea = await site.session(anna)
    unfinished = await anna.promise(tea, PICTURE)
    await anna.put(unfinished, PICTURE)
    loose, kept = await anna.upload(tea, PICTURE), await anna.upload(tea, PICTURE)
    await anna.send(tea, kept)
    ids = [unfinished["fileId"], loose["id"]]
    keys = [site.key(each) for each in ids]
    await site.sweep(DAY - timedelta(minutes=1))
    assert all(site.blobs(key) for key in keys)
    await site.sweep(DAY + timedelta(minutes=1))
    assert [site.blobs(key) for key in keys] == [[], []]
    await site.sweep(3 * DAY)
    assert [site.is_known(each) for each in ids] == [False, False]
    assert (await anna.read(kept)).content == PICTURE


async def test_a_file_is_taken_back_by_its_uploader(site: Site) -> None:
    anna = await site.person("anna")
    file = await anna.upload(None, PICTURE)
    key = site.key(file["id"])
    for _ in range(2):
        assert await anna.ask("DELETE", f"/files/{file['id']}", 200) == {}
    assert await anna.refusal("GET", f"/files/{file['id']}") == "not_found"
    await site.sweep()
    assert site.blobs(key) == []


async def test_an_avatar_is_a_small_picture_that_everybody_sees_until_there_is_another(
    site: Site,
) -> None:
    anna, bert = await site.person("anna"), await site.person("bert")
    tea = await site.session(anna, bert)
    one = await anna.upload(None, picture(2000, 1000))
    two = await anna.upload(None, picture(10, 10))
    of_session, words = (
        await anna.upload(tea, PICTURE),
        await anna.upload(None, b"x", mime_type="text/plain"),
    )
    for wrong in (of_session["id"], words["id"], str(tea)):
        assert await anna.refusal("PATCH", "/users/me", avatarFileId=wrong) == "not_found"
    assert await bert.refusal("PATCH", "/users/me", avatarFileId=one["id"]) == "not_found"
    both = {"avatarFileId": one["id"], "avatarColor": "#123456"}
    assert await anna.refusal("PATCH", "/users/me", **both) == "validation_failed"

    changed = await anna.ask("PATCH", "/users/me", 200, avatarFileId=one["id"], name="Ann")
    url = changed["user"]["avatarUrl"]
    assert (changed["user"]["name"], url) == ("Ann", f"/avatars/{one['id']}")
    seen = await bert.ask("GET", f"/users/{anna.id}", 200)
    assert seen["user"]["avatarUrl"] == url
    leads = await site.get(url)
    assert leads.status_code == 302
    small = await site.get(leads.headers["location"])
    with Image.open(io.BytesIO(small.content)) as image:
        assert (image.format, image.size) == ("WEBP", (512, 256))

    await anna.ask("PATCH", "/users/me", 200, avatarFileId=two["id"])
    assert (await site.get(url)).status_code == 404
    assert (await site.get(f"/avatars/{two['id']}")).status_code == 302
    await anna.ask("PATCH", "/users/me", 200, avatarFileId=None)
    assert (await site.get(f"/avatars/{two['id']}")).status_code == 404


async def test_a_link_can_be_asked_for_where_a_redirect_cannot_be_followed(site: Site) -> None:
    anna = await site.person("anna")
    file = await anna.upload(None, PICTURE)
    whole = await anna.ask("GET", f"/files/{file['id']}/link", 200)
    small = await anna.ask("GET", f"/files/{file['id']}/link?thumbnail=true", 200)
    assert (await site.get(whole["url"])).content == PICTURE
    assert (await site.get(small["url"])).content == (await anna.read(file, "/thumbnail")).content


async def test_a_picture_that_nobody_can_read_is_a_file_without_a_thumbnail(site: Site) -> None:
    anna = await site.person("anna")
    broken = PICTURE[:200]
    file = await anna.upload(None, broken)
    assert (file["width"], file["hasThumbnail"]) == (None, False)
    assert (await anna.read(file)).content == broken


async def test_a_store_that_is_away_while_a_picture_is_read_is_told_and_a_repeat_has_it_all(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = await site.person("anna")
    promise = await anna.promise(None, PICTURE)
    assert (await anna.put(promise, PICTURE)).status_code == 200
    files = site.daemon.services.files
    assert files is not None
    real, reads = files.blobs.read, 0

    async def away(key: str, start: int, length: int) -> bytes:
        nonlocal reads
        reads += 1
        if reads == 2:  # the first one is of the head, which says what it is
            raise Unavailable(retry_after=1)
        return await real(key, start, length)

    monkeypatch.setattr(files.blobs, "read", away)
    complete = f"/files/{promise['fileId']}/complete"
    assert await anna.refusal("POST", complete) == "unavailable"
    file = (await anna.ask("POST", complete, 200))["file"]
    assert (file["width"], file["hasThumbnail"]) == (640, True)


async def test_a_repeat_of_a_message_with_a_file_answers_what_is_stored(site: Site) -> None:
    anna = await site.person("anna")
    tea = await site.session(anna)
    file, other = await anna.upload(tea, PICTURE), await anna.upload(tea, PICTURE)
    path = f"/chat/sessions/{tea}/messages"
    body = {"content": "x", "attachments": [file["id"]], "clientMsgId": "k"}
    first = await anna.ask("POST", path, 201, **body)
    again = await anna.ask("POST", path, 201, **body)
    assert again == first | {"duplicate": True}
    for changed in ([], [other["id"]]):
        refusal = await anna.refusal("POST", path, **(body | {"attachments": changed}))
        assert refusal == "idempotency_conflict"


@pytest.mark.parametrize(
    "body",
    [
        {"fileName": "..", "size": 1, "mimeType": "text/plain"},
        {"fileName": "\r\n", "size": 1, "mimeType": "text/plain"},
        {"fileName": "x" * 256, "size": 1, "mimeType": "text/plain"},
        {"fileName": "x", "size": "1", "mimeType": "text/plain"},
        {"fileName": "x", "size": -1, "mimeType": "text/plain"},
        {"fileName": "x", "size": 1, "mimeType": "text"},
        {"fileName": "x", "size": 1, "mimeType": "text/plain\r\nx: y"},
        {"fileName": "x", "size": 1, "mimeType": "text/plain; charset=utf-8"},
        {"fileName": "x", "size": 1, "mimeType": "text/plain", "key": "mine"},
    ],
)
async def test_a_promise_that_is_not_understood_is_refused(
    site: Site, body: dict[str, Any]
) -> None:
    anna = await site.person("anna")
    assert await anna.refusal("POST", "/files", **body) == "validation_failed"


async def test_who_may_not_write_in_a_session_promises_no_file_for_it(site: Site) -> None:
    anna, bert, carl = [await site.person(name) for name in ("anna", "bert", "carl")]
    tea = await site.session(anna, bert)
    path = f"/chat/sessions/{tea}"
    body = {"fileName": "x", "size": 1, "mimeType": "text/plain", "sessionId": str(tea)}

    async def refusals(visitor: Visitor) -> set[str]:
        to_send = await visitor.refusal("POST", f"{path}/messages", content="tea")
        return {to_send, await visitor.refusal("POST", "/files", **body)}

    assert await refusals(carl) == {"not_a_member"}
    until = iso(site.now() + timedelta(minutes=1))
    await anna.ask("PATCH", f"{path}/members/{bert.id}", 200, mutedUntil=until)
    assert await refusals(bert) == {"muted"}
    await anna.ask("PATCH", path, 200, readOnly=True)
    assert await refusals(bert) == {"session_read_only"}
    await anna.ask("POST", "/files", 201, **body)
    await anna.ask("PATCH", path, 200, readOnly=False)
    site.ahead = timedelta(minutes=2)  # no longer muted
    await bert.ask("POST", "/files", 201, **body)
    await anna.ask("PATCH", path, 200, archived=True)
    assert await refusals(anna) == {"session_read_only"}


async def uploads_of(visitor: Visitor, session_id: Any, count: int) -> list[dict[str, Any]]:
    return [await visitor.upload(session_id, PICTURE) for _ in range(count)]


async def test_a_message_has_at_most_ten_files_and_none_of_them_twice(site: Site) -> None:
    anna = await site.person("anna")
    tea = await site.session(anna)
    files = await uploads_of(anna, tea, 2)
    path, ids = f"/chat/sessions/{tea}/messages", [file["id"] for file in files]
    for wrong in ([ids[0]] * 2, [str(tea)] * 11):
        refusal = await anna.refusal("POST", path, attachments=wrong)
        assert refusal == "validation_failed"
    assert await anna.refusal("POST", path, content="  ") == "validation_failed"
    message = await anna.send(tea, *reversed(files))
    assert message["attachments"] == files[::-1]


async def test_an_export_has_the_files_of_its_user_bytes_and_all(site: Site) -> None:
    anna, bert = await site.person("anna"), await site.person("bert")
    tea = await site.session(anna, bert)
    large = bytes(range(256)) * 2000
    sent = await anna.upload(tea, PICTURE, name="kätzchen.png")
    loose = await anna.upload(None, large, mime_type="application/octet-stream")
    message = await anna.send(tea, sent)
    await bert.send(tea, await bert.upload(tea, PICTURE))
    answer = await anna.http.get("/users/me/export")
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        told = json.loads(archive.read("files.json"))
        found = {name: archive.read(name) for name in archive.namelist() if "files/" in name}
    assert [(each["id"], each["messageId"], each["sessionId"]) for each in told] == [
        (sent["id"], message["id"], str(tea)),
        (loose["id"], None, None),
    ]
    assert found == {told[0]["path"]: PICTURE, told[1]["path"]: large}
    assert told[0]["path"] == f"files/{sent['id']}/kätzchen.png"


async def test_an_erased_account_keeps_the_files_of_its_messages_or_loses_them_all(
    site: Site,
) -> None:
    anna, bert, carl = [await site.person(name) for name in ("anna", "bert", "carl")]
    tea = await site.session(carl, anna, bert)
    kept, gone = await anna.upload(tea, PICTURE), await bert.upload(tea, PICTURE)
    loose = await anna.upload(tea, PICTURE)
    await anna.send(tea, kept)
    await bert.send(tea, gone)
    keys = [site.key(file["id"]) for file in (kept, gone, loose)]
    for person, deletes in ((anna, False), (bert, True)):
        await site.store.begin_erasure(person.id, deletes_messages=deletes, at=site.now())
        site.daemon.services.erasures.wake()
    while await site.store.open_erasures(1):  # noqa: ASYNC110 - the daemon tells nobody
        await trio.sleep(0.01)
    assert (await carl.read(kept)).content == PICTURE
    for file in (gone, loose):
        assert await carl.refusal("GET", f"/files/{file['id']}") == "not_found"
    await site.sweep()
    assert [bool(site.blobs(key)) for key in keys] == [True, False, False]
