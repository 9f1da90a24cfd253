#!/usr/bin/env bash
# Measures pgkeep beside its peers, in turn, on databases that it makes itself, and writes docs/benchmarks.md with plots.
#
#     scripts/bench.sh                                   everything but restores
#     scripts/bench.sh --only shop,tpch --rounds 3       these databases only
#     scripts/bench.sh --quick                           tiny data, one round: does it work?
#
#   --only LIST       of shop, tpch, indexes, events, tables, onetable [default: all]
#   --what LIST       of dumps, verify, restores, startup [default: dumps,verify,startup]
#   --restores        restores too
#   --peers-all       restic and pgBackRest too, from apt (an old pgBackRest may not know PostgreSQL 17: then --pg)
#   --rounds N        rounds [default: 3]; a line that takes over 30 s is measured in a third of them
#   --pg DIR          PostgreSQL's programs [default: PostgreSQL 17, unpacked into the cache folder]
#   --pgkeep FILE     a pgkeep that is built already [default: cargo build --release]
#   --out FILE        the results, kept after each run of a command [default: target/bench/results.json]
#   --docs DIR        where benchmarks.md and its plots go [default: docs; with --quick beside the results]
#   --resume          goes on with the results of an interrupted run, or adds others to them
#   --setup           only installs what is needed, and loads the databases
#
# The servers are private, over a unix socket only, and end with the script. The databases are loaded once, in about five
# minutes for all, and stay in the cache folder (/var/cache/pgkeep-tests/bench for root, otherwise
# ~/.cache/pgkeep-tests/bench): 9 GB, and another 6 GB while it runs. Linux only. Let nothing else run meanwhile.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

# PyPI's generator of TPC-H's data.
TPCHGEN=4.0.0
BENCH=$CACHE/bench
POSTGRES=17

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

# install_tools: the peers, and what the measuring needs.
install_tools() {
    need python3 python3
    need gzip gzip
    need pigz pigz
    need zstd zstd
    need setpriv util-linux # servers die with the script, and do not run as root
    [ "$PEERS" = no ] || { need restic restic && need pgbackrest pgbackrest; }
}

# install_programs: the server, unless --pg names one.
install_programs() {
    lock_cache
    install_server "$POSTGRES" "$(server_version "$POSTGRES")"
    unlock_cache
    PROGRAMS=$PGKEEP_TEST_PG/$POSTGRES/bin
}

has_generator() { [ "$("$GENERATOR" --version 2>/dev/null)" = "tpchgen-cli $TPCHGEN" ]; }

# install_generator: tpchgen-cli, in a Python of the benchmark's own.
install_generator() {
    if ! has_generator; then
        python3 -c 'import venv, ensurepip' 2>/dev/null || apt_install python3 python3-venv
        rm -rf "$BENCH/python"
        python3 -m venv "$BENCH/python" || die "python3 -m venv failed" "install Python's venv module (Debian: python3-venv)"
        "$BENCH/python/bin/python3" -m pip --quiet --disable-pip-version-check install --only-binary=:all: "tpchgen-cli==$TPCHGEN" ||
            die "PyPI's tpchgen-cli could not be downloaded" "check the network and pip's settings, then start again"
    fi
    has_generator || die "tpchgen-cli $TPCHGEN does not run" "remove $BENCH/python to install it again"
}

build() { cargo build --release --locked; }

# among LIST NAME...: stops unless every word of the comma-separated LIST is one of the names.
among() {
    local word list=$1
    shift
    for word in ${list//,/ }; do
        case " $* " in *" $word "*) ;; *) die "there is no '$word'" "choose from: $*" ;; esac
    done
}

ONLY=shop,tpch,indexes,events,tables,onetable
WHAT=dumps,verify,startup
ROUNDS=3 PEERS=no QUICK=no SETUP=no PROGRAMS='' PGKEEP='' OUT='' DOCS=''
PASSED=()
while [ $# -gt 0 ]; do
    case $1 in
    --only | --what | --rounds | --pg | --pgkeep | --out | --docs)
        [ $# -ge 2 ] || die "$1 needs a value" "scripts/bench.sh --help"
        case $1 in
        --only) ONLY=$2 ;;
        --what) WHAT=$2 ;;
        --rounds) ROUNDS=$2 ;;
        --pg) PROGRAMS=$(realpath -- "$2") ;;
        --pgkeep) PGKEEP=$(realpath -- "$2") ;;
        --out) OUT=$(realpath -m -- "$2") ;;
        --docs) DOCS=$(realpath -m -- "$2") ;;
        esac
        shift
        ;;
    --restores) WHAT=$WHAT,restores ;;
    --peers-all) PEERS=yes PASSED+=(--peers-all) ;;
    --quick) QUICK=yes PASSED+=(--quick) ;;
    --resume) PASSED+=(--resume) ;;
    --setup) PASSED+=(--load-only) SETUP=yes ;;
    -h | --help) usage && exit 0 ;;
    *) die "there is no option $1" "scripts/bench.sh --help" ;;
    esac
    shift
done
among "$ONLY" shop tpch indexes events tables onetable
among "$WHAT" dumps verify restores startup
[[ $ROUNDS =~ ^[1-9][0-9]*$ ]] || die "--rounds needs a number, not '$ROUNDS'"
[ $QUICK = no ] || ROUNDS=1
[ -z "$PGKEEP" ] || [ -x "$PGKEEP" ] || die "$PGKEEP cannot be run" "name the program itself with --pgkeep"
[ -z "$PROGRAMS" ] || has_postgres "$PROGRAMS" || die "$PROGRAMS does not hold PostgreSQL's server and client programs" \
    "name the folder with initdb, postgres, psql and pg_dump"

cd "$PROJECT"
TARGET=$(realpath -m -- "${CARGO_TARGET_DIR:-target}")
: "${OUT:=$TARGET/bench/results.json}"
[ $QUICK = yes ] && : "${DOCS:=${OUT%/*}}"
: "${DOCS:=$PROJECT/docs}"
export PYTHONDONTWRITEBYTECODE=1

mkdir -p "$BENCH"
chmod a+rx "$CACHE"
step "peers and tools" install_tools
[ -n "$PROGRAMS" ] || step "PostgreSQL $POSTGRES" install_programs
GENERATOR=''
case ,$ONLY, in *,tpch,*)
    GENERATOR=$BENCH/python/bin/tpchgen-cli
    step "TPC-H's generator" install_generator
    ;;
esac
if [ -z "$PGKEEP" ]; then
    setup_compiler
    setup_rust
    step "building pgkeep" build
    PGKEEP=$TARGET/release/pgkeep
fi

# It is told to clean up when this script is killed. 3: some lines failed, which is in the results too.
status=0
setpriv --pdeathsig TERM python3 scripts/bench/measure.py --pgkeep "$PGKEEP" --programs "$PROGRAMS" --generator "$GENERATOR" \
    --cache "$BENCH" --only "$ONLY" --what "$WHAT" --rounds "$ROUNDS" --out "$OUT" ${PASSED[@]+"${PASSED[@]}"} || status=$?
[ $SETUP = no ] || exit $status
[ $status != 130 ] || exit 130
[ $status = 0 ] || [ $status = 3 ] || die "the benchmark broke off (exit code $status)"
step "writing benchmarks.md and its plots" python3 scripts/bench/render.py "$OUT" "$DOCS"
say "measured in $SECONDS s; the results are in $OUT, the tables and plots in $DOCS"
[ $status = 0 ] || die "some lines failed, as said above"
