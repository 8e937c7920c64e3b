"""Search in a million messages: how long each kind of query takes, over REST.

The messages are made by SQL: words of syllables, as frequent as Zipf's law has it, a tenth of them
two Chinese characters; 500 sessions of uneven size, a year and a half of time. The caller is in
50 of the sessions. The index is made at once, not by the daemon, which would take its time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg

from bench.daemon import started
from bench.peers.postgres import open_databases
from bench.people import Person, Rest
from bench.plan import Bench, Figure
from bench.senders import quantile_ms

CORPUS = Path(__file__).with_name("corpus.sql")
QUERIES = 40  # different ones of each kind

# The words that the caller may read, and in how many per 10,000 of those messages each stands.
_WORDS = """
    CREATE TEMP TABLE words AS
    SELECT word, count(*) AS number, count(*) * 10000.0 / sum(count(*)) OVER () * 10 AS share,
        ascii(word) > 127 AS is_chinese
    FROM (
        SELECT unnest(string_to_array(content, ' ')) AS word
        FROM messages JOIN session_users mine USING (session_id)
        WHERE mine.user_id = %(caller)s
    ) each
    GROUP BY word
"""
_KINDS = {
    "a rare word": "SELECT word FROM words WHERE number <= 3 AND NOT is_chinese",
    "a frequent word": "SELECT word FROM words WHERE share > 100 AND NOT is_chinese",
    "two words": """
        SELECT one.word || ' ' || two.word FROM words one JOIN words two ON one.word < two.word
        WHERE one.share BETWEEN 20 AND 100 AND two.share BETWEEN 20 AND 100
            AND NOT one.is_chinese AND NOT two.is_chinese
        LIMIT 1000
    """,
    "a part of a word": """
        SELECT substr(word, 2, 4) FROM words
        WHERE number BETWEEN 3 AND 100 AND char_length(word) >= 7
    """,
    "a Chinese word": "SELECT word FROM words WHERE number <= 30 AND is_chinese",
    "two letters": "SELECT DISTINCT substr(word, 2, 2) FROM words WHERE NOT is_chinese",
    "a word that is not there": "SELECT 'q' || word FROM words WHERE number <= 3",
}


def search(bench: Bench) -> Iterator[Figure]:
    """Time from the request to the page of 20, one after the other."""
    with open_databases() as databases:
        databases.create("chatd", is_empty=True)
        conninfo = databases.conninfo("chatd")
        with started({"CHATD_DATABASE_URL": conninfo}) as server:
            rest = Rest(server)
            (caller,) = rest.people(1)
            rest.close()
            kinds = _fill(conninfo, caller, bench.scale.search_messages)
            rest = Rest(server)  # the first has been idle for too long
            for kind, queries in kinds:
                _ask(rest, caller, queries)  # warm
                rounds = [_ask(rest, caller, queries) for _ in range(bench.scale.rounds)]
                for part in (50, 99):
                    values = [quantile_ms(one, part / 100) for one in rounds]
                    yield Figure(f"search, {kind}, p{part}", "ms", values)
            rest.close()


def _fill(conninfo: str, caller: Person, count: int) -> list[tuple[str, list[str]]]:
    """Make the messages and return what to ask for, by kind."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"SET bench.messages = {count}".encode())
        connection.execute(f"SET bench.caller = '{caller.id}'".encode())
        connection.execute(CORPUS.read_bytes())
        connection.execute(b"VACUUM ANALYZE")
        connection.execute(_WORDS.encode(), {"caller": caller.id})
        kinds = []
        for kind, query in _KINDS.items():
            found = connection.execute(query.encode()).fetchall()
            words = sorted(str(word) for (word,) in found)
            kinds.append((kind, random.Random(1).sample(words, min(QUERIES, len(words)))))  # noqa: S311
        return kinds


def _ask(rest: Rest, caller: Person, queries: list[str]) -> list[float]:
    """Return the seconds that each query takes."""
    latencies = []
    for query in queries:
        began = time.perf_counter()
        rest.call("GET", f"/chat/search?q={quote(query)}", token=caller.token)
        latencies.append(time.perf_counter() - began)
    return latencies
