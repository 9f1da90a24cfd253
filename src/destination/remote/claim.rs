//! The mark of a folder that is being written, `.in-progress`: an object that says whose it is.
//!
//! A service has no lock that dies with its holder. So the mark tells the process, and whether a process that looks at it
//! could see that one: on the same kernel since the same start, with the same view of process ids. Then a dead writer is
//! known at once; otherwise only age tells.

use crate::destination::remains::CLAIM_NAME;
use crate::destination::service::Service;
use crate::destination::{Claim, Key};
use crate::error::{Error, ErrorKind, Result};
use crate::id::random_hex;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The longest mark that is read, in bytes.
const LONGEST_MARK: u64 = 64 << 10;

/// The tokens of this process's own claims.
static HELD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn held() -> MutexGuard<'static, BTreeSet<String>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the mark says.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    host: Option<String>,
    scope: Option<String>,
    pid: u32,
    token: String,
    started_at: DateTime<Utc>,
}

/// Who writes, or wrote, a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// There is no mark.
    None,
    /// A process that lives.
    Alive,
    /// A process that is gone.
    Dead,
    /// It cannot be known from here.
    Unknown,
}

impl Mark {
    fn holder(&self) -> Holder {
        if self.scope.is_none() || self.scope != crate::process::scope() {
            Holder::Unknown
        } else if self.pid == std::process::id() {
            if held().contains(&self.token) { Holder::Alive } else { Holder::Dead }
        } else if crate::process::is_alive(self.pid) {
            Holder::Alive
        } else {
            Holder::Dead
        }
    }
}

/// Whose the mark of the folder `dir` is.
pub(super) async fn holder<S: Service>(service: &S, dir: &Key) -> Result<Holder> {
    let key = mark_of(dir);
    let object = match service.head(&key).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Holder::None),
        other => other?,
    };
    if object.bytes > LONGEST_MARK {
        return Ok(Holder::Unknown);
    }
    match service.read(&key, 0..object.bytes).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Holder::None),
        Err(error) if error.kind() == ErrorKind::Damaged => Ok(Holder::Unknown),
        Err(error) => Err(error),
        Ok(json) => Ok(serde_json::from_slice::<Mark>(&json).map_or(Holder::Unknown, |mark| mark.holder())),
    }
}

/// The key of the mark of `dir`.
pub(super) fn mark_of(dir: &Key) -> Key {
    // Made by hand: `join` would take the dot away.
    dir.hidden_child(CLAIM_NAME)
}

/// Claims the folder `dir`, which must hold nothing but the mark of a dead claim.
pub(super) async fn take<S: Service>(service: &Arc<S>, dir: &Key) -> Result<Box<dyn Claim>> {
    let exists = || Error::new(ErrorKind::AlreadyExists, format!("{dir} exists already at {}", service.name()));
    let mark = mark_of(dir);
    for object in service.list(Some(dir)).await? {
        if object.key != mark || holder(&**service, dir).await? != Holder::Dead {
            return Err(exists());
        }
        service.delete(&mark).await?;
    }
    let token = random_hex(16)?;
    let text = serde_json::to_vec(&Mark {
        host: crate::process::host_name(),
        scope: crate::process::scope(),
        pid: std::process::id(),
        token: token.clone(),
        started_at: Utc::now(),
    })
    .map_err(|source| Error::new(ErrorKind::Failed, "cannot write the mark of a claim").caused_by(source))?;
    held().insert(token.clone());
    let claim = RemoteClaim { service: Arc::clone(service), dir: dir.clone(), token };
    service.create(&mark, Bytes::from(text.clone())).await?;
    // Where a service cannot create under a condition, two may have written the mark: it is whose it names.
    if service.read(&mark, 0..text.len() as u64).await? != text {
        return Err(exists());
    }
    Ok(Box::new(claim))
}

struct RemoteClaim<S> {
    service: Arc<S>,
    dir: Key,
    token: String,
}

#[async_trait]
impl<S: Service> Claim for RemoteClaim<S> {
    async fn release(self: Box<Self>) -> Result<()> {
        self.service.delete(&mark_of(&self.dir)).await
    }
}

/// The mark stays behind; that its token is not held any more makes it that of a dead claim.
impl<S> Drop for RemoteClaim<S> {
    fn drop(&mut self) {
        held().remove(&self.token);
    }
}
