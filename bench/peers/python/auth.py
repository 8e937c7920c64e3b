"""Passwords, tokens, and the one error that a client is told the reason of."""

from __future__ import annotations

import os
import time

import anyio.to_thread
import bcrypt
import jwt

SECRET = os.environ["JWT_SECRET"]
BCRYPT_ROUNDS = int(os.environ.get("BCRYPT_ROUNDS", "12"))
TOKEN_SECONDS = 900


class ChatError(Exception):
    """A refusal: its REST status and its code on every wire."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


async def hash_password(password: str) -> str:
    """Return the hash, made in a thread."""
    salt = bcrypt.gensalt(BCRYPT_ROUNDS)
    return (await anyio.to_thread.run_sync(bcrypt.hashpw, password.encode(), salt)).decode()


def issue_token(user_id: str) -> str:
    """Return an access token."""
    now = int(time.time())
    return jwt.encode({"sub": user_id, "iat": now, "exp": now + TOKEN_SECONDS}, SECRET, "HS256")


def verify_token(token: object) -> str:
    """Return the user id of a valid token.

    Raises:
        ChatError: it is no token of ours, or it has expired.
    """
    if not isinstance(token, str):
        raise ChatError(401, "invalid_token")
    try:
        return str(jwt.decode(token, SECRET, ["HS256"])["sub"])
    except (jwt.InvalidTokenError, KeyError):
        raise ChatError(401, "invalid_token") from None
