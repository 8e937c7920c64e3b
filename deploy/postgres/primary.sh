#!/usr/bin/env bash
# Of the first start of the primary: a role that may stream, and a slot for the one replica.
set -euo pipefail

psql --set=ON_ERROR_STOP=1 --set=password="$REPLICATION_PASSWORD" \
    --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
CREATE ROLE replicator REPLICATION LOGIN PASSWORD :'password';
SELECT pg_create_physical_replication_slot('replica');
-- A replica that stays away for long must not fill the primary's disk: then it is made anew.
ALTER SYSTEM SET max_slot_wal_keep_size = '4GB';
SQL
echo "host replication replicator samenet scram-sha-256" >>"$PGDATA/pg_hba.conf"
