"""Commands and answers of the second factor (protocol.md section 2)."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, StringConstraints, model_validator

from chatd.model import Shape, Time

Password = Annotated[str, StringConstraints(max_length=256)]
Code = Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")]


def _is_ascii(text: str) -> str:
    if not text.isascii():
        msg = "is no recovery code"
        raise ValueError(msg)
    return text


class TotpBegin(Shape):
    """Set up a second factor; it counts when it is confirmed."""

    password: Password


class TotpBegun(Shape):
    """What an authenticator wants: the secret in base32, or the URI as a QR code."""

    secret: str
    uri: str


class TotpConfirm(Shape):
    """Confirm the second factor with a code of the authenticator."""

    code: Code


class TotpState(Shape):
    """Whether a login of the caller asks for a code, since when, and what is left beside it."""

    enabled: bool
    confirmed_at: Time | None
    recovery_codes_left: int


class RecoveryCodes(Shape):
    """Codes that stand in for the authenticator, each once; they are not shown again."""

    recovery_codes: list[str]


class _Proof(Shape):
    code: Code | None = None
    recovery_code: (
        Annotated[str, StringConstraints(max_length=64), AfterValidator(_is_ascii)] | None
    ) = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.code is None) == (self.recovery_code is None):
            msg = "takes code or recoveryCode"
            raise ValueError(msg)
        return self


class TotpProved(_Proof):
    """The password and the second factor, once more."""

    password: Password


class LoginTotp(_Proof):
    """Go on with a login that was refused with `second_factor_required`."""

    challenge: Annotated[str, StringConstraints(max_length=128)]
