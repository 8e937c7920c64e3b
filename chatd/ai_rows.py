"""Typed rows of the assistant: its sessions, messages, and what they have cost. See `rows`."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Literal, NamedTuple
from uuid import UUID

AiRole = Literal["USER", "ASSISTANT"]
AiStatus = Literal["STREAMING", "COMPLETE", "STOPPED", "FAILED", "INTERRUPTED"]
"""COMPLETE; STOPPED by its user; FAILED before any text; INTERRUPTED with what had come."""

ASSISTANT_ID = UUID("00000000-0000-8000-8000-0000000000a1")  # the user who answers in sessions


class Usage(NamedTuple):
    """Tokens that an answer has cost."""

    prompt_tokens: int
    completion_tokens: int
    is_estimated: bool = False  # the provider did not say


class AiSessionRow(NamedTuple):
    """A conversation of one user with the assistant; its texts may be UNREADABLE."""

    id: UUID
    user_id: UUID
    title: str | None
    model: str
    system_prompt: str | None
    created_at: datetime
    active_at: datetime
    running_id: UUID | None = None  # the answer that is under way


class AiMessageRow(NamedTuple):
    """A question or an answer; `seq` orders them, an answer stands behind its question.

    `content` may be UNREADABLE.
    """

    id: UUID
    ai_session_id: UUID
    seq: int
    role: AiRole
    status: AiStatus
    content: str
    created_at: datetime
    client_msg_id: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    error_code: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    is_estimated: bool = False
    replaces_id: UUID | None = None  # the answer in whose place this one was asked for


class NewAnswer(NamedTuple):
    """An answer that is to begin: to a new question, or in place of the last one.

    All ids are made by the daemon, so that a lost COMMIT can be asked for again.
    """

    id: UUID
    ai_session_id: UUID
    user_id: UUID
    model: str
    at: datetime
    question_id: UUID | None = None
    content: str = ""
    client_msg_id: str | None = None
    replaces_id: UUID | None = None
    node: str | None = None  # the daemon that makes it, where there are several


class Begin(Enum):
    """What became of an answer that was to begin."""

    BEGUN = "begun"
    DUPLICATE = "duplicate"  # this question, or this retry, was asked before: its answer
    RUNNING = "running"  # another answer of the session is under way: that one
    STALE = "stale"  # what it was to replace is not the last answer
    NOT_FOUND = "not_found"  # no such session of this user


class BeginRow(NamedTuple):
    """The outcome of `begin_answer`, with the question and the answer it is about."""

    outcome: Begin
    question: AiMessageRow | None = None
    answer: AiMessageRow | None = None


class FinishedAnswer(NamedTuple):
    """How an answer ends."""

    id: UUID
    ai_session_id: UUID
    status: AiStatus
    content: str | None  # None: what was kept of it
    finish_reason: str | None
    error_code: str | None
    usage: Usage
