"""A conversation with the assistant, as the memory twin keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from chatd.ai_rows import AiMessageRow, AiSessionRow, Begin, BeginRow, NewAnswer
from chatd.store.contents import Contents, ai_slot, prompt_slot, title_slot


@dataclass(slots=True)
class AiConversation:
    """A row of ai_sessions and those of ai_messages, by `seq`: question, answer, and so on."""

    row: AiSessionRow
    messages: list[AiMessageRow] = field(default_factory=list)
    nodes: dict[UUID, str | None] = field(default_factory=dict)  # who makes an answer

    def current(self) -> AiSessionRow:
        """Return the conversation as the store gives it back."""
        running = [row.id for row in self.messages if row.status == "STREAMING"]
        return self.row._replace(running_id=running[0] if running else None)

    def texts(self) -> tuple[str | None, ...]:
        """Return all texts as they are stored."""
        return self.row.title, self.row.system_prompt, *(row.content for row in self.messages)

    def reseal(self, contents: Contents, seq: int) -> int:
        """Write a message anew, or title and prompt for 0; return how many texts have changed."""
        if seq == 0:
            row = self.row
            title = contents.reseal(title_slot(row.id), row.title)
            prompt = contents.reseal(prompt_slot(row.id), row.system_prompt)
            self.row = row._replace(
                title=title or row.title, system_prompt=prompt or row.system_prompt
            )
            return sum(text is not None for text in (title, prompt))
        said = self.messages[seq - 1]
        text = contents.reseal(ai_slot(self.row.id, said.id), said.content)
        if text is not None:
            self.messages[seq - 1] = said._replace(content=text)
        return int(text is not None)

    def newest_id(self) -> UUID | None:
        """Return the id of the last answer."""
        return self.messages[-1].id if self.messages else None

    def earlier(self, new: NewAnswer) -> BeginRow | None:
        """Return what an earlier call like this one has done, None when there was none."""
        own = [place for place, row in enumerate(self.messages) if row.id == new.id]
        if own:
            return BeginRow(Begin.BEGUN, self.messages[own[0] - 1], self.messages[own[0]])
        if new.client_msg_id is not None:
            for place, row in enumerate(self.messages):
                if row.client_msg_id == new.client_msg_id:
                    return BeginRow(Begin.DUPLICATE, row, self.messages[place + 1])
        newest = self.messages[-1] if self.messages else None
        if new.replaces_id is None or newest is None or newest.replaces_id != new.replaces_id:
            return None
        return BeginRow(Begin.DUPLICATE, self.messages[-2], newest)

    def begin(self, new: NewAnswer, content: str) -> None:
        """Add a question and its answer, or the latter in place of the last one.

        Args:
            content: the question as it is stored.
        """
        if new.question_id is None:
            self.messages.pop()
        else:
            question = AiMessageRow(
                new.question_id,
                self.row.id,
                len(self.messages) + 1,
                "USER",
                "COMPLETE",
                content,
                new.at,
                new.client_msg_id,
            )
            self.messages.append(question)
        answer = AiMessageRow(
            new.id,
            self.row.id,
            len(self.messages) + 1,
            "ASSISTANT",
            "STREAMING",
            "",
            new.at,
            model=new.model,
            replaces_id=new.replaces_id,
        )
        self.messages.append(answer)
        self.nodes[new.id] = new.node
        self.row = self.row._replace(active_at=max(self.row.active_at, new.at))
