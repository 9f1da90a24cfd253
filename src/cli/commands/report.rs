//! `pgkeep report`.

use super::Session;
use crate::catalogue::DrillResult;
use crate::cli::args::ReportArgs;
use crate::cli::report::{Asked, Report, gather, page};
use crate::cli::words::{counted, printable};
use crate::cli::{exit, places, voice};
use crate::error::{Error, ErrorKind, Result};
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// Writes the page, or the same as JSON, or both.
pub(super) async fn report(args: &ReportArgs, session: &Session<'_>) -> Result<u8> {
    let config = &session.ctx.config;
    if args.output.is_none() && !session.global.json {
        return Err(Error::new(ErrorKind::Usage, "it is not said where the report should go")
            .hint("write -o report.html, or --json for the data"));
    }
    if let Some(job) = &args.job {
        places::refuse_url("a job", job)?;
        if args.at.at.is_empty() {
            places::job(job, config)?;
        }
    }
    let places = places::look_in(&args.at.at, args.job.as_deref(), config)?;
    let asked = Asked { places, job: args.job.clone(), days: args.days };
    let report = gather(session.ctx, &asked).await?;
    session.display.pause();
    for name in report.silent() {
        voice::warn(&format!("{name} could not be read, and the report says so"));
    }
    if let Some(file) = &args.output {
        write(file, &page(&report, config.timezone))?;
        session.output.text(&told(&report, file))?;
    }
    let mut document = serde_json::to_value(&report)
        .map_err(|source| Error::new(ErrorKind::Failed, "cannot write the report as JSON").caused_by(source))?;
    document["file"] = json!(args.output);
    session.output.json(&document)?;
    Ok(exit::DONE)
}

/// The page appears whole or not at all, and is readable by whom the folder lets: a web server, say.
fn write(file: &Path, page: &str) -> Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cannot = |source| Error::io(format!("cannot write {}", file.display()), source);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".pgkeep-report-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut temporary = builder.tempfile_in(folder).map_err(cannot)?;
    temporary.write_all(page.as_bytes()).map_err(cannot)?;
    temporary.persist(file).map_err(|error| cannot(error.error))?;
    Ok(())
}

fn told(report: &Report, file: &Path) -> String {
    let databases = || report.jobs.iter().flat_map(|job| &job.databases);
    let drills = |result| databases().map(|one| one.count(result)).sum::<usize>();
    let backups: usize = databases().map(|one| one.backups.len()).sum();
    format!(
        "wrote {}: {}, {}; drills of {}: {} passed, {} failed, {} could not run\n",
        printable(&file.display().to_string()),
        counted(report.jobs.len() as u64, "job", "jobs"),
        counted(backups as u64, "backup", "backups"),
        counted(report.days.into(), "day", "days"),
        drills(DrillResult::Passed),
        drills(DrillResult::Failed),
        drills(DrillResult::CouldNotRun)
    )
}
