"""Commands and answers of search (protocol.md section 4)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

from chatd.events.fields import MAX_QUERY, clean_query
from chatd.model import Message, Shape

Query = Annotated[str, Field(min_length=1, max_length=MAX_QUERY), AfterValidator(clean_query)]
Range = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)]


class MessageSearch(Shape):
    """Find messages; `from` names a sender, `after` (with it) and `before` (without) are times."""

    q: Query
    session_id: UUID | None = None
    sender: UUID | None = Field(default=None, alias="from")  # a keyword of Python
    after: AwareDatetime | None = None
    before: AwareDatetime | None = None
    cursor: Annotated[str, StringConstraints(max_length=200)] | None = None
    limit: Annotated[int, Field(ge=1, le=50)] = 20


class Snippet(Shape):
    """The text around the first hit; hits are [start, end) in UTF-16 units of `text`."""

    text: str
    hits: list[Range]


class SearchResult(Shape):
    """A message that was found."""

    message: Message
    snippet: Snippet


class SearchPage(Shape):
    """What was found, newest first; `nextCursor` is null on the last page."""

    results: list[SearchResult]
    next_cursor: str | None
