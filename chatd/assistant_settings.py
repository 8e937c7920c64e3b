"""The settings of the assistant: who answers, and what that may cost.

Where it asks and with what key stands here alone: nothing that a user sends changes it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

from chatd.setting_types import Count, RateText, Seconds, Tokens


class AssistantSettings(BaseSettings):
    """The assistant is on when there is an `openai_model`."""

    openai_model: str | None = Field(
        None, min_length=1, max_length=200, description="as the provider calls it; turns AI on"
    )
    openai_models: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="other models of the provider that people may choose: they cost differently"
    )
    openai_base_url: str | None = Field(
        None, description="of any OpenAI-compatible server, with its /v1; default: OpenAI itself"
    )
    openai_api_key: SecretStr | None = Field(
        None, description="shown to openai_base_url only; a server of one's own may need none"
    )
    ai_instructions: str = Field(
        "", max_length=8000, description="ahead of every conversation; not a place for secrets"
    )
    ai_titles: Literal["on", "off"] = Field(
        "on", description="one small request names a new AI session after its first answer"
    )

    # How long
    ai_deadline: Seconds = Field(60, description="an answer from first to last, retries included")
    ai_first_token_timeout: Seconds = Field(
        20, description="of each attempt; a provider that is silent for so long has lost it"
    )
    ai_stall_timeout: Seconds = Field(15, description="between two pieces of an answer")
    ai_unwatched_timeout: Seconds | None = Field(
        None,
        description="an answer that nobody watches ends after this; none: it is finished",
        json_schema_extra={"unit": "s"},
    )
    ai_breaker_failures: Count = Field(
        5, description="failed answers in a row after which the provider is left alone"
    )
    ai_breaker_seconds: Seconds = Field(30, description="for so long; then one answer is tried")

    # How much
    ai_max_tokens: Tokens = Field(2048, description="of one answer: three printed pages")
    ai_context_tokens: Tokens = Field(
        8000, description="of what is sent with a question, estimated; the oldest turns stay out"
    )
    ai_tokens_per_day: Tokens = Field(
        200_000, description="of one user, questions and answers, by the day of UTC"
    )
    ai_rate: RateText = Field("10/min burst 10", description="questions of one user")
    ai_global_rate: RateText = Field("120/min burst 60", description="questions of all users")
    ai_per_user: Count = Field(2, description="answers of one user under way")
    ai_at_once: Count = Field(32, description="answers of all users under way")

    # How it is told and kept
    ai_delta_interval: Seconds = Field(
        0.04, description="between two ai:delta of an answer: 25 a second look like typing"
    )
    ai_checkpoint_seconds: Seconds = Field(
        2, description="text that a crash of the daemon may cost, by time"
    )
    ai_checkpoint_chars: Count = Field(4096, description="and by length, whichever comes first")

    @field_validator("openai_models", mode="before")
    @classmethod
    def _split_models(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(each.strip() for each in value.split(",") if each.strip())

    @field_validator("openai_base_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        is_plain = not parts.query and parts.username is None
        if parts.scheme not in {"http", "https"} or not parts.hostname or not is_plain:
            msg = "is an http or https URL without a query and a credential"
            raise ValueError(msg)
        return value.rstrip("/")

    @model_validator(mode="after")
    def _can_ask(self) -> Self:
        is_reachable = self.openai_api_key is not None or self.openai_base_url is not None
        if self.openai_model is not None and not is_reachable:
            msg = "openai_model needs openai_api_key, or the openai_base_url of a server without"
            raise ValueError(msg)
        if self.openai_model is None and self.openai_api_key is not None:
            msg = "openai_api_key needs openai_model: nothing is asked without"
            raise ValueError(msg)
        return self
