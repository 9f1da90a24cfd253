//! Storing the index of an archive everywhere, without ever holding all of it: that of ten terabytes has 35 MB.

use super::backup::put;
use super::store::{Copies, FanOut};
use crate::archive::Contents;
use crate::catalogue::{File, FileKind};
use crate::destination::Key;
use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

const NAME: &str = "contents.json.gz";

/// How many pieces wait for the destinations.
const WAITING: usize = 1;

/// Stores `contents`. A small index is put as one file, a larger one uploaded piece by piece.
pub(super) async fn put_contents(copies: &mut Copies, contents: &Contents) -> Result<File> {
    let (sender, mut pieces) = mpsc::channel::<Bytes>(WAITING);
    let contents = contents.clone();
    let writer = tokio::task::spawn_blocking(move || {
        let gone = |_| Error::new(ErrorKind::Failed, "the index is not wanted any more");
        contents.write_gzip(|piece| sender.blocking_send(Bytes::copy_from_slice(piece)).map_err(gone))
    });
    let first = pieces.recv().await.unwrap_or_default();
    let Some(second) = pieces.recv().await else {
        let unpacked_bytes = written(writer.await)?;
        return Ok(File { unpacked_bytes, ..put(copies, NAME, FileKind::Contents, first.to_vec()).await? });
    };
    let name = Key::encode(NAME);
    let mut upload = copies.upload(&name, 0).await?;
    let mut stored = Hashed { upload: &mut upload, digest: Sha256::new(), bytes: 0 };
    let sent = async {
        for piece in [first, second] {
            stored.write(&piece).await?;
        }
        while let Some(piece) = pieces.recv().await {
            stored.write(&piece).await?;
        }
        Ok(())
    }
    .await;
    drop(pieces);
    let (sha256, bytes) = (hex::encode(stored.digest.finalize()), stored.bytes);
    // Where nobody took the pieces, the writer only found that out.
    let unpacked = written(writer.await);
    let unpacked = sent.and(unpacked);
    let finished = copies.finish(upload, unpacked.is_ok()).await;
    match (unpacked, finished) {
        (Ok(unpacked_bytes), Ok(())) => Ok(File { name, kind: FileKind::Contents, bytes, sha256, unpacked_bytes }),
        (Err(error), _) if copies.alive() > 0 => Err(error),
        // Where every destination failed, the destination's error says why.
        (Err(error), finished) => Err(finished.err().unwrap_or(error)),
        (Ok(_), Err(error)) => Err(error),
    }
}

fn written(written: std::result::Result<Result<u64>, tokio::task::JoinError>) -> Result<u64> {
    written.map_err(|panic| Error::new(ErrorKind::Failed, "the writer of the index panicked").caused_by(panic))?
}

/// An upload that is digested on its way.
struct Hashed<'a> {
    upload: &'a mut FanOut,
    digest: Sha256,
    bytes: u64,
}

impl Hashed<'_> {
    async fn write(&mut self, piece: &Bytes) -> Result<()> {
        self.digest.update(piece);
        self.bytes += piece.len() as u64;
        self.upload.write(piece).await
    }
}
