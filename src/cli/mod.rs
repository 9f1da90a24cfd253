//! (being written)

use std::process::ExitCode;

/// Runs the program.
pub fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.next_if(|arg| arg == crate::process::GUARD_COMMAND).is_some() {
        return crate::process::become_guarded(args);
    }
    crate::process::install_guard();
    ExitCode::SUCCESS
}
