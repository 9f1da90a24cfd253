//! `pgkeep demo`: everything pgkeep does, on a throwaway server with a sample database, explained as it goes.

use super::Session;
use crate::cli::args::DemoArgs;
use crate::cli::{exit, tables};
use crate::config::DestinationRef;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::ops::{self, Backup, BackupRequest, BackupStatus, Catalog, Demo, DrillRequest, VerifyStatus};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Runs the demo and leaves no process behind, whatever happens.
pub(super) async fn demo(args: &DemoArgs, session: &Session<'_>) -> Result<u8> {
    let clock = Instant::now();
    let folder = match &args.dir {
        Some(folder) => folder.clone(),
        None => std::env::temp_dir().join(format!("pgkeep-demo-{}", crate::id::random_hex(4)?)),
    };
    std::fs::create_dir_all(&folder).doing(|| format!("cannot create {}", folder.display()))?;
    let show = Show { session, folder: folder.clone() };
    show.say(
        "Starting a throwaway PostgreSQL and loading the sample database: a spa's bookings and its currency desk.",
    )?;
    let demo = Demo::start(session.ctx).await?;
    show.say(&format!("PostgreSQL {} is up, reachable by nobody else.", demo.version()))?;
    let shown = show.run(&demo).await;
    demo.stop().await?;
    let backup = match shown {
        Ok(backup) => backup,
        Err(error) => {
            show.clean(args.keep)?;
            return Err(error);
        }
    };
    show.say(&format!("\nDone in {:.0} s. The server is stopped and removed.", clock.elapsed().as_secs_f64()))?;
    if args.keep || args.dir.is_some() {
        show.say(&format!(
            "The backup is in {}; RESTORE.txt beside it tells how to restore it by hand.",
            show.backups().display()
        ))?;
    } else {
        show.clean(false)?;
        show.say("Nothing is left behind; with --keep or --dir DIR the backup stays, to look at.")?;
    }
    show.say("Your own database:  DATABASE_URL=postgres://user:password@host/name pgkeep backup now --to ./backups")?;
    session.output.json(&json!({ "backup": backup, "seconds": clock.elapsed().as_secs_f64(), "result": "passed" }))?;
    Ok(exit::DONE)
}

struct Show<'a> {
    session: &'a Session<'a>,
    folder: PathBuf,
}

impl Show<'_> {
    fn say(&self, text: &str) -> Result<()> {
        self.session.display.pause();
        self.session.output.text(&format!("{text}\n"))
    }

    /// A command as the user would type it, and then what it printed.
    fn command(&self, command: &str) -> Result<()> {
        self.say(&format!("\n$ pgkeep {command}"))
    }

    fn backups(&self) -> PathBuf {
        self.folder.join("backups")
    }

    fn destination(&self, folder: &Path) -> Result<DestinationRef> {
        DestinationRef::parse(&folder.to_string_lossy(), &self.session.ctx.config)
    }

    fn clean(&self, keep: bool) -> Result<()> {
        if keep {
            return Ok(());
        }
        for folder in [self.backups(), self.folder.join("damaged")] {
            if folder.exists() {
                std::fs::remove_dir_all(&folder).doing(|| format!("cannot remove {}", folder.display()))?;
            }
        }
        // Only if it is empty: a folder that the user named may hold other things.
        let _ = std::fs::remove_dir(&self.folder);
        Ok(())
    }

    /// Backs up, lists, verifies, drills, damages; returns the backup's id.
    async fn run(&self, demo: &Demo) -> Result<String> {
        let (ctx, output) = (self.session.ctx, self.session.output);
        let backups = self.backups();
        let shown = backups.display();
        let destination = self.destination(&backups)?;
        self.command(&format!("backup now --to {shown}"))?;
        let request = BackupRequest::ad_hoc(demo.connection(), vec![destination.clone()]);
        let mut outcomes = ops::backup(ctx, &request).await?;
        self.session.display.pause();
        for outcome in &mut outcomes {
            output.text(&tables::backup(outcome, |_| false))?;
            if outcome.status != BackupStatus::Stored {
                return Err(outcome.failure.take().unwrap_or_else(|| unexpected("the backup was not stored")));
            }
        }
        self.command(&format!("backup list --at {shown}"))?;
        let catalog = Catalog::read(ctx, std::slice::from_ref(&destination), None).await?;
        output.text(&tables::list(&catalog.listed(), ctx.clock.now()))?;
        let backup = &catalog.find(ctx, "latest").await?;
        self.command(&format!("backup verify latest --at {shown}"))?;
        self.verify(backup, VerifyStatus::Intact).await?;
        self.command(&format!("drill latest --at {shown}"))?;
        let request = DrillRequest::for_job(None, Some(None))?;
        let mut drilled = ops::drill(ctx, backup, &request).await?;
        self.session.display.pause();
        output.text(&tables::drilled(&drilled))?;
        if let Some(error) = drilled.failure.take() {
            return Err(error);
        }
        self.damage(backup).await?;
        Ok(backup.manifest.id.to_string())
    }

    async fn verify(&self, backup: &Backup, expected: VerifyStatus) -> Result<()> {
        let outcomes = ops::verify(self.session.ctx, backup, false).await?;
        self.session.display.pause();
        self.session.output.text(&tables::verified(&outcomes))?;
        if outcomes.iter().any(|outcome| outcome.result != expected) {
            return Err(unexpected("the verification did not find what is there"));
        }
        Ok(())
    }

    /// The part that other tools leave out: a copy with one flipped bit must not go unnoticed.
    async fn damage(&self, backup: &Backup) -> Result<()> {
        let ctx = self.session.ctx;
        let damaged = self.folder.join("damaged");
        let place = ops::damage_copy(&backup.manifest, &self.backups(), &damaged)?;
        self.say(&format!(
            "\nNow one bit of a copy is flipped, at byte {place} of the archive, as a dying disk would."
        ))?;
        let destination = self.destination(&damaged)?;
        let catalog = Catalog::read(ctx, &[destination], None).await?;
        self.command(&format!("backup verify latest --at {}", damaged.display()))?;
        self.verify(&catalog.find(ctx, "latest").await?, VerifyStatus::Damaged).await
    }
}

fn unexpected(what: &str) -> Error {
    Error::new(ErrorKind::Failed, format!("the demo went wrong: {what}"))
        .hint("this should not happen; please report it")
}
