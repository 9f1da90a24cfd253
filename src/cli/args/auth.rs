//! `pgkeep auth`.

use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// `pgkeep auth`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AuthCommand {
    /// Let pgkeep store backups in your Google Drive: opens Google's page, and keeps your permission
    Gdrive(GdriveArgs),
}

/// `pgkeep auth gdrive`.
#[derive(Debug, Args)]
#[command(after_help = GDRIVE_HELP)]
pub(in crate::cli) struct GdriveArgs {
    /// The client's JSON file, as Google's console gives it [default: the client of an earlier permission]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["client_id", "client_secret_file"])]
    pub(in crate::cli) client: Option<PathBuf>,
    /// The client's id, where there is no JSON file of it
    #[arg(long, value_name = "ID", requires = "client_secret_file")]
    pub(in crate::cli) client_id: Option<String>,
    /// A file that holds the client's secret, and that only you can read
    #[arg(long, value_name = "FILE", requires = "client_id")]
    pub(in crate::cli) client_secret_file: Option<PathBuf>,
    /// There is no browser on this computer: open the address on another one, and paste where it leads
    #[arg(long)]
    pub(in crate::cli) no_browser: bool,
    /// The folder for backups, one that pgkeep made [default: "pgkeep backups", which is made]
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) folder_id: Option<String>,
    /// Where to keep the permission [default: gdrive.json in pgkeep's configuration folder]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,
    /// How long to wait for your answer
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    pub(in crate::cli) timeout: Duration,
    /// Another page of permissions: for tests
    #[arg(long, value_name = "URL", hide = true)]
    pub(in crate::cli) auth_uri: Option<String>,
    /// Another token endpoint: for tests
    #[arg(long, value_name = "URL", hide = true)]
    pub(in crate::cli) token_uri: Option<String>,
    /// Another Drive: for tests
    #[arg(long, value_name = "URL", hide = true)]
    pub(in crate::cli) endpoint: Option<String>,
}

const GDRIVE_HELP: &str = "\
Google wants to know each program that asks. Once, in https://console.cloud.google.com:
  1. make a project, and switch the Google Drive API on
  2. under OAuth consent screen, set the app up, and publish it (In production): while it is in Testing, Google ends the
     permission after 7 days
  3. under Clients, create one of the type \"Desktop app\", download its JSON, and give it to --client
pgkeep asks for its own files only (the scope drive.file): it sees nothing else of your Drive.";
