//! A stretch of a data file's SQL, from the members that hold it.

use super::map::MemberMap;
use super::members::Members;
use super::unpack::Unpacking;
use crate::cancel::Cancel;
use crate::config::Codec;
use crate::destination::{Destination, Key};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Progress;
use std::ops::Range;
use std::sync::Arc;

/// Reads stretches of one data file. Cheap to clone.
#[derive(Clone)]
pub struct SqlReader {
    /// Where the file is. It checks what it reads: see [`super::Proven`].
    pub source: Arc<dyn Destination>,
    /// The file's key.
    pub key: Key,
    /// Its codec.
    pub codec: Codec,
    /// Where its members are.
    pub map: Arc<MemberMap>,
    /// How many threads unpack one stretch.
    pub threads: usize,
    /// Raised as bytes pass.
    pub progress: Arc<Progress>,
}

impl SqlReader {
    /// Hands the SQL bytes `range` to `consume`, in order and on a thread of its own. Reads the members that hold them, and
    /// those that share a digest with these.
    pub async fn read(
        &self,
        range: Range<u64>,
        cancel: &Cancel,
        mut consume: impl FnMut(&[u8]) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        if range.start > range.end || range.end > self.map.sql_bytes() {
            let message = format!("{} holds no SQL bytes {} to {}", self.key, range.start, range.end);
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        if range.is_empty() {
            return Ok(());
        }
        let mut place = self.map.at_sql(range.start);
        let (first, mut at) = (place.stored, place.sql);
        let mut members = Members::new();
        let mut whole = false;
        while (place.sql < range.end || !whole)
            && let Some(member) = place.pass()
        {
            whole = member.digest.is_some();
            members.push(member);
        }
        let threads = self.threads.min(members.len());
        let unpacking = Unpacking {
            destination: Arc::clone(&self.source),
            key: self.key.clone(),
            codec: self.codec,
            members,
            first,
            threads,
            digest: false,
            progress: Arc::clone(&self.progress),
        };
        let unpacked = unpacking
            .run(cancel, move |sql| {
                let begin = range.start.saturating_sub(at).min(sql.len() as u64);
                let end = range.end.saturating_sub(at).min(sql.len() as u64);
                at += sql.len() as u64;
                consume(sql.get(begin as usize..end as usize).unwrap_or_default())
            })
            .await?;
        match unpacked.broken.first() {
            None => Ok(()),
            Some(broken) => {
                Err(Error::new(ErrorKind::Damaged, format!("{} is damaged: {}", self.key.file_name(), broken.why)))
            }
        }
    }

    /// The SQL bytes `range`, which are few, in memory.
    pub async fn text(&self, range: Range<u64>, cancel: &Cancel) -> Result<Vec<u8>> {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.read(range, cancel, move |sql| {
            sender.send(sql.to_vec()).map_err(|_| Error::new(ErrorKind::Failed, "nobody reads the SQL any more"))
        })
        .await?;
        Ok(receiver.into_iter().flatten().collect())
    }
}
