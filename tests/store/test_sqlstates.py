from __future__ import annotations

import traceback

import psycopg
import pytest
from psycopg import errors

from chatd.errors import StoreAmbiguous, StoreBug, StoreError, StoreRetryable, StoreUnavailable
from chatd.store.sqlstates import is_retried, meaning


@pytest.mark.parametrize(
    ("error", "expected", "while_committing"),
    [
        (errors.SerializationFailure(), StoreRetryable, StoreRetryable),
        (errors.DeadlockDetected(), StoreRetryable, StoreRetryable),
        (errors.LockNotAvailable(), StoreRetryable, StoreRetryable),
        (errors.FeatureNotSupported(), StoreRetryable, StoreRetryable),
        (errors.InvalidSqlStatementName(), StoreUnavailable, StoreUnavailable),
        (errors.DuplicatePreparedStatement(), StoreUnavailable, StoreUnavailable),
        (errors.QueryCanceled(), StoreUnavailable, StoreUnavailable),
        (errors.AdminShutdown(), StoreUnavailable, StoreUnavailable),
        (errors.CrashShutdown(), StoreUnavailable, StoreAmbiguous),
        (errors.CannotConnectNow(), StoreUnavailable, StoreUnavailable),
        (errors.DiskFull(), StoreUnavailable, StoreUnavailable),
        (errors.TooManyConnections(), StoreUnavailable, StoreUnavailable),
        (errors.ReadOnlySqlTransaction(), StoreUnavailable, StoreUnavailable),
        (errors.IdleInTransactionSessionTimeout(), StoreUnavailable, StoreUnavailable),
        (errors.ConnectionFailure(), StoreUnavailable, StoreAmbiguous),
        (errors.InvalidPassword(), StoreUnavailable, StoreUnavailable),
        (errors.IoError(), StoreUnavailable, StoreUnavailable),
        (psycopg.OperationalError("the connection is lost"), StoreUnavailable, StoreAmbiguous),
        (errors.UniqueViolation(), StoreBug, StoreBug),
        (errors.UndefinedTable(), StoreBug, StoreBug),
        (errors.NumericValueOutOfRange(), StoreBug, StoreBug),
        (psycopg.ProgrammingError("wrong parameters"), StoreBug, StoreBug),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_error_has_one_meaning(
    error: psycopg.Error, expected: type[StoreError], while_committing: type[StoreError]
) -> None:
    assert type(meaning(error, is_committing=False)) is expected
    assert type(meaning(error, is_committing=True)) is while_committing


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO kept VALUES ('the secret of anna')",  # DETAIL: Failing row contains (...)
        "SELECT 'the secret of anna'::int",  # invalid input syntax for type integer: "..."
    ],
)
def test_what_people_wrote_is_in_no_word_of_an_error(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TEMP TABLE kept (content text CHECK (content = 'tea'))")
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(statement.encode())
    error = caught.value
    assert "secret" in str(error)
    bug = meaning(error, is_committing=False)
    bug.__cause__ = error
    assert str(error.sqlstate) in str(bug)
    assert "secret" not in "".join(traceback.format_exception(bug, limit=0))


def test_a_lost_connection_is_tried_again_unless_it_was_committing() -> None:
    lost = psycopg.OperationalError("the connection is lost")
    assert is_retried(lost, is_committing=False)
    assert not is_retried(lost, is_committing=True)
    assert is_retried(errors.AdminShutdown(), is_committing=True)
    assert not is_retried(errors.LockNotAvailable(), is_committing=False)
