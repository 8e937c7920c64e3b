"""Payloads of the assistant: conversations, messages, and the events of an answer."""

from __future__ import annotations

from typing import Any

from chatd.ai_rows import AiMessageRow, AiSessionRow, Usage
from chatd.model import iso
from chatd.rows import UNREADABLE


def ai_session_dict(row: AiSessionRow) -> dict[str, Any]:
    """Return an `AiSession`."""
    is_unreadable = row.title is UNREADABLE or row.system_prompt is UNREADABLE
    return {
        "id": row.id,
        "title": row.title,
        "model": row.model,
        "systemPrompt": row.system_prompt,
        "createdAt": iso(row.created_at),
        "activeAt": iso(row.active_at),
        "runningId": row.running_id,
        **marked(is_unreadable=is_unreadable),
    }


def ai_message_dict(row: AiMessageRow) -> dict[str, Any]:
    """Return an `AiMessage`."""
    return {
        "id": row.id,
        "aiSessionId": row.ai_session_id,
        "seq": row.seq,
        "role": row.role,
        "status": row.status,
        "content": row.content,
        "createdAt": iso(row.created_at),
        "clientMsgId": row.client_msg_id,
        "model": row.model,
        "finishReason": row.finish_reason,
        "errorCode": row.error_code,
        "usage": None
        if row.prompt_tokens is None or row.completion_tokens is None
        else usage_dict(Usage(row.prompt_tokens, row.completion_tokens, row.is_estimated)),
        **marked(is_unreadable=row.content is UNREADABLE),
    }


def usage_dict(usage: Usage) -> dict[str, Any]:
    """Return an `AiUsage`."""
    return {
        "promptTokens": usage.prompt_tokens,
        "completionTokens": usage.completion_tokens,
        "estimated": usage.is_estimated,
    }


def marked(*, is_unreadable: bool) -> dict[str, bool]:
    """Return what tells a text that does not decrypt from an empty one."""
    return {"unreadable": True} if is_unreadable else {}
