"""What a handler receives: the `Services` of the daemon and the `Caller` of one operation.

Handlers never import a nursery; what they need of the live side is written down here as
protocols that `chatd.nurseries` keeps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, TypeVar
from uuid import UUID

from chatd.bearers import Bearers
from chatd.blobs import Files
from chatd.config import Settings
from chatd.contract import Store
from chatd.contract.assistant import Assistant
from chatd.errors import ChatError, CloseCode
from chatd.freshness import Freshness
from chatd.guesses import Guesses
from chatd.keys import SigningKey
from chatd.letters import Letter, LetterKind
from chatd.limits import Limiter, Rate
from chatd.metrics import Metrics
from chatd.passwords import Passwords
from chatd.rows import AppendRow, ManualStatus, MarkerRow, NewMessage, Size
from chatd.sealing import Sealer
from chatd.tokens import AccessTokens, Identity
from chatd.turns import Turns

T = TypeVar("T")
RemovalReason = Literal["removed", "banned", "deleted", "left"]
EVERYBODY = UUID(int=0)  # the id of no user
MAX_RECENT = 10_000  # users: 1 MiB; who is forgotten refreshes their token


class RoomEvent(NamedTuple):
    """A committed, durable event of a session; `data` is its payload as JSON, encoded once.

    `removed` names the user whom this event takes out of the session: their sockets leave the
    room with it, so that they see nothing with a higher `seq`. `EVERYBODY` ends the session: the
    event itself is told to nobody, its room is left by all. `reason` is what they are told.
    """

    session_id: UUID
    seq: int
    name: str
    data: bytes
    removed: UUID | None = None
    reason: RemovalReason = "removed"


Settle = Callable[[AppendRow | ChatError], RoomEvent | None]
"""Told once what became of a submitted message: answers the sender, returns what to publish."""


class Claims(NamedTuple):
    """What an OpenID Connect issuer says of a person; `subject` is who they are there, for ever."""

    subject: str
    email: str | None
    is_email_verified: bool
    name: str | None


class Issuer(Protocol):
    """The OpenID Connect issuer with which people may sign in."""

    name: str

    async def authorization_url(self, *, state: str, nonce: str, verifier: str) -> str:
        """Return where a browser is sent to sign in.

        Raises:
            Unavailable: the issuer does not answer, or not as the standard says.
        """

    async def claims(self, *, code: str, nonce: str, verifier: str, now: datetime) -> Claims:
        """Exchange the code of a return for what the issuer says of the person.

        Raises:
            Unauthorized: the code or the token is not good.
            Unavailable: as above.
        """


class Journal(Protocol):
    """The one way into the log of sessions."""

    def submit(self, message: NewMessage, settle: Settle, *, lifetime: float | None = None) -> None:
        """Take a message for the next group commit; `settle` is called when its fate is known.

        With a `lifetime`, in seconds, a message whose transaction does not begin within it is
        never stored: at that moment it is settled with DeadlineExceeded. From the transaction's
        beginning on it is settled with what became of it, however late.

        Raises:
            Overloaded: the queue is full, nothing was taken.
            Draining: the daemon is going down.
        """

    async def change(self, work: Callable[[], Awaitable[tuple[T, Sequence[RoomEvent]]]]) -> T:
        """Run another durable change in its order among the messages, publish, return its result.

        Raises:
            Overloaded, Draining: as `submit`.
        """


class Place(Protocol):
    """A socket's place in a room, from before its page is read until it leaves."""

    def covers(self, seq: int) -> bool:
        """Return whether nothing is missing between a page read at `seq` and the stream.

        False after too much happened since the place was taken, or when a socket that joins again
        was sent what the page lacks: read the page again.
        """

    def settle(self, seq: int) -> None:
        """The socket has been told the state at `seq`, covered: let everything above it follow."""

    def rewired(self) -> None:
        """The socket's frames look different from now on: another transport has taken over."""

    def leave(self) -> None:
        """Stop the stream, at once; twice is once."""


class Socket(Protocol):
    """A live connection of a client."""

    id: str
    identity: Identity
    places: dict[UUID, Place]
    active_at: float  # when its user last did something, on Trio's clock
    is_idle: bool  # and presence has called it AWAY for that: the next activity is told

    def push(self, name: str, data: bytes) -> None:
        """Send an event to this socket alone; never waits."""

    def push_ephemeral(self, name: str, data: bytes) -> bool:
        """Send an event that a slow client can do without; return whether it was taken."""

    def push_latest(self, name: str, key: UUID, data: bytes) -> None:
        """Send an event in place of an earlier one of its name and key that still waits.

        A slow client can do without it, as without any that is ephemeral; never waits.
        """

    def renew(self, identity: Identity) -> None:
        """Take a newer access token of the same user and login."""


class Rooms(Protocol):
    """The live sides of sessions."""

    def enter(self, session_id: UUID, socket: Socket) -> Place:
        """Take a place: from now on the room's events are kept for this socket."""

    def publish(self, events: Sequence[RoomEvent], *, is_answered: bool) -> None:
        """Hand the committed events of a transaction to their rooms; never waits.

        Args:
            is_answered: who asked for them has the ack already, so that they may leave at once.
        """

    def broadcast(self, session_id: UUID, name: str, data: bytes, *, but: UUID | None) -> None:
        """Send an ephemeral event to a room's sockets, except those of one user; never waits."""


class Presence(Protocol):
    """Who is there."""

    @property
    def is_everyone(self) -> bool:
        """Whether everybody may see everybody; False: those who share a session."""

    def account_opened(self) -> None:
        """There is one account more."""

    def views(self, people: Iterable[tuple[UUID, datetime | None]]) -> list[dict[str, Any]]:
        """Return the `Presence` of these people as others see them.

        Each comes with the lastSeen of the store, for those who are not here.
        """

    def online(self, session_id: UUID) -> int | None:
        """Return how many are there in a large session; None for one of ordinary size."""

    def members_of(self, session_id: UUID) -> int:
        """Return how many members a session has of whom one is here; 0 when nobody has told."""

    def session_opened(
        self, session_id: UUID, user_ids: Iterable[UUID], size: Size | None = None
    ) -> None:
        """These users now share a session, which has this size, where the caller knows."""

    def member_left(self, session_id: UUID, user_id: UUID, size: Size | None = None) -> None:
        """This user no longer shares this session."""

    def announce(self, user_id: UUID, session_ids: Iterable[UUID], name: str, data: bytes) -> None:
        """Send an event to a user's devices and to who is here of these sessions; never waits."""

    def set_manual(
        self,
        user_id: UUID,
        status: ManualStatus | None,
        text: str | None,
        until: datetime | None,
        socket: Socket | None,
    ) -> dict[str, Any]:
        """Set or clear a manual status; return the `Presence` that others see.

        The device on which that is done, if it is one, is not AWAY any more.
        """

    def set_away(self, socket: Socket) -> dict[str, Any]:
        """Call one device AWAY until its user says otherwise; return the `Presence`."""


class Typing(Protocol):
    """Who types, with an expiry that the server owns."""

    def start(self, session_id: UUID, user_id: UUID) -> None:
        """Begin or renew."""

    def stop(self, session_id: UUID, user_id: UUID) -> None:
        """End; nothing happens when the user does not type there."""

    def typers(self, session_id: UUID) -> list[UUID]:
        """Return who types in a session now."""


class MarkerMove(NamedTuple):
    """A read marker that has changed, and who is to hear of it."""

    row: MarkerRow
    user_id: UUID
    at: datetime
    is_marked: bool  # unread, by hand
    is_private: bool  # nobody hears of it but the reader's own devices


class Readers(Protocol):
    """How far people have read."""

    def moved(self, move: MarkerMove, *, by: Socket | None) -> None:
        """Tell who is to hear of a marker, except the socket that has moved it; never waits."""


class Erasures(Protocol):
    """What removes the traces of accounts that have ended."""

    def wake(self) -> None:
        """Look for a new one; never waits."""


WriteLetter = Callable[[], Awaitable[Letter | None]]
"""Writes a letter, when it is its turn; None when there is none to be sent after all."""


class Mailer(Protocol):
    """What sends mail."""

    def post(self, kind: LetterKind, write: WriteLetter, *, lifetime: float) -> None:
        """Write a letter and send it behind the caller's back; never waits.

        `write` is called again while the store is away. What cannot be sent is tried again for
        `lifetime` seconds, and is then lost; the log and a metric say so.

        Raises:
            Overloaded: too many wait already.
        """


class Sockets(Protocol):
    """The registry of live connections."""

    def of_user(self, user_id: UUID) -> list[Socket]:
        """Return a user's live sockets."""

    def tell(
        self,
        user_id: UUID,
        name: str,
        data: bytes,
        *,
        but: Socket | None = None,
        outside: UUID | None = None,
        is_durable: bool = False,
    ) -> None:
        """Send an event to a user's sockets, at whatever daemon they are; never waits.

        Args:
            but: the socket that knows already.
            outside: a session; who has joined it is not told.
            is_durable: a slow client cannot do without it.
        """

    def cut_families(self, family_ids: Iterable[UUID], code: CloseCode) -> None:
        """End all sockets of these logins now, and refuse their access tokens from now on.

        The id of an API token counts as that of a login. All daemons do.
        """

    def cut_user(
        self,
        user_id: UUID,
        family_ids: Iterable[UUID],
        code: CloseCode,
        *,
        kept: UUID | None = None,
    ) -> None:
        """Do the same with these logins of a user and all that have a live socket, but one.

        Where one is kept, so are API tokens that have a live socket.
        """

    def is_revoked(self, family_id: UUID) -> bool:
        """Return whether a login was revoked while its access tokens may still be alive."""


class Recent:
    """Users of whom something has become known lately: the last `MAX_RECENT` of them."""

    def __init__(self) -> None:
        self._user_ids: dict[UUID, None] = {}
        self.relay: Callable[[UUID], None] | None = None  # tells other daemons of whom is added

    def add(self, user_id: UUID) -> None:
        """Remember a user."""
        self.hear(user_id)
        if self.relay is not None:
            self.relay(user_id)

    def hear(self, user_id: UUID) -> None:
        """Remember a user of whom another daemon tells."""
        self._user_ids.pop(user_id, None)
        self._user_ids[user_id] = None
        if len(self._user_ids) > MAX_RECENT:
            del self._user_ids[next(iter(self._user_ids))]

    def __contains__(self, user_id: UUID) -> bool:
        return user_id in self._user_ids


@dataclass(slots=True)
class Services:
    """Everything that handlers use, opened by the daemon."""

    settings: Settings
    store: Store
    epoch: UUID
    now: Callable[[], datetime]  # wall time, UTC
    tokens: AccessTokens
    bearers: Bearers
    successor_key: SigningKey
    passwords: Passwords
    guesses: Guesses
    sealer: Sealer
    limiter: Limiter
    metrics: Metrics
    journal: Journal
    rooms: Rooms
    presence: Presence
    typing: Typing
    readers: Readers
    sockets: Sockets
    searches: Turns
    erasures: Erasures
    is_draining: Callable[[], bool]
    is_searchable: Callable[[], bool]  # not while stored content is encrypted
    issuer: Issuer | None = None  # None: nobody signs in elsewhere
    mailer: Mailer | None = None  # None: this server sends no mail
    verified: Recent = field(default_factory=Recent)  # what tokens given out before do not say
    assistant: Assistant | None = None  # None: nobody answers
    files: Files | None = None  # None: there are no files here
    freshness: Freshness | None = None  # None: there is no read replica
    exports: set[UUID] = field(default_factory=set)  # users whose export is under way


@dataclass(slots=True)
class Caller:
    """Who calls one operation, and from where; `identity` is None before login."""

    request_id: str
    address: str
    identity: Identity | None = None
    socket: Socket | None = None
    user_agent: str = ""
    spent: tuple[Rate, float] | None = None  # the tightest rate that was counted, and its debt
    cookie: str = ""  # the header as it came; REST only
    wants_events: bool = False  # REST only: it accepts a stream of server-sent events
    last_event_id: str = ""  # the header as it came: how far it has read such a stream

    @property
    def user_id(self) -> UUID:
        """The caller's user; operations that need one are never reached without."""
        assert self.identity is not None  # noqa: S101 - the dispatcher refused it before
        return self.identity.user_id
