//! `pgkeep auth gdrive`: shows the address, takes what is pasted, and prints what belongs into pgkeep.toml.

use super::Session;
use crate::cli::args::GdriveArgs;
use crate::cli::words::printable;
use crate::cli::{exit, voice};
use crate::config::SecretRef;
use crate::destination::gdrive::App;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::ops::{self, Asked, AuthOutcome, AuthRequest};
use async_trait::async_trait;
use std::io::BufRead;

/// The longest line that is pasted, in bytes.
const LONGEST: u64 = 16 << 10;

/// Asks for permission to use Google Drive.
pub(super) async fn gdrive(args: &GdriveArgs, session: &Session<'_>) -> Result<u8> {
    let request = AuthRequest {
        app: app(args)?,
        browser: !args.no_browser,
        folder_id: args.folder_id.clone(),
        output: args.output.clone(),
        timeout: args.timeout,
    };
    let outcome = ops::auth_gdrive(session.ctx, request, &Terminal).await?;
    session.output.text(&text(&outcome))?;
    session.output.json(&outcome)?;
    Ok(exit::DONE)
}

/// The app of the arguments, else that of an earlier permission.
fn app(args: &GdriveArgs) -> Result<App> {
    let mut app = match (&args.client, &args.client_id, &args.client_secret_file) {
        (Some(file), ..) => App::from_console(file)?,
        (None, Some(id), Some(file)) => App {
            client_id: id.clone(),
            client_secret: SecretRef::File(file.clone()).resolve()?,
            endpoints: crate::destination::gdrive::Endpoints::default(),
        },
        _ => App::from_permission(&ops::auth_file(args.output.as_ref())?)?.ok_or_else(|| {
            Error::new(ErrorKind::Usage, "it is not known as which client pgkeep should ask Google")
                .hint("give the client's JSON file with --client; `pgkeep auth gdrive --help` says how to get it")
        })?,
    };
    for (given, endpoint) in [
        (&args.auth_uri, &mut app.endpoints.auth),
        (&args.token_uri, &mut app.endpoints.token),
        (&args.endpoint, &mut app.endpoints.api),
    ] {
        if let Some(given) = given {
            endpoint.clone_from(given);
        }
    }
    Ok(app)
}

/// The answer for people: the lines for the configuration.
fn text(outcome: &AuthOutcome) -> String {
    let file = outcome.credentials.display().to_string();
    let mut text = format!(
        "pgkeep may store backups in the Drive of {}, in the folder \"{}\".\nThe permission is kept in {}, for you alone. \
         For pgkeep.toml:\n\n[destination.gdrive]\ntype = \"gdrive\"\nfolder_id = \"{}\"\n",
        printable(&outcome.account),
        printable(&outcome.folder),
        printable(&file),
        printable(&outcome.folder_id),
    );
    if !outcome.usual {
        let quoted = toml::Value::String(file);
        text.push_str(&format!("credentials = {{ file = {quoted} }}\n"));
    }
    text
}

/// Whoever sits in front of it.
struct Terminal;

#[async_trait]
impl Asked for Terminal {
    fn show(&self, url: &str, browser: bool) {
        let open =
            if browser { "If no browser opens, open this address in one:" } else { "Open this address in a browser:" };
        voice::stderr(&format!("{open}\n\n{url}\n\n"));
    }

    async fn pasted(&self) -> Result<String> {
        voice::stderr(
            "When you have agreed, the browser is sent to an address at 127.0.0.1 that does not load. That is right: copy that \
             whole address from the browser, and paste it here.\n> ",
        );
        let (tell, told) = tokio::sync::oneshot::channel();
        // A thread that nobody waits for: reading a terminal cannot be interrupted.
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = std::io::Read::take(std::io::stdin().lock(), LONGEST).read_line(&mut line);
            drop(tell.send(read.map(|_| line)));
        });
        let none =
            || Error::new(ErrorKind::Usage, "nothing was pasted").hint("run it in a terminal, and paste the address");
        let line = told.await.map_err(|_| none())?.doing(|| "cannot read what is pasted".to_owned())?;
        if line.trim().is_empty() { Err(none()) } else { Ok(line) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn outcome(file: &str, usual: bool) -> AuthOutcome {
        AuthOutcome {
            account: "ana@example.com".to_owned(),
            folder_id: "1AbC".to_owned(),
            folder: "pgkeep backups".to_owned(),
            credentials: file.into(),
            usual,
        }
    }

    #[test]
    fn the_lines_for_the_configuration_are_one() {
        for (file, usual) in
            [("/home/ana/gdrive.json", true), ("/srv/it's \"odd\"/g.json", false), ("C:\\pg\\g.json", false)]
        {
            let text = text(&outcome(file, usual));
            let (_, lines) = text.split_once("\n\n").unwrap();
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("pgkeep.toml");
            std::fs::write(&path, lines).unwrap();
            let config = Config::read(&path).unwrap();
            let Some(crate::config::DestinationConfig::Drive(drive)) = config.destinations.get("gdrive") else {
                panic!("{lines}")
            };
            assert_eq!(drive.folder_id, "1AbC");
            assert_eq!(drive.credentials.is_none(), usual, "{lines}");
        }
    }
}
