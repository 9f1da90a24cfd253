//! Running pg_dump: into an archive, or, for a proof, through the scanner into nothing.

use super::Context;
use crate::archive::{Compressors, Packed, Packing};
use crate::config::Compression;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::event::Progress;
use crate::postgres::{Client, blockers, unreadable_tables};
use crate::process::{Invocation, Output, Running, Status, Stdout, Unhurried};
use crate::script::{ColumnOrder, Omit, Scan, Scanner, quote_identifier};
use bytes::Bytes;
use std::io::{Cursor, Read};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How many packed chunks wait between the archive's writer and the fan-out.
const WAITING: usize = 2;

/// How much a proof reads at once.
const READ_BYTES: usize = 1 << 20;

/// How much of pg_dump's output is waited for, at most.
const FIRST_BYTES: usize = 64 << 10;

/// A pg_dump that has begun to write.
pub(super) struct Started {
    pub(super) running: Running,
    pub(super) source: std::io::Chain<Cursor<Vec<u8>>, Unhurried<Output>>,
}

fn pg_dump(client: &Client, lock_wait: Duration) -> Result<Invocation> {
    // A zero would mean no limit at all.
    let milliseconds = lock_wait.as_millis().max(1);
    Ok(client
        .invoke(client.programs().pg_dump())?
        .args(["--no-password".to_owned(), format!("--lock-wait-timeout={milliseconds}")])
        .stdout(Stdout::Pipe))
}

/// Dumps one database into packed chunks, as one stream or as several.
#[derive(Clone)]
pub(super) struct Dumper<'a> {
    pub(super) ctx: &'a Context,
    pub(super) client: &'a Client,
    /// How long to wait for a lock on a table.
    pub(super) lock_wait: Duration,
    pub(super) compressors: Arc<Compressors>,
    pub(super) progress: Arc<Progress>,
}

impl Dumper<'_> {
    /// Runs pg_dump and hands packed chunks to `deliver`; see [`Dumper::carry`].
    pub(super) async fn pg_dump<F>(&self, deliver: F) -> Result<Packed>
    where
        F: AsyncFnMut(Bytes) -> Result<()>,
    {
        let mut running = pg_dump(self.client, self.lock_wait)?.spawn().await?;
        let source = running.stdout.take().ok_or_else(no_output)?;
        self.carry("pg_dump", running, Unhurried::new(source), deliver).await
    }

    /// Starts pg_dump with `args` and waits until it has begun to write: then it has its locks and its snapshot.
    pub(super) async fn start_pg_dump(&self, lock_wait: Duration, args: Vec<String>) -> Result<Started> {
        let mut running = pg_dump(self.client, lock_wait)?.args(args).spawn().await?;
        let mut source = running.stdout.take().ok_or_else(no_output)?;
        let reading = tokio::task::spawn_blocking(move || {
            let mut first = vec![0; FIRST_BYTES];
            let read = source.read(&mut first)?;
            first.truncate(read);
            Ok((first, source))
        });
        let cancel = &self.ctx.cancel;
        let read = tokio::select! {
            read = reading => read,
            () = cancel.cancelled() => {
                running.stop().await?;
                return Err(cancel.error());
            }
        };
        let read =
            read.map_err(|source| Error::new(ErrorKind::Failed, "reading pg_dump panicked").caused_by(source))?;
        let (first, rest) = read.map_err(|source| Error::io("cannot read from pg_dump", source))?;
        if first.is_empty() {
            let status = running.wait(cancel).await?;
            return Err(explain(self.ctx, self.client, "pg_dump", &status).await);
        }
        Ok(Started { running, source: Cursor::new(first).chain(Unhurried::new(rest)) })
    }

    /// Packs what comes from `source`, which `running` feeds, and hands it to `deliver`. Returns only what is whole: the
    /// program exited with 0, the closing line was seen outside of everything else, and nothing is in the script that must
    /// not be.
    pub(super) async fn carry<F>(
        &self,
        program: &str,
        running: Running,
        source: impl Read + Send + 'static,
        deliver: F,
    ) -> Result<Packed>
    where
        F: AsyncFnMut(Bytes) -> Result<()>,
    {
        let Self { ctx, client, .. } = self;
        // When nobody takes chunks any more the packer stops, its end of the pipe closes, and the program ends by that.
        let packing = pack_apart(&self.compressors, source, &self.progress, deliver);
        let (status, (carried, packed)) = tokio::join!(running.wait(&ctx.cancel), packing);
        // In the order of what caused what: a stop, a destination, the program, the packer.
        ctx.cancel.check()?;
        let status = status?;
        carried?;
        if !status.success() {
            return Err(explain(ctx, client, program, &status).await);
        }
        let packed = packed?;
        check_scan(client, &packed.scan)?;
        Ok(packed)
    }
}

/// Packs a script that comes from elsewhere and hands the chunks to `deliver`. Whether it is whole is for the caller to
/// check.
pub(super) async fn pack<F>(
    ctx: &Context,
    source: impl Read + Send + 'static,
    compression: Compression,
    progress: &Arc<Progress>,
    deliver: F,
) -> Result<Packed>
where
    F: AsyncFnMut(Bytes) -> Result<()>,
{
    let compressors = Arc::new(Compressors::start(compression, ctx.threads(), 1)?);
    let (carried, packed) = pack_apart(&compressors, source, progress, deliver).await;
    carried?;
    packed
}

/// Packs on a thread of its own, and returns apart how delivering and packing went: where both failed, the first is why.
async fn pack_apart<F>(
    compressors: &Arc<Compressors>,
    source: impl Read + Send + 'static,
    progress: &Arc<Progress>,
    mut deliver: F,
) -> (Result<()>, Result<Packed>)
where
    F: AsyncFnMut(Bytes) -> Result<()>,
{
    let (compressors, progress) = (Arc::clone(compressors), Arc::clone(progress));
    let (sender, mut chunks) = mpsc::channel::<Bytes>(WAITING);
    let packer = tokio::task::spawn_blocking(move || {
        let gone = |_| Error::new(ErrorKind::Failed, "the archive is not wanted any more");
        Packing { compressors: &compressors, progress }.run(source, |bytes| sender.blocking_send(bytes).map_err(gone))
    });
    let carry = async move {
        while let Some(chunk) = chunks.recv().await {
            deliver(chunk).await?;
        }
        Ok(())
    };
    let carried = carry.await;
    let packed = packer.await.map_err(|source| Error::new(ErrorKind::Failed, "the packer panicked").caused_by(source));
    (carried, packed.and_then(|packed| packed))
}

/// Dumps the database through the scanner into nothing.
pub(super) async fn dump_scanned(
    ctx: &Context,
    client: &Client,
    orders: ColumnOrder,
    progress: &Arc<Progress>,
) -> Result<Scan> {
    dump_part_scanned(ctx, client, Vec::new(), b"", orders, progress).await
}

/// The same with further arguments of pg_dump's, which say what of the database; and as if `before` stood before the dump.
pub(super) async fn dump_part_scanned(
    ctx: &Context,
    client: &Client,
    args: Vec<String>,
    before: &'static [u8],
    orders: ColumnOrder,
    progress: &Arc<Progress>,
) -> Result<Scan> {
    let mut running = pg_dump(client, Duration::from_secs(60))?.args(args).spawn().await?;
    let source = running.stdout.take().ok_or_else(no_output)?;
    let progress = Arc::clone(progress);
    let scanning = tokio::task::spawn_blocking(move || scan(Unhurried::new(source), before, orders, &progress));
    let status = running.wait(&ctx.cancel).await;
    let scanned =
        scanning.await.map_err(|source| Error::new(ErrorKind::Failed, "the scanner panicked").caused_by(source))?;
    ctx.cancel.check()?;
    let status = status?;
    if !status.success() {
        return Err(explain(ctx, client, "pg_dump", &status).await);
    }
    let scanned = scanned?;
    check_scan(client, &scanned)?;
    Ok(scanned)
}

fn scan(mut source: impl Read, before: &[u8], orders: ColumnOrder, progress: &Progress) -> Result<Scan> {
    let mut scanner = Scanner::new(orders, Omit::default());
    scanner.feed(before);
    let mut buffer = vec![0; READ_BYTES];
    let mut rows = 0;
    loop {
        let read = source.read(&mut buffer).doing(|| "cannot read from pg_dump".to_owned())?;
        if read == 0 {
            return Ok(scanner.finish());
        }
        scanner.feed(&buffer[..read]);
        progress.advance(read as u64, scanner.rows() - rows);
        rows = scanner.rows();
    }
}

fn no_output() -> Error {
    Error::new(ErrorKind::Failed, "pg_dump has no output to read")
}

fn check_scan(client: &Client, scan: &Scan) -> Result<()> {
    let subject = client.connection().describe();
    if !scan.complete {
        return Err(Error::new(
            ErrorKind::Failed,
            format!("pg_dump of {subject} ended without an error, but before its closing line"),
        )
        .hint("nothing was stored; check the pg_dump program that was used, and try again"));
    }
    if let Some(violation) = scan.violations.first() {
        return Err(Error::new(
            ErrorKind::Failed,
            format!("pg_dump of {subject} wrote {} in line {}", violation.what, violation.line),
        )
        .hint("this is not what pg_dump writes; nothing was stored. Check the pg_dump program that was used"));
    }
    Ok(())
}

/// A dumping program's failure, with what can be found out about its cause.
async fn explain(ctx: &Context, client: &Client, program: &str, status: &Status) -> Error {
    explain_error(ctx, client, client.failure(program, status)).await
}

/// A dumping session's failure, with what can be found out about its cause.
pub(super) async fn explain_error(ctx: &Context, client: &Client, error: Error) -> Error {
    let said = error.one_line();
    if said.contains("permission denied")
        && let Ok(tables) = unreadable_tables(client, &ctx.cancel).await
        && !tables.is_empty()
    {
        return error.hint(format!("the role may not read {}; run: {}", shown(&tables), grant(client, &tables)));
    }
    if (said.contains("lock timeout") || said.contains("statement timeout"))
        && let Ok(blockers) = blockers(client, &ctx.cancel).await
        && !blockers.is_empty()
    {
        let one = |blocker: &crate::postgres::Blocker| {
            let since = blocker.since.as_deref().map(|at| format!(" since {at}")).unwrap_or_default();
            format!("{} is locked by pid {} of {}{since}", blocker.table, blocker.pid, blocker.who)
        };
        let all = blockers.iter().take(5).map(one).collect::<Vec<_>>().join("; ");
        return error.hint(format!(
            "{all}; try again when it is done, end it with pg_terminate_backend(PID), or raise lock_wait_timeout"
        ));
    }
    error
}

/// The first tables, and how many more there are.
pub(super) fn shown(tables: &[String]) -> String {
    let first = tables.iter().take(20).map(String::as_str).collect::<Vec<_>>().join(", ");
    if tables.len() > 20 { format!("{first} and {} more", tables.len() - 20) } else { first }
}

/// The statements that let the role of `client` read `tables`.
pub(super) fn grant(client: &Client, tables: &[String]) -> String {
    let role = quote_identifier(&client.connection().user());
    let first = tables.iter().take(20).map(String::as_str).collect::<Vec<_>>().join(", ");
    format!(
        "GRANT pg_read_all_data TO {role}; or, table by table, with USAGE on their schemas: GRANT SELECT ON {first} TO {role};"
    )
}
