"""Avatars: a picture, or a colour; who has chosen neither has the colour that their id gives."""

from __future__ import annotations

from uuid import UUID

# Apart from each other, and white letters can be read on each (WCAG AA).
AVATAR_COLORS = (
    *("#b91c1c", "#c2410c", "#a16207", "#4d7c0f", "#15803d", "#047857", "#0f766e", "#0e7490"),
    *("#0369a1", "#1d4ed8", "#4338ca", "#6d28d9", "#7e22ce", "#a21caf", "#be185d", "#be123c"),
)


def avatar_of(user_id: UUID, avatar: str | None) -> tuple[str | None, str]:
    """Return the picture, if there is one, and the colour of a user.

    Args:
        user_id: the low bits of a UUIDv7 are random: they choose the colour.
        avatar: as it is stored: the URL of a picture, a chosen colour, or nothing.
    """
    if avatar is not None and avatar.startswith("#"):
        return None, avatar
    return avatar, AVATAR_COLORS[user_id.int % len(AVATAR_COLORS)]
