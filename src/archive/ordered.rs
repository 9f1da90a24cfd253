//! A pool of threads whose results come back in the order of their inputs.

use crate::error::{Error, ErrorKind, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::BTreeMap;
use std::thread::Scope;

/// The inputs' end of a pool. At most as many inputs are under way as the pool was given permits.
pub(super) struct Feeder<I> {
    inputs: Sender<(u64, I)>,
    permits: Receiver<()>,
    next: u64,
}

/// The results' end of a pool.
pub(super) struct Results<O> {
    results: Receiver<(u64, O)>,
    permits: Sender<()>,
    waiting: BTreeMap<u64, O>,
    next: u64,
}

/// Starts `threads` threads in `scope`; each makes its worker with `make`. `permits` bounds what is in memory.
pub(super) fn pool<'scope, I, O, W, M>(
    scope: &'scope Scope<'scope, '_>,
    threads: usize,
    permits: usize,
    make: M,
) -> Result<(Feeder<I>, Results<O>)>
where
    I: Send + 'scope,
    O: Send + 'scope,
    W: FnMut(I) -> O + Send + 'scope,
    M: Fn() -> Result<W>,
{
    let (inputs, work) = bounded::<(u64, I)>(permits);
    let (done, results) = bounded(permits);
    let (give, take) = bounded(permits);
    for _ in 0..permits {
        // The channel was made for exactly so many.
        let _ = give.send(());
    }
    for _ in 0..threads.max(1) {
        let (work, done, mut worker) = (work.clone(), done.clone(), make()?);
        scope.spawn(move || {
            for (number, input) in work {
                if done.send((number, worker(input))).is_err() {
                    break;
                }
            }
        });
    }
    let feeder = Feeder { inputs, permits: take, next: 0 };
    Ok((feeder, Results { results, permits: give, waiting: BTreeMap::new(), next: 0 }))
}

impl<I> Feeder<I> {
    /// Hands in the next input; waits while too much is under way. An error means that nobody takes results any more.
    pub(super) fn feed(&mut self, input: I) -> Result<()> {
        let gone = || Error::new(ErrorKind::Failed, "the pipeline stopped early");
        self.permits.recv().map_err(|_| gone())?;
        self.inputs.send((self.next, input)).map_err(|_| gone())?;
        self.next += 1;
        Ok(())
    }
}

impl<O> Iterator for Results<O> {
    type Item = O;

    fn next(&mut self) -> Option<O> {
        loop {
            if let Some(result) = self.waiting.remove(&self.next) {
                self.next += 1;
                // Nobody takes the permit once the inputs have ended.
                let _ = self.permits.try_send(());
                return Some(result);
            }
            let (number, result) = self.results.recv().ok()?;
            self.waiting.insert(number, result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_an_early_end_hangs_nobody() {
        let doubled: Vec<u64> = std::thread::scope(|scope| {
            let (mut feeder, results) = pool(scope, 3, 5, || Ok(|n: u64| n * 2)).unwrap();
            scope.spawn(move || (0..1000).for_each(|n| feeder.feed(n).unwrap()));
            results.collect()
        });
        assert_eq!(doubled, (0..1000).map(|n| n * 2).collect::<Vec<_>>());
        std::thread::scope(|scope| {
            let (mut feeder, mut results) = pool(scope, 2, 4, || Ok(|n: u64| n)).unwrap();
            let fed = scope.spawn(move || (0..1000).take_while(|&n| feeder.feed(n).is_ok()).count());
            assert_eq!(results.next(), Some(0));
            drop(results);
            assert!(fed.join().unwrap() < 1000);
        });
    }
}
