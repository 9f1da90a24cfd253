#!/usr/bin/env bash
# Measures what docs/scale.md says: how much memory pgkeep takes while far more passes through it.
#
#     scripts/scale.sh stream [GIB]       a pg_dump of so many GiB (default 100), into a folder; prints the memory every second
#     scripts/scale.sh tables [TABLES]    a pg_dump of so many tables (default 100000): backup, show, verify
#     scripts/scale.sh objects [OBJECTS]  a pg_dump of so many large objects (default 1000000): backup, verify
#     scripts/scale.sh real [TABLES]      a real database of so many tables (default 100000): pg_dump alone, backup, verify
#
# Only pg_dump is made up, by a script behind --bin-dir that writes what pg_dump would, as fast as cat does; for `real` it is
# the real one. Server, psql and pg_dumpall are real, pgkeep is the release build and knows nothing of it. The archive is
# really stored, in $TMPDIR, and read back: `stream 100` needs some 7 GB there. Everything is removed at the end.
# Environment: COMPRESSION (default zstd:1 for stream, else pgkeep's own default), PGKEEP_BIN_DIR, PGKEEP (the program to
# measure; default: it is built).
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

WHAT=${1:-}
case $WHAT in
    stream) COUNT=${2:-100} COMPRESSION=${COMPRESSION:-zstd:1} ;;
    tables | real) COUNT=${2:-100000} ;;
    objects) COUNT=${2:-1000000} ;;
    *) die "scripts/scale.sh takes stream, tables, objects or real, not '$WHAT'" "read the first lines of the script" ;;
esac
[[ $COUNT =~ ^[1-9][0-9]*$ ]] || die "'$COUNT' is no number" "give a whole number"

setup_postgres
BIN=$(find_postgres)
cd "$PROJECT"
if [ -z "${PGKEEP:-}" ]; then
    setup_compiler
    setup_rust
    step "building pgkeep" cargo build --release --locked
    PGKEEP=${CARGO_TARGET_DIR:-$PROJECT/target}/release/pgkeep
fi
WORK=$(mktemp -d "${TMPDIR:-/tmp}/pgkeep-scale-XXXXXX")
chmod 755 "$WORK"
mkdir "$WORK/server" "$WORK/fake"

# as_server COMMAND...: PostgreSQL's server refuses to be run by root.
as_server() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi; }
[ "$(id -u)" != 0 ] || chown postgres: "$WORK/server"
cleanup() {
    as_server "$BIN/pg_ctl" -D "$WORK/server/data" -m immediate -w stop >/dev/null 2>&1 || true
    rm -rf -- "$WORK"
}
trap cleanup EXIT
cd "$WORK"
as_server "$BIN/initdb" -D "$WORK/server/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null
as_server "$BIN/pg_ctl" -D "$WORK/server/data" -l "$WORK/server/log" -w -o "-k '$WORK/server' -c listen_addresses= -c fsync=off \
    -c synchronous_commit=off -c full_page_writes=off -c max_locks_per_transaction=8192 -c max_wal_size=8GB" start >/dev/null
export PGHOST=$WORK/server PGUSER=postgres PGDATABASE=scale PGKEEP_STATE_DIR=$WORK/state
"$BIN/createdb" scale

# What pg_dump writes before the first entry and behind the last.
KEY=scale
cat >head.sql <<SQL
--
-- PostgreSQL database dump
--

\\restrict $KEY

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET default_tablespace = '';
SET default_table_access_method = heap;

SQL
cat >tail.sql <<SQL
--
-- PostgreSQL database dump complete
--

\\unrestrict $KEY

SQL

# Each writes what stands between those to stdout, or, for `stream`, sets up `repeated.sql`.
stream() {
    cat <<'SQL'
--
-- Name: orders; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.orders (
    id bigint NOT NULL,
    customer_id bigint,
    placed_at timestamp with time zone,
    status text,
    total numeric(12,2),
    note text
);


ALTER TABLE public.orders OWNER TO postgres;

--
-- Data for Name: orders; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.orders (id, customer_id, placed_at, status, total, note) FROM stdin;
SQL
    # 64 MiB of rows, far more than a member: that they come again does not make them smaller.
    awk 'BEGIN {
        srand(7); split("new paid packed shipped delivered returned", status, " ")
        note = "left with the neighbour on the ground floor, who signed for it; asked to ring twice and to leave by the back door"
        for (bytes = 0; bytes < 64 * 1024 * 1024; bytes += length(row) + 1) {
            at = int(rand() * 86400)
            row = sprintf("%d\t%d\t2026-%02d-%02d %02d:%02d:%02d+00\t%s\t%d.%02d\t%s", ++id, int(rand() * 250000) + 1,
                rand() * 12 + 1, rand() * 28 + 1, at / 3600, at / 60 % 60, at % 60, status[int(rand() * 6) + 1],
                rand() * 900, rand() * 100, substr(note, 1, 30 + int(rand() * 4) * 28))
            print row
        }
    }' >repeated.sql
}
tables() {
    awk -v count="$COUNT" 'BEGIN {
        for (n = 1; n <= count; n++) {
            t = sprintf("measurements_of_station_%06d", n)
            printf "--\n-- Name: %s; Type: TABLE; Schema: public; Owner: postgres\n--\n\n", t
            printf "CREATE TABLE public.%s (\n    id bigint NOT NULL,\n    taken_at timestamp with time zone,\n    sensor_%d text,\n    reading numeric(12,2),\n    note text\n);\n\n\n", t, n
            printf "ALTER TABLE public.%s OWNER TO postgres;\n\n", t
            printf "--\n-- Name: %s_id_seq; Type: SEQUENCE; Schema: public; Owner: postgres\n--\n\nCREATE SEQUENCE public.%s_id_seq\n    START WITH 1\n    INCREMENT BY 1\n    NO MINVALUE\n    NO MAXVALUE\n    CACHE 1;\n\n\n", t, t
            printf "--\n-- Name: %s id; Type: DEFAULT; Schema: public; Owner: postgres\n--\n\nALTER TABLE ONLY public.%s ALTER COLUMN id SET DEFAULT nextval(\047public.%s_id_seq\047::regclass);\n\n\n", t, t, t
        }
        for (n = 1; n <= count; n++) {
            t = sprintf("measurements_of_station_%06d", n)
            printf "--\n-- Data for Name: %s; Type: TABLE DATA; Schema: public; Owner: postgres\n--\n\nCOPY public.%s (id, taken_at, sensor_%d, reading, note) FROM stdin;\n", t, t, n
            for (row = 1; row <= 3; row++) printf "%d\t2026-07-%02d 12:00:00+00\t%d\t%d.25\t\\N\n", row, row, n, row * n
            printf "\\.\n\n\n"
        }
        for (n = 1; n <= count; n++) {
            t = sprintf("measurements_of_station_%06d", n)
            printf "--\n-- Name: %s_id_seq; Type: SEQUENCE SET; Schema: public; Owner: postgres\n--\n\nSELECT pg_catalog.setval(\047public.%s_id_seq\047, 3, true);\n\n\n", t, t
        }
        for (n = 1; n <= count; n++) {
            t = sprintf("measurements_of_station_%06d", n)
            printf "--\n-- Name: %s %s_pkey; Type: CONSTRAINT; Schema: public; Owner: postgres\n--\n\nALTER TABLE ONLY public.%s\n    ADD CONSTRAINT %s_pkey PRIMARY KEY (id);\n\n\n", t, t, t, t
        }
    }'
}
objects() {
    awk -v count="$COUNT" 'BEGIN {
        printf "--\n-- Name: 100000..%d; Type: BLOB METADATA; Schema: -; Owner: postgres\n--\n\n", 100000 + count
        for (n = 1; n <= count; n++) printf "SELECT pg_catalog.lo_create(\047%d\047);\nALTER LARGE OBJECT %d OWNER TO postgres;\n", 100000 + n, 100000 + n
        printf "\n--\n-- Data for Name: 100000..%d; Type: BLOBS; Schema: -; Owner: postgres\n--\n\nBEGIN;\n\n", 100000 + count
        for (n = 1; n <= count; n++) printf "SELECT pg_catalog.lo_open(\047%d\047, 131072);\nSELECT pg_catalog.lowrite(0, \047\\x%032x\047);\nSELECT pg_catalog.lo_close(0);\n\n", 100000 + n, n
        printf "COMMIT;\n\n"
    }'
}

if [ "$WHAT" = real ]; then
    step "making $COUNT tables" "$BIN/psql" -X -q -v ON_ERROR_STOP=1 <<SQL
SET client_min_messages = warning;
CREATE PROCEDURE make(tables integer) LANGUAGE plpgsql AS \$\$
BEGIN
    FOR n IN 1..tables LOOP
        EXECUTE format('CREATE TABLE measurements_of_station_%s (id bigint PRIMARY KEY, taken_at timestamptz, sensor_%s text, reading numeric(12,2), note text)', n, n);
        IF n % 1000 = 0 THEN COMMIT; END IF;
    END LOOP;
END \$\$;
CALL make($COUNT);
DROP PROCEDURE make;
SQL
    dump_alone() { "$BIN/pg_dump" >/dev/null; }
    step "pg_dump alone" dump_alone
else
    make_dump() { "$WHAT" >middle.sql; }
    step "making the dump" make_dump
    for program in "$BIN"/*; do ln -s "$program" fake/; done
    rm fake/pg_dump
    REPEATED=
    if [ "$WHAT" = stream ]; then
        # A loop that starts a process a GiB.
        FILES=$(printf "'$WORK/repeated.sql' %.0s" $(seq 16))
        REPEATED="i=0; while [ \$i -lt $COUNT ]; do cat $FILES || exit 1; i=\$((i + 1)); done"
        { printf '%s\n\n\n' '\.'; cat tail.sql; } >end.sql
        mv end.sql tail.sql
    fi
    cat >fake/pg_dump <<SH
#!/bin/sh
case " \$* " in *" --version "*) exec '$BIN/pg_dump' --version ;; esac
cat '$WORK/head.sql' '$WORK/middle.sql' || exit 1
$REPEATED
exec cat '$WORK/tail.sql'
SH
    chmod 755 fake/pg_dump
    BIN=$WORK/fake
fi

# watched COMMAND...: runs it, and prints how long it took, its processor time and the most memory that it held. With
# $SAMPLES set, its memory every second goes to that file.
watched() {
    local pid peak=0 ticks=0 now high rss used
    "$@" >"$WORK/out" 2>"$WORK/err" &
    pid=$!
    local begin=$EPOCHREALTIME
    while [ -e "/proc/$pid/status" ] && now=$(awk '/^VmHWM/ { h = $2 } /^VmRSS/ { r = $2 } $2 ~ /^\(pgkeep/ { t = $14 + $15 } END { print h + 0, r + 0, t + 0 }' \
        "/proc/$pid/status" "/proc/$pid/stat" 2>/dev/null); do
        read -r high rss used <<<"$now"
        [ "$used" -le "$ticks" ] || ticks=$used
        [ "$high" -le "$peak" ] || peak=$high
        [ -z "${SAMPLES:-}" ] || [ "$rss" = 0 ] || echo "$SECONDS $rss" >>"$SAMPLES"
        [ "$rss" != 0 ] || break
        sleep "${EVERY:-0.1}"
    done
    wait "$pid" || { cat "$WORK/out" "$WORK/err" >&2; die "failed: $*"; }
    awk -v a="$begin" -v b="$EPOCHREALTIME" -v peak="$peak" -v what="$5" -v used="$ticks" -v hz="$(getconf CLK_TCK)" \
        'BEGIN { printf "%-8s %8.1f s, its own processor time %.1f s, peak %.1f MiB\n", what, b - a, used / hz, peak / 1024 }'
}

[ "$WHAT" != stream ] || export SAMPLES=$WORK/samples EVERY=1
pgkeep() { watched "$PGKEEP" --bin-dir "$BIN" "$@"; }
pgkeep backup now --to "$WORK/backups" ${COMPRESSION:+--compression "$COMPRESSION"}
grep -vE '^ *$' "$WORK/out" | tail -n 6
if [ "$WHAT" = stream ]; then
    say "memory in KiB at second 2, in the middle, and at the end; and the most"
    sed -n '2p' samples
    sed -n "$(($(wc -l <samples) / 2))p" samples
    tail -n 1 samples
    sort -n -k 2 samples | tail -n 1
fi
unset SAMPLES EVERY
FOLDER=$(dirname "$(find backups -name manifest.json)")
printf 'archive %s bytes, index %s bytes, unpacked %s bytes\n' "$(stat -c %s "$FOLDER"/*.sql.*)" \
    "$(stat -c %s "$FOLDER/contents.json.gz")" "$(gunzip -c "$FOLDER/contents.json.gz" | wc -c)"
pgkeep backup show latest --at "$WORK/backups"
pgkeep backup list --at "$WORK/backups"
pgkeep backup verify latest --at "$WORK/backups"
