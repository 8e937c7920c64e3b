"""What PostgreSQL's errors mean to chatd: the one table."""

from __future__ import annotations

import psycopg

from chatd.errors import StoreAmbiguous, StoreBug, StoreError, StoreRetryable, StoreUnavailable

# Whole codes first, then classes, which are the first two characters
# (https://www.postgresql.org/docs/current/errcodes-appendix.html).
MEANING: dict[str, type[StoreError]] = {
    "0A000": StoreRetryable,  # "cached plan must not change result type": a migration ran
    "25006": StoreUnavailable,  # read-only: a standby, or one just demoted
    "25P03": StoreUnavailable,  # idle in transaction for too long: the server ended the session
    "25P04": StoreUnavailable,  # the transaction took too long: the same
    "26000": StoreUnavailable,  # a prepared statement is not there: see POOLED
    "40001": StoreRetryable,  # serialization failure
    "40P01": StoreRetryable,  # deadlock
    "55P03": StoreRetryable,  # lock_timeout
    "57014": StoreUnavailable,  # statement_timeout, or cancelled by an operator
    "08": StoreUnavailable,  # connection exception
    "28": StoreUnavailable,  # refused at the door: password, pg_hba.conf
    "42P05": StoreUnavailable,  # a prepared statement is there already: the same
    "53": StoreUnavailable,  # disk full, out of memory, too many connections
    "57P": StoreUnavailable,  # shutdown, crash, starting up, database dropped
    "58": StoreUnavailable,  # I/O errors below PostgreSQL
}

# Of a session of the server that passes from hand to hand: a pooler that was taken for a session's.
POOLED = frozenset({"26000", "42P05"})
POOLED_ADVICE = "a pooler in transaction mode? Then set database_pooler=transaction"
STALE_PLAN = "0A000"
GOODBYE = "57P01"  # the server ended the session *and* aborted what it was doing
RETRIED = frozenset({STALE_PLAN, GOODBYE, "40001", "40P01"})  # at once, a few times
LOST = ("08", "57P02")  # the connection, without a word about what it was doing


def meaning(error: psycopg.Error, *, is_committing: bool) -> StoreError:
    """Return what an error means to the caller of a statement; its words are those of `told`.

    Args:
        error: what psycopg raised.
        is_committing: whether a lost connection leaves open if the work was stored: COMMIT was
            under way, or a writing statement that is its own transaction.
    """
    error.args = (told(error),)  # it is the cause in a traceback
    if is_lost(error):
        return StoreAmbiguous(str(error)) if is_committing else StoreUnavailable(str(error))
    code = error.sqlstate or ""
    if code in POOLED:
        return StoreUnavailable(f"{code} {error}: {POOLED_ADVICE}")
    for key in (code, code[:3], code[:2]):
        if key in MEANING:
            return MEANING[key](f"{code} {error}")
    return StoreBug(f"{code} {error}".strip())


def told(error: psycopg.Error) -> str:
    """Return what an error says but the values of a row: those are somebody's.

    PostgreSQL puts them into DETAIL, CONTEXT and STATEMENT, and where data have the wrong form
    (class 22) into the message itself.
    """
    diag = error.diag
    if error.sqlstate is None or diag.message_primary is None:
        return str(error)  # of libpq or psycopg: about a connection
    if error.sqlstate.startswith("22"):
        return type(error).__name__
    names = (diag.table_name, diag.column_name, diag.constraint_name)
    where = ", ".join(name for name in names if name)
    return f"{diag.message_primary} ({where})" if where else diag.message_primary


def is_lost(error: psycopg.Error) -> bool:
    """Tell whether the connection broke: nothing is known of the statement that was under way."""
    if error.sqlstate is None:  # not from the server: its end, or psycopg refusing bad arguments
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate.startswith(LOST)


def is_retried(error: psycopg.Error, *, is_committing: bool) -> bool:
    """Tell whether nothing was stored and the same work may go better at once."""
    return error.sqlstate in RETRIED or (is_lost(error) and not is_committing)


def constraint_of(bug: StoreBug) -> str | None:
    """Return the name of the constraint that a statement violated, if that is what happened."""
    cause = bug.__cause__
    return cause.diag.constraint_name if isinstance(cause, psycopg.Error) else None
