//! `pgkeep service install` and `uninstall`.

use super::Session;
use crate::cli::args::{InstallArgs, ServicePlace, UninstallArgs};
use crate::cli::exit;
use crate::cli::words::printable;
use crate::error::{Context as _, Result};
use crate::ops::{self, ServiceChange, ServiceOutcome, ServiceRequest};
use std::fmt::Display;

/// Installs.
pub(super) async fn install(args: &InstallArgs, session: &Session<'_>) -> Result<u8> {
    let request = ServiceRequest {
        timers: args.timer.clone(),
        program: args.program.clone(),
        #[cfg(windows)]
        weekly: args.weekly,
        ..request(&args.place)?
    };
    let outcome = ops::service_install(session.ctx, &request).await?;
    answer(&outcome, session)
}

/// Takes away.
pub(super) async fn uninstall(args: &UninstallArgs, session: &Session<'_>) -> Result<u8> {
    let outcome = ops::service_uninstall(session.ctx, &request(&args.place)?).await?;
    answer(&outcome, session)
}

fn request(place: &ServicePlace) -> Result<ServiceRequest> {
    let root = place
        .root
        .as_ref()
        .map(|root| std::path::absolute(root).doing(|| format!("cannot use --root {}", root.display())));
    Ok(ServiceRequest {
        user: place.user,
        dry_run: place.dry_run,
        force: place.force,
        root: root.transpose()?,
        ..ServiceRequest::default()
    })
}

/// Tells what was done: 3 if something that should go was left.
fn answer(outcome: &ServiceOutcome, session: &Session<'_>) -> Result<u8> {
    session.output.text(&text(outcome))?;
    session.output.json(outcome)?;
    let kept = outcome.files.iter().any(|file| file.change == ServiceChange::Kept);
    Ok(if kept { exit::PARTLY } else { exit::DONE })
}

fn text(outcome: &ServiceOutcome) -> String {
    let mut text = String::new();
    for file in &outcome.files {
        let word = match (file.change, outcome.dry_run) {
            (ServiceChange::Unchanged, _) => "unchanged",
            (ServiceChange::Kept, _) => "left, it was changed by hand",
            (ServiceChange::Written, false) => "written",
            (ServiceChange::Written, true) => "would be written",
            (ServiceChange::Updated, false) => "updated",
            (ServiceChange::Updated, true) => "would be updated",
            (ServiceChange::Removed, false) => "removed",
            (ServiceChange::Removed, true) => "would be removed",
        };
        text.push_str(&format!("{}: {word}\n", printable(&file.path)));
    }
    if outcome.files.is_empty() {
        text.push_str("nothing is installed\n");
    }
    text.push_str(&list("\ndone:", &outcome.ran));
    let next = if outcome.dry_run { "\nwould be next:" } else { "\nnext, as the user who owns these files:" };
    text.push_str(&list(next, &outcome.next));
    text.push_str(&list("\nnote:", &outcome.notes));
    text
}

fn list(title: &str, lines: &[impl Display]) -> String {
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        if number == 0 {
            text.push_str(&format!("{title}\n"));
        }
        text.push_str(&format!("  {}\n", printable(&line.to_string())));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{ServiceCommand, ServiceFile};

    #[test]
    fn what_remains_to_be_typed_can_be_copied() {
        let command = ServiceCommand(vec!["install".into(), "-d".into(), "/srv/a b".into()]);
        let file = ServiceFile { path: "/etc/systemd/system/pgkeep.service".into(), change: ServiceChange::Written };
        let outcome = ServiceOutcome {
            files: vec![file],
            next: vec![command],
            notes: vec!["mind the gap".into()],
            ..ServiceOutcome::default()
        };
        let expected = "/etc/systemd/system/pgkeep.service: written\n\nnext, as the user who owns these files:\n  install \
                        -d '/srv/a b'\n\nnote:\n  mind the gap\n";
        assert_eq!(text(&outcome), expected);
        assert_eq!(text(&ServiceOutcome::default()), "nothing is installed\n");
    }
}
