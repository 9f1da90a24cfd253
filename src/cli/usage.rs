//! Reading the command line, and answering for clap where it cannot be read: also in JSON, and never with a password.

use super::args::Cli;
use super::output::Output;
use super::voice;
use crate::error::{Error, ErrorKind};
use clap::{CommandFactory, FromArgMatches};
use serde_json::json;
use std::ffi::OsString;

/// The exit code of a command line that cannot be read.
const WRONG: u8 = 2;

/// The command line, or the exit code after help, a version or an error was printed.
pub(super) fn parse() -> Result<Cli, u8> {
    let args: Vec<OsString> = std::env::args_os().collect();
    let error = match read(&args, super::ask::is_possible()) {
        Ok(cli) => return Ok(cli),
        Err(error) => error,
    };
    let rendered = error.render().to_string();
    let told = without_urls(&rendered, &args);
    if told == rendered {
        // clap knows whether the terminal shows colours. A reader that has gone away is a quiet end.
        drop(error.print());
    } else {
        voice::stderr(&told);
    }
    if !error.use_stderr() {
        return Err(0);
    }
    if args.iter().any(|arg| arg == "--json")
        && let Err(error) = Output::new(true).json(&json!({ "error": voice::machine(&of_usage(&error, &told)) }))
    {
        voice::tell(&error);
    }
    Err(WRONG)
}

/// The command line. Where somebody can be asked, a restore need not be told everything; in JSON nothing is asked.
fn read(args: &[OsString], asks: bool) -> Result<Cli, clap::Error> {
    let optional = |arg: clap::Arg| arg.required(false);
    let mut command = Cli::command();
    let any = |words: &[&str]| args.iter().any(|arg| words.iter().any(|word| arg == word));
    if asks && !any(&["--json"]) {
        command = command.mut_subcommand("restore", |it| it.mut_arg("backup", optional).mut_arg("into", optional));
    }
    // These are about databases that a restore left, not about a backup.
    if any(&["--swap-back", "--finish-swap"]) {
        command = command.mut_subcommand("restore", |it| it.mut_arg("backup", optional));
    }
    let mut matches = command.clone().try_get_matches_from(args)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// clap's message without the URLs that were typed: it repeats what it does not understand, and that may be a password.
fn without_urls(message: &str, args: &[OsString]) -> String {
    let mut clean = message.to_owned();
    for arg in args.iter().filter_map(|arg| arg.to_str()) {
        if let Some((scheme, rest)) = arg.split_once("://")
            && !rest.is_empty()
        {
            clean = clean.replace(arg, &format!("{scheme}://..."));
            // Of --database-ulr=postgres://... clap repeats either side of the equals sign alone, too.
            clean = clean.replace(rest, "...");
        }
    }
    clean
}

/// The error for scripts: clap's first paragraph, which says what is wrong, and a hint.
fn of_usage(error: &clap::Error, told: &str) -> Error {
    use clap::error::ErrorKind as Clap;
    let message = if error.kind() == Clap::DisplayHelpOnMissingArgumentOrSubcommand {
        "a command is missing".to_owned()
    } else {
        let paragraph = told.split("\n\n").next().unwrap_or(told);
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        words.join(" ").trim_start_matches("error: ").to_owned()
    };
    Error::new(ErrorKind::Usage, message)
        .hint("`pgkeep --help` shows what there is, `pgkeep COMMAND --help` its options")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> (clap::Error, String) {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = read(&args, false).unwrap_err();
        let told = without_urls(&error.render().to_string(), &args);
        (error, told)
    }

    #[test]
    fn a_password_that_was_typed_in_the_wrong_place_is_not_repeated() {
        for line in [
            "pgkeep postgres://ana:hunter2@h/shop",
            "pgkeep --database-ulr=postgres://ana:hunter2@h/shop backup now",
            "pgkeep restore a postgres://ana:hunter2@h/shop",
            "pgkeep backup postgres://ana:hunter2@h/shop",
        ] {
            let (error, told) = refused(line);
            assert!(!told.contains("hunter2"), "{told}");
            assert!(!of_usage(&error, &told).one_line().contains("hunter2"));
        }
    }

    #[test]
    fn a_restore_need_not_say_everything_where_somebody_can_be_asked() {
        let read = |line: &str, asks| read(&line.split(' ').map(OsString::from).collect::<Vec<_>>(), asks).is_ok();
        for line in ["pgkeep restore", "pgkeep restore latest", "pgkeep restore --into x", "pgkeep -q restore --swap"] {
            assert!(read(line, true) && !read(line, false), "{line}");
            assert!(!read(&format!("{line} --json"), true), "{line}");
        }
        assert!(read("pgkeep restore latest --into x", false) && !read("pgkeep restore a b", true));
    }

    #[test]
    fn scripts_get_one_line_without_the_usage() {
        let (error, told) = refused("pgkeep restore latest");
        let error = of_usage(&error, &told);
        assert_eq!(error.to_string(), "the following required arguments were not provided: --into <DBNAME|URL>");
        let (error, told) = refused("pgkeep backup");
        assert_eq!(of_usage(&error, &told).to_string(), "a command is missing");
    }
}
