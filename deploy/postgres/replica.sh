#!/usr/bin/env bash
# Start the replica; the first time, and when its folder was emptied, from a copy of the primary.
set -euo pipefail

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    install --directory --owner=postgres --group=postgres --mode=0700 "$PGDATA"
    # Into a folder beside it, and PG_VERSION last: a copy that was broken off is begun again.
    find "$PGDATA" -mindepth 1 -delete
    PGPASSWORD="$REPLICATION_PASSWORD" gosu postgres pg_basebackup \
        --pgdata="$PGDATA/copy" --write-recovery-conf --slot=replica --wal-method=stream \
        --checkpoint=fast --dbname="host=postgres user=replicator application_name=replica"
    shopt -s dotglob
    mv "$PGDATA/copy/PG_VERSION" "$PGDATA/.version"
    mv "$PGDATA/copy/"* "$PGDATA/"
    rmdir "$PGDATA/copy"
    mv "$PGDATA/.version" "$PGDATA/PG_VERSION"
fi
# `hot_standby_feedback`: a long search here is not cancelled by what the primary cleans up.
exec gosu postgres postgres -D "$PGDATA" -c hot_standby=on -c hot_standby_feedback=on
