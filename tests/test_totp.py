"""Codes of authenticators and recovery codes, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from chatd.ids import uuid7
from chatd.totp import (
    RECOVERY_CODES,
    STEP,
    hash_recovery_code,
    matching_step,
    new_recovery_codes,
    new_secret,
    provisioning_uri,
)
from tests.authenticator import code_at

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # "12345678901234567890", as RFC 6238 B has it
START = datetime(2026, 1, 1, tzinfo=UTC)  # the beginning of a step


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_the_codes_are_those_of_rfc_6238_appendix_b(seconds: int, code: str) -> None:
    now = datetime.fromtimestamp(seconds, UTC)
    assert matching_step(SECRET, code, now) == seconds // STEP
    assert code_at(SECRET, now) == code  # the tests' own authenticator


@pytest.mark.parametrize(
    ("away", "is_good"), [(-31, False), (-30, True), (0, True), (59, True), (60, False)]
)
def test_a_code_is_good_one_step_before_and_one_after_its_own(away: int, is_good: bool) -> None:
    code = code_at(SECRET, START)
    assert (matching_step(SECRET, code, START + timedelta(seconds=away)) is not None) is is_good


def test_a_code_of_a_step_that_is_spent_is_no_longer_good_nor_an_earlier_one() -> None:
    step = int(START.timestamp()) // STEP
    earlier, now, later = (
        code_at(SECRET, START + timedelta(seconds=each)) for each in (-STEP, 0, STEP)
    )
    for code, expected in ((earlier, None), (now, None), (later, step + 1)):
        assert matching_step(SECRET, code, START, after=step) == expected


def test_an_authenticator_reads_the_secret_from_the_uri() -> None:
    secret = new_secret()
    uri = urlsplit(provisioning_uri(secret, account="ann@example.org", issuer="chat.example.org"))
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert unquote(uri.path) == "/chat.example.org:ann@example.org"
    assert parse_qs(uri.query) == {"secret": [secret], "issuer": ["chat.example.org"]}


def test_secrets_are_160_bits_and_never_the_same() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert {len(secret) for secret in secrets} == {32}


def test_a_recovery_code_is_found_however_it_is_typed_and_by_its_owner_alone() -> None:
    codes, ann, ben = new_recovery_codes(), uuid7(), uuid7()
    assert len(set(codes)) == RECOVERY_CODES
    code = codes[0]
    typed = (code, code.upper(), code.replace("-", ""), f" {code.replace('-', ' ')} ")
    assert {hash_recovery_code(ann, each) for each in typed} == {hash_recovery_code(ann, code)}
    assert hash_recovery_code(ben, code) != hash_recovery_code(ann, code)
    assert hash_recovery_code(ann, codes[1]) != hash_recovery_code(ann, code)
