"""The validated types of which settings are made."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

Seconds = Annotated[float, Field(gt=0, json_schema_extra={"unit": "s"})]
Count = Annotated[int, Field(ge=1)]
RateText = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}/(s|min|h) burst [1-9][0-9]{0,5}$")]
Bytes = Annotated[int, Field(ge=1024, json_schema_extra={"unit": "bytes"})]
Tokens = Annotated[int, Field(ge=64, json_schema_extra={"unit": "tokens"})]
Pooler = Literal["none", "session", "transaction"]
