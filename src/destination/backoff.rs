//! When to try again: after longer and longer pauses, never for ever, and only what may help.

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The first pause. Each further one is twice as long, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(250);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);

/// Shorter hitches than this are nobody's business.
const QUIET: Duration = Duration::from_secs(4);

/// How long one piece of cleaning up may take once a stop was asked for.
const CLEANING: Duration = Duration::from_secs(20);

/// How patient a destination is with its service, and what makes it stop.
///
/// Only errors of kind `Unavailable` are tried again: a wrong password does not become right. A request to stop ends the
/// attempt and the waiting at once; what is begun after it, which is cleaning up, is tried once and for 20 seconds.
#[derive(Clone)]
pub struct Backoff {
    total: Duration,
    cancel: Cancel,
    notice: Option<Arc<Notice>>,
}

/// Hears of an error that will be tried again after the pause.
type Notice = dyn Fn(&Error, Duration) + Send + Sync;

impl Backoff {
    /// Gives each piece of work up when `total` has passed since its first attempt.
    pub fn new(total: Duration, cancel: Cancel) -> Self {
        Self { total, cancel, notice: None }
    }

    /// Calls `notice` with each error that is tried again, once the waiting is long enough for somebody to wonder.
    #[must_use]
    pub fn telling(self, notice: impl Fn(&Error, Duration) + Send + Sync + 'static) -> Self {
        Self { notice: Some(Arc::new(notice)), ..self }
    }

    /// Runs `attempt` until it succeeds, fails for good, or time is up; `attempt` is told how often it was tried before.
    pub async fn run<T, F>(&self, attempt: impl FnMut(u32) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.tries(attempt, Duration::ZERO).await
    }

    /// The same for what makes something visible: an attempt that was begun when a stop is asked for is not dropped, for
    /// then nobody would know what came of it, but has 20 seconds to end.
    pub async fn run_to_the_end<T, F>(&self, attempt: impl FnMut(u32) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.tries(attempt, CLEANING).await
    }

    async fn tries<T, F>(&self, mut attempt: impl FnMut(u32) -> F, grace: Duration) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        if self.cancel.is_cancelled() {
            let limited = tokio::time::timeout(CLEANING, attempt(0)).await;
            return limited.unwrap_or_else(|_| Err(self.cancel.error()));
        }
        let begin = Instant::now();
        let mut tried = 0;
        loop {
            let running = attempt(tried);
            tokio::pin!(running);
            let result = tokio::select! {
                result = &mut running => result,
                () = self.cancel.cancelled() => match tokio::time::timeout(grace, running).await {
                    Ok(ended) if !grace.is_zero() => return ended,
                    _ => return Err(self.cancel.error()),
                },
            };
            tried += 1;
            let error = match result {
                Err(error) if error.kind() == ErrorKind::Unavailable => error,
                other => return other,
            };
            let pause = pause(tried);
            if begin.elapsed() + pause >= self.total {
                return Err(given_up(error, tried, begin.elapsed()));
            }
            if let Some(notice) = self.notice.as_ref().filter(|_| begin.elapsed() + pause >= QUIET) {
                notice(&error, pause);
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.cancel.cancelled() => return Err(self.cancel.error()),
            }
        }
    }
}

impl std::fmt::Debug for Backoff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backoff").field("total", &self.total).finish_non_exhaustive()
    }
}

/// The pause after `tried` attempts: a random part of the longest one for that number, at least half of it, so that many
/// clients that failed together do not come back together.
fn pause(tried: u32) -> Duration {
    let whole = FIRST.saturating_mul(1 << tried.saturating_sub(1).min(16)).min(LONGEST);
    let random = crate::id::random_u16().map_or(0.5, |random| f64::from(random) / f64::from(u16::MAX));
    whole.mul_f64(0.5 + random / 2.0)
}

fn given_up(error: Error, tried: u32, after: Duration) -> Error {
    if tried < 2 || error.hint_text().is_some() {
        return error;
    }
    error.hint(format!("{tried} attempts in {} s failed; try again later", after.as_secs().max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cause;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn fails(kind: ErrorKind) -> Error {
        Error::new(kind, "no answer")
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_help_is_tried_again_and_what_cannot_is_not() {
        let backoff = Backoff::new(Duration::from_secs(60), Cancel::new());
        let count = AtomicU32::new(0);
        let third_time = async |tried| {
            count.fetch_add(1, Ordering::Relaxed);
            if tried < 2 { Err(fails(ErrorKind::Unavailable)) } else { Ok(tried) }
        };
        assert_eq!(backoff.run(third_time).await.unwrap(), 2);
        assert_eq!(count.load(Ordering::Relaxed), 3);
        let refused = async |tried| if tried == 0 { Err::<(), _>(fails(ErrorKind::PermissionDenied)) } else { Ok(()) };
        assert_eq!(backoff.run(refused).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_in_time_and_says_how_often_it_tried() {
        let begin = Instant::now();
        let backoff = Backoff::new(Duration::from_secs(300), Cancel::new());
        let error = backoff.run(async |_| Err::<(), _>(fails(ErrorKind::Unavailable))).await.unwrap_err();
        assert!(begin.elapsed() <= Duration::from_secs(300) && begin.elapsed() > Duration::from_secs(200));
        assert!(error.hint_text().unwrap().contains("attempts in"), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_makes_something_visible_is_not_dropped_by_a_stop() {
        let cancel = Cancel::new();
        let backoff = Backoff::new(Duration::from_secs(3600), cancel.clone());
        let lasts = |seconds| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok(7)
        };
        let stop = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            cancel.cancel(Cause::Interrupt);
        };
        let (ended, ()) = tokio::join!(backoff.run_to_the_end(|_| lasts(10)), stop);
        assert_eq!(ended.unwrap(), 7);
        let cancel = Cancel::new();
        let backoff = Backoff::new(Duration::from_secs(3600), cancel.clone());
        let stop = async { cancel.cancel(Cause::Interrupt) };
        let (given_up, ()) = tokio::join!(backoff.run_to_the_end(|_| lasts(100)), stop);
        assert_eq!(given_up.unwrap_err().kind(), ErrorKind::Interrupted);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_waiting_at_once_and_cleaning_up_is_tried_once() {
        let cancel = Cancel::new();
        let backoff = Backoff::new(Duration::from_secs(3600), cancel.clone());
        let (stopped, ()) = tokio::join!(backoff.run(async |_| std::future::pending::<Result<()>>().await), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            cancel.cancel(Cause::Terminate);
        });
        assert_eq!(stopped.unwrap_err().kind(), ErrorKind::Terminated);
        let begin = Instant::now();
        assert!(backoff.run(async |_| Err::<(), _>(fails(ErrorKind::Unavailable))).await.is_err());
        assert_eq!(begin.elapsed(), Duration::ZERO);
        assert_eq!(backoff.run(async |_| Ok(7)).await.unwrap(), 7);
    }
}
