"""Raw bytes that must not harm, by id, and how each is answered."""

from __future__ import annotations

from tests.http_kit import HANDSHAKE

HEAD = b"Host: chat.test\r\n"
POST = b"POST /echo HTTP/1.1\r\n" + HEAD
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def post(*headers: bytes, body: bytes = b"") -> bytes:
    return POST + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


def asked(line: bytes, *headers: bytes) -> bytes:
    return line + b"\r\n" + HEAD + b"".join(header + b"\r\n" for header in headers) + b"\r\n"


def json(body: bytes) -> bytes:
    return b"POST /json HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (HEAD, len(body), body)


def handshake(old: bytes = b"", new: bytes = b"", behind: bytes = b"") -> bytes:
    assert old in HANDSHAKE
    return HANDSHAKE.replace(old, new, 1) + behind if old else HANDSHAKE + behind


GZIP_BOMB = b"\x1f\x8b\x08\x00" + b"\x00" * 500
CLIENT_HELLO = bytes.fromhex("16030100c8010000c40303") + b"\x5a" * 190
PART = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n"

ATTACKS: list[tuple[str, bytes, set[int]]] = [
    (
        "T1-cl-te",
        post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        {400},
    ),
    (
        "T1-te-cl",
        post(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"0\r\n\r\n"),
        {400},
    ),
    ("T2-two-lengths", post(b"Content-Length: 4", b"Content-Length: 5", body=b"abcde"), {400}),
    ("T2-equal-lengths", post(b"Content-Length: 4", b"Content-Length: 4", body=b"abcd"), {400}),
    ("T2-list-of-lengths", post(b"Content-Length: 4, 4", body=b"abcd"), {400}),
    ("T3-minus", post(b"Content-Length: -1"), {400}),
    ("T3-plus", post(b"Content-Length: +5", body=b"abcde"), {400}),
    ("T3-hex", post(b"Content-Length: 0x5", body=b"abcde"), {400}),
    ("T3-empty", post(b"Content-Length:"), {400}),
    ("T3-huge", post(b"Content-Length: 99999999999999999999"), {413}),
    ("T3-endless", post(b"Content-Length: " + b"9" * 5000), {413}),
    ("T4-xchunked", post(b"Transfer-Encoding: xchunked"), {501}),
    ("T4-gzip-chunked", post(b"Transfer-Encoding: gzip, chunked"), {501}),
    ("T4-chunked-not-last", post(b"Transfer-Encoding: chunked, gzip"), {501}),
    ("T4-twice", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), {400}),
    ("T4-hidden", post(b"Transfer-Encoding:\x0bchunked"), {400}),
    ("T4-http-1.0", b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    ("T5-terminator", CHUNKED + b"3\r\nabcXX0\r\n\r\n", {400}),
    ("T6-0x", CHUNKED + b"0x5\r\nabcde\r\n0\r\n\r\n", {400}),
    ("T6-negative", CHUNKED + b"-5\r\nabcde\r\n0\r\n\r\n", {400}),
    ("T6-17-digits", CHUNKED + b"00000000000000005\r\nabcde\r\n0\r\n\r\n", {400}),
    ("T6-16-digits", CHUNKED + b"ffffffffffffffff\r\nabcde\r\n0\r\n\r\n", {413}),
    ("T6-extension", CHUNKED + b"5;" + b"x" * 40_000 + b"\r\nabcde\r\n0\r\n\r\n", {400}),
    ("T6-one-byte-chunks", CHUNKED + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n", {400}),
    ("T7-bare-lf", b"GET /hello HTTP/1.1\nHost: a\n\n", {400}),
    ("T7-bare-lf-in-headers", b"GET /hello HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", {400}),
    ("T7-space-before-colon", asked(b"GET /hello HTTP/1.1", b"X : y"), {400}),
    ("T7-obs-fold", asked(b"GET /hello HTTP/1.1", b"X: y", b" z"), {400}),
    ("T7-tab-fold-first", b"GET /hello HTTP/1.1\r\n\tx\r\nHost: a\r\n\r\n", {400}),
    ("T8-no-host", b"GET /hello HTTP/1.1\r\n\r\n", {400}),
    ("T8-two-hosts", asked(b"GET /hello HTTP/1.1", b"Host: b"), {400}),
    ("T8-non-ascii-host", b"GET /hello HTTP/1.1\r\nHost: \xc3\xbc.test\r\n\r\n", {400}),
    ("T9-absolute", asked(b"GET http://evil.test/ HTTP/1.1"), {400}),
    ("T9-authority", asked(b"GET evil.test:443 HTTP/1.1"), {400}),
    ("T9-star", asked(b"GET * HTTP/1.1"), {400}),
    ("T9-two-slashes", asked(b"GET //evil.test/ HTTP/1.1"), {400}),
    ("T10-connect", asked(b"CONNECT evil.test:443 HTTP/1.1"), {405}),
    ("T10-trace", asked(b"TRACE /hello HTTP/1.1"), {405}),
    ("T10-unknown", asked(b"BREW /hello HTTP/1.1"), {405}),
    ("T10-lower-case", asked(b"get /hello HTTP/1.1"), {405}),
    ("T11-0.9", b"GET /hello\r\n\r\n", {400}),
    ("T11-3.7", asked(b"GET /hello HTTP/3.7"), {505}),
    ("T11-1.2", asked(b"GET /hello HTTP/1.2"), {505}),
    ("T11-prior-knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {505}),
    ("T12-tls", CLIENT_HELLO, {400}),
    ("T13-head", asked(b"GET /hello HTTP/1.1", *(b"X: " + b"y" * 1000 for _ in range(20))), {431}),
    ("T13-101-headers", asked(b"GET /hello HTTP/1.1", *(b"X: y" for _ in range(100))), {431}),
    ("T13-one-header", asked(b"GET /hello HTTP/1.1", b"X: " + b"y" * 9000), {431}),
    ("T13-20-kb-header", asked(b"GET /hello HTTP/1.1", b"X: " + b"y" * 20_000), {431}),
    ("T13-target", b"GET /" + b"a" * 20_000, {431}),
    ("T14-nul-in-path", asked(b"GET /hel\x00lo HTTP/1.1"), {400}),
    ("T14-nul-in-value", asked(b"GET /hello HTTP/1.1", b"X: a\x00b"), {400}),
    ("T14-cr-in-value", asked(b"GET /hello HTTP/1.1", b"X: a\rb"), {400}),
    ("T14-non-ascii-path", asked("GET /hellö HTTP/1.1".encode()), {400}),
    ("T14-non-ascii-value", asked(b"GET /hello HTTP/1.1", b"X: \xff"), {400}),
    ("T15-ff", asked(b"GET /%ff HTTP/1.1"), {400}),
    ("T15-zz", asked(b"GET /%zz HTTP/1.1"), {400}),
    ("T15-nul", asked(b"GET /%00 HTTP/1.1"), {400}),
    ("T15-encoded-slash", asked(b"GET /..%2f..%2fetc/passwd HTTP/1.1"), {400}),
    ("T15-dots", asked(b"GET /../../etc/passwd HTTP/1.1"), {400}),
    ("T15-encoded-dots", asked(b"GET /%2e%2e/etc/passwd HTTP/1.1"), {400}),
    ("T15-overlong", asked(b"GET /%c0%ae%c0%ae/etc/passwd HTTP/1.1"), {400}),
    ("T15-backslash", asked(b"GET /..%5cx HTTP/1.1"), {400}),
    ("T16-slow-head", b"GET /hello HTTP/1.1\r\nHost:", {408}),
    ("T17-slow-body", post(b"Content-Length: 99", body=b"abc"), {408}),
    ("T17-slow-chunk", CHUNKED + b"5\r\nab", {408}),
    ("T22-declared", post(b"Content-Length: 100001", body=b"x" * 1000), {413}),
    ("T22-chunked", CHUNKED + b"c350\r\n%b\r\nc351\r\n" % (b"x" * 50_000), {413}),
    ("T23-gzip", post(b"Content-Encoding: gzip", b"Content-Length: 504", body=GZIP_BOMB), {415}),
    (
        "T25-parts",
        b"POST /app HTTP/1.1\r\n%bContent-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (HEAD, 50 * 25_000, PART * 1000),
        {413},
    ),
    ("T26-expect-and-silence", post(b"Expect: 100-continue", b"Content-Length: 3"), {408}),
    ("T26-unknown-expectation", post(b"Expect: wonders", b"Content-Length: 3"), {417}),
    ("T29-unknown-path-and-data", handshake(b"/ws", b"/nope", behind=b"\x81\x80abcd"), {404}),
    ("T30-connection", handshake(b"keep-alive,", b"\xff,"), {400}),
    ("T30-protocol", handshake(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: \xe9\r\n\r\n"), {400}),
    (
        "T30-extensions",
        handshake(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: \xe9\r\n\r\n"),
        {400},
    ),
    ("T30-origin", handshake(b"\r\n\r\n", b"\r\nOrigin: http://\xe9\r\n\r\n"), {400}),
    ("T30-host", handshake(b"chat.test", b"ch\xe9t.test"), {400}),
    ("T31-body", handshake(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n", behind=b"abc"), {400}),
    ("T31-post", handshake(b"GET", b"POST"), {400}),
    ("T31-1.0", handshake(b"HTTP/1.1", b"HTTP/1.0"), {400}),
    ("T31-two-upgrades", handshake(b"\r\n\r\n", b"\r\nUpgrade: websocket\r\n\r\n"), {400}),
    ("T32-short-key", handshake(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhl"), {400}),
    ("T32-version-8", handshake(b"Version: 13", b"Version: 8"), {426}),
]

# Answered without an end of the connection: the attack is no attack on the framing.
KEPT: list[tuple[str, bytes, set[int]]] = [
    ("T11-h2c", asked(b"GET /hello HTTP/1.1", b"Connection: Upgrade", b"Upgrade: h2c"), {200}),
    ("T22-no-length", post(), {200}),
    ("T24-depth", json(b"[" * 10_000 + b"]" * 10_000), {422}),
    ("T24-depth-33", json(b"[" * 33 + b"]" * 33), {422}),
    ("T24-nan", json(b"[NaN]"), {422}),
    ("T24-1e400", json(b"[1e400]"), {422}),
    ("T24-twice-the-same-key", json(b'{"a": 1, "a": 2}'), {422}),
    ("T24-twice-the-same-key-escaped", json(b'{"a": 1, "\\u0061": 2}'), {422}),
    ("T24-bom", json(b"\xef\xbb\xbf{}"), {422}),
    ("T24-surrogate", json(b'["\xed\xa0\x80"]'), {422}),
    ("T24-proto", json(b'{"__proto__": {}}'), {200}),
    ("T24-huge-int", json(b"9" * 5000), {200, 422}),
    ("T25-no-type", b"POST /app HTTP/1.1\r\n%bContent-Length: 2\r\n\r\n{}" % HEAD, {415}),
    ("T27-forwarded", asked(b"GET /peer HTTP/1.1", b"X-Forwarded-For: 6.6.6.6"), {200}),
    ("T28-wrong-method", b"PUT /app HTTP/1.1\r\n%bContent-Length: 2\r\n\r\n{}" % HEAD, {405}),
]
