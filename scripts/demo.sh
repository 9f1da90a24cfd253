#!/usr/bin/env bash
# Shows pgkeep at work on this machine: installs what is missing (PostgreSQL, Rust, a C compiler), builds pgkeep and runs
# `pgkeep demo`, which works on a throwaway server and leaves nothing behind.
#
#     scripts/demo.sh [arguments of pgkeep demo]
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

cd "$PROJECT"
setup_postgres
setup_compiler
setup_rust
step "building pgkeep" cargo build --release --locked
exec "${CARGO_TARGET_DIR:-target}/release/pgkeep" demo "$@"
