"""Users and refresh tokens of the memory twin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from chatd.errors import StoreBug
from chatd.rows import DeviceRow, ManualStatus, PasswordProof, Rotation, RotationRow, UserRow
from chatd.store.memory_state import Device, Family, Tables, Token, statement


class MemoryAccounts(Tables):
    """The accounts' half of the contract."""

    @statement
    def insert_user(
        self,
        *,
        user_id: UUID,
        email: str,
        name: str,
        password_hash: str | None,
        created_at: datetime,
    ) -> UserRow | None:
        """Store an account, or return None when the address is taken."""
        return self._add_user(user_id, email, name, password_hash, created_at)

    def _add_user(
        self,
        user_id: UUID,
        email: str,
        name: str,
        password_hash: str | None,
        created_at: datetime,
    ) -> UserRow | None:
        if email.lower() in self._emails:
            return None
        if user_id in self._users:
            msg = f"there is a user {user_id} already"
            raise StoreBug(msg)
        row = UserRow(
            id=user_id,
            email=email,
            name=name,
            avatar_url=None,
            password_hash=password_hash,
            created_at=created_at,
            last_seen=None,
            manual_status=None,
            status_text=None,
            status_until=None,
            email_verified_at=None,
        )
        self._users[user_id] = row
        self._emails[email.lower()] = user_id
        return row

    def _verify(self, user_id: UUID, at: datetime) -> None:
        user = self._users[user_id]
        self._users[user_id] = replace(user, email_verified_at=user.email_verified_at or at)

    @statement
    def user_by_email(self, email: str) -> UserRow | None:
        """Return the account of an address."""
        user_id = self._emails.get(email.lower())
        return None if user_id is None else self._users[user_id]

    @statement
    def users_by_ids(self, user_ids: Sequence[UUID]) -> list[UserRow]:
        """Return those of these accounts that exist."""
        return [self._users[each] for each in dict.fromkeys(user_ids) if each in self._users]

    @statement
    def set_password(self, user_id: UUID, password_hash: str, at: datetime) -> list[UUID] | None:
        """Set a password and revoke all logins and API tokens."""
        if not self._is_open(user_id):
            return None
        self._users[user_id] = replace(self._users[user_id], password_hash=password_hash)
        self._forget_mail_tokens(user_id)
        return self._revoke(user_id, at)

    @statement
    def set_last_seen(self, user_ids: Sequence[UUID], at: datetime) -> None:
        """Move the last_seen of users forward."""
        for user_id in user_ids:
            user = self._users.get(user_id)
            if (
                user_id not in self._erasures
                and user is not None
                and (user.last_seen is None or user.last_seen < at)
            ):
                self._users[user_id] = replace(user, last_seen=at)

    @statement
    def set_status(
        self,
        user_id: UUID,
        *,
        manual_status: ManualStatus | None,
        text: str | None,
        until: datetime | None,
    ) -> None:
        """Remember a manual status."""
        user = self._users.get(user_id)
        if user is not None and user_id not in self._erasures:
            self._users[user_id] = replace(
                user, manual_status=manual_status, status_text=text, status_until=until
            )

    @statement
    def open_family(
        self,
        *,
        family_id: UUID,
        user_id: UUID,
        device_id: UUID,
        device_name: str,
        address: str,
        token_hash: bytes,
        at: datetime,
        expires_at: datetime,
        proof: PasswordProof | None = None,
    ) -> bool:
        """Begin a family with its first token."""
        if proof is not None and not self._is_proved(user_id, proof):
            return False
        self._user(user_id)
        if family_id in self._families or token_hash in self._tokens:
            msg = f"there is a family {family_id} or its token already"
            raise StoreBug(msg)
        known = self._devices.get(device_id)
        if known is not None and known.user_id != user_id:
            msg = f"device {device_id} is another user's"
            raise StoreBug(msg)
        created_at = at if known is None else known.created_at
        self._devices[device_id] = Device(user_id, device_name, address, created_at, at)
        self._families[family_id] = Family(user_id, device_id, at)
        self._tokens[token_hash] = Token(family_id, at, expires_at)
        return True

    def _is_proved(self, user_id: UUID, proof: PasswordProof) -> bool:
        is_open = self._is_open(user_id)
        return is_open and self._users[user_id].password_hash == proof.password_hash

    @statement
    def rotate_refresh_token(
        self,
        *,
        token_hash: bytes,
        successor_hash: bytes,
        at: datetime,
        grace_until: datetime,
        expires_at: datetime,
        max_age: timedelta,
        address: str | None = None,
    ) -> RotationRow:
        """Exchange a refresh token for its successor."""
        token = self._tokens.get(token_hash)
        if token is None or token.expires_at <= at:
            return RotationRow(Rotation.REFUSED)
        family = self._families[token.family_id]
        if family.revoked_at is not None:
            return RotationRow(Rotation.REFUSED)
        if token.used is None:
            end = min(expires_at, family.opened_at + max_age)
            outcome = self._use(token, successor_hash, at, end)
        elif self._is_repeatable(token.used, grace_until):
            is_same = token.used[1] == successor_hash
            outcome = Rotation.REPEATED if is_same else Rotation.REFUSED
        else:
            outcome = Rotation.REUSED
            family.revoked_at = at
            details = {"deviceId": str(family.device_id)}
            self._write_audit("refresh_token_reused", family.user_id, address, at, details)
        if outcome is Rotation.REFUSED:
            return RotationRow(outcome)
        return RotationRow(outcome, token.family_id, family.user_id, family.device_id)

    def _use(
        self, token: Token, successor_hash: bytes, at: datetime, expires_at: datetime
    ) -> Rotation:
        if successor_hash in self._tokens:
            msg = "the successor is a token already"
            raise StoreBug(msg)
        token.used = at, successor_hash
        self._tokens[successor_hash] = Token(token.family_id, at, expires_at)
        return Rotation.ROTATED

    def _is_repeatable(self, used: tuple[datetime, bytes], grace_until: datetime) -> bool:
        used_at, successor = used
        return used_at >= grace_until and self._tokens[successor].used is None

    @statement
    def revoke_family(self, family_id: UUID, at: datetime) -> bool:
        """Revoke one login; return whether it was open."""
        family = self._families.get(family_id)
        if family is None or family.revoked_at is not None:
            return False
        family.revoked_at = at
        return True

    @statement
    def revoke_user(self, user_id: UUID, at: datetime) -> list[UUID]:
        """Revoke all open logins and API tokens of a user."""
        return self._revoke(user_id, at)

    def _revoke(self, user_id: UUID, at: datetime, kept_id: UUID | None = None) -> list[UUID]:
        """Revoke a user's logins, but one; without one to keep their API tokens as well."""
        revoked = []
        for family_id, family in self._families.items():
            is_open = family.user_id == user_id and family.revoked_at is None
            if is_open and family_id != kept_id:
                family.revoked_at = at
                revoked.append(family_id)
        if kept_id is None:
            revoked += self._forget_credentials(user_id)
        return sorted(revoked)

    @statement
    def revoke_oldest(self, user_id: UUID, *, keep: int, at: datetime) -> list[UUID]:
        """Revoke all open logins but those used last."""
        used: dict[UUID, datetime] = {}
        for token in self._tokens.values():
            family = self._families[token.family_id]
            if family.user_id == user_id and family.revoked_at is None:
                used[token.family_id] = max(
                    used.get(token.family_id, token.created_at), token.created_at
                )
        latest = sorted(((used_at, each) for each, used_at in used.items()), reverse=True)
        for _, family_id in latest[keep:]:
            self._families[family_id].revoked_at = at
        return sorted(family_id for _, family_id in latest[keep:])

    @statement
    def devices(self, user_id: UUID, *, at: datetime, limit: int) -> list[DeviceRow]:
        """Return the devices with an open login, the last used first."""
        used: dict[UUID, datetime] = {}
        for token in self._tokens.values():
            family = self._families[token.family_id]
            is_open = family.revoked_at is None and token.used is None and token.expires_at > at
            if is_open and family.user_id == user_id:
                last = used.get(family.device_id, token.created_at)
                used[family.device_id] = max(last, token.created_at)
        latest = sorted(((at, each) for each, at in used.items()), reverse=True)[:limit]
        return [self._device_row(each, last_used_at) for last_used_at, each in latest]

    def _device_row(self, device_id: UUID, last_used_at: datetime) -> DeviceRow:
        device = self._devices[device_id]
        return DeviceRow(device_id, device.name, device.address, device.created_at, last_used_at)

    @statement
    def revoke_device(self, user_id: UUID, device_id: UUID, at: datetime) -> list[UUID]:
        """Revoke the logins of a user's device; return their ids, also of those closed before."""
        found = []
        for family_id, family in sorted(self._families.items()):
            if (family.user_id, family.device_id) == (user_id, device_id):
                family.revoked_at = family.revoked_at or at
                found.append(family_id)
        return found

    @statement
    def revoked_since(self, at: datetime) -> list[UUID]:
        """Return the families revoked at or after a time."""
        revoked = {
            family_id
            for family_id, family in self._families.items()
            if family.revoked_at is not None and family.revoked_at >= at
        }
        erased = [row.family_ids for row in self._erasures.values() if row.begun_at >= at]
        return sorted(revoked.union(*erased))
