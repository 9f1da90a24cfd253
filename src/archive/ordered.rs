//! Pools of threads whose results come back in the order of their inputs.
//!
//! A *lane* is one ordered stream of inputs and results. A pool of its own serves one lane for as long as a scope lasts; a
//! shared one serves the lanes of several streams at once, so that a parallel dump has no more threads than a plain one.

use crate::error::{Context, Error, ErrorKind, Result};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::collections::BTreeMap;
use std::thread::Scope;

/// The inputs' end of a lane. At most as many inputs are under way as the lane was given permits.
pub(super) struct Feeder<I, O> {
    work: Sender<Job<I, O>>,
    done: Sender<(u64, Option<O>)>,
    permits: Receiver<()>,
    next: u64,
}

/// The results' end of a lane.
pub(super) struct Results<O> {
    results: Receiver<(u64, Option<O>)>,
    permits: Sender<()>,
    waiting: BTreeMap<u64, Option<O>>,
    next: u64,
}

/// One input, its number in its lane, and where the result goes.
struct Job<I, O> {
    number: u64,
    input: I,
    done: Sender<(u64, Option<O>)>,
}

/// Threads that serve several lanes. They end when the pool and its lanes are gone.
pub(super) struct Pool<I, O> {
    work: Sender<Job<I, O>>,
}

impl<I: Send + 'static, O: Send + 'static> Pool<I, O> {
    /// Starts `threads` threads of the given name; each makes its worker with `make`.
    pub(super) fn start<W, M>(name: &str, threads: usize, make: M) -> Result<Self>
    where
        W: FnMut(I) -> O + Send + 'static,
        M: Fn() -> Result<W>,
    {
        // What waits is bounded by the lanes' permits.
        let (work, jobs) = unbounded();
        for _ in 0..threads.max(1) {
            let (jobs, worker) = (jobs.clone(), make()?);
            let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || serve(&jobs, worker));
            spawned.doing(|| format!("cannot start the thread {name}"))?;
        }
        Ok(Self { work })
    }

    /// A new lane with at most `permits` inputs under way.
    pub(super) fn lane(&self, permits: usize) -> (Feeder<I, O>, Results<O>) {
        lane(self.work.clone(), permits)
    }
}

fn lane<I, O>(work: Sender<Job<I, O>>, permits: usize) -> (Feeder<I, O>, Results<O>) {
    let permits = permits.max(1);
    let (done, results) = bounded(permits);
    let (give, take) = bounded(permits);
    for _ in 0..permits {
        // The channel was made for exactly so many.
        let _ = give.send(());
    }
    let feeder = Feeder { work, done, permits: take, next: 0 };
    (feeder, Results { results, permits: give, waiting: BTreeMap::new(), next: 0 })
}

/// Works until nobody can send jobs any more.
fn serve<I, O>(jobs: &Receiver<Job<I, O>>, mut worker: impl FnMut(I) -> O) {
    for Job { number, input, done } in jobs {
        let mut answer = Answer { number, output: None, done };
        answer.output = Some(worker(input));
    }
}

/// The answer to a job, given when it is dropped: by a worker that panicked too, so that nobody waits for it for ever.
struct Answer<O> {
    number: u64,
    output: Option<O>,
    done: Sender<(u64, Option<O>)>,
}

impl<O> Drop for Answer<O> {
    fn drop(&mut self) {
        // A lane that takes no results has ended; the others have not.
        let _ = self.done.send((self.number, self.output.take()));
    }
}

/// Starts `threads` threads in `scope` for one lane; each makes its worker with `make`. `permits` bounds what is in memory.
pub(super) fn pool<'scope, I, O, W, M>(
    scope: &'scope Scope<'scope, '_>,
    threads: usize,
    permits: usize,
    make: M,
) -> Result<(Feeder<I, O>, Results<O>)>
where
    I: Send + 'scope,
    O: Send + 'scope,
    W: FnMut(I) -> O + Send + 'scope,
    M: Fn() -> Result<W>,
{
    let (work, jobs) = unbounded();
    for _ in 0..threads.max(1) {
        let (jobs, worker) = (jobs.clone(), make()?);
        scope.spawn(move || serve(&jobs, worker));
    }
    Ok(lane(work, permits))
}

impl<I, O> Feeder<I, O> {
    /// Hands in the next input; waits while too much is under way. An error means that nobody takes results any more.
    pub(super) fn feed(&mut self, input: I) -> Result<()> {
        let gone = || Error::new(ErrorKind::Failed, "the pipeline stopped early");
        self.permits.recv().map_err(|_| gone())?;
        let job = Job { number: self.next, input, done: self.done.clone() };
        self.work.send(job).map_err(|_| gone())?;
        self.next += 1;
        Ok(())
    }
}

/// Ends early at an input whose worker panicked: compare what came with what was handed in.
impl<O> Iterator for Results<O> {
    type Item = O;

    fn next(&mut self) -> Option<O> {
        loop {
            if let Some(result) = self.waiting.remove(&self.next) {
                self.next += 1;
                // Nobody takes the permit once the inputs have ended.
                let _ = self.permits.try_send(());
                return result;
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
    fn lanes_of_one_pool_keep_their_order_and_end_alone() {
        let pool = Pool::start("test", 2, || Ok(|n: u64| n + 1)).unwrap();
        let lanes: Vec<_> = (0..4).map(|_| pool.lane(3)).collect();
        std::thread::scope(|scope| {
            for (place, (mut feeder, results)) in lanes.into_iter().enumerate() {
                scope.spawn(move || (0..500).all(|n| feeder.feed(n).is_ok()));
                scope.spawn(move || {
                    // The first one stops early and must not hold up the others.
                    let wanted = if place == 0 { 5 } else { 500 };
                    assert_eq!(results.take(wanted).collect::<Vec<_>>(), (1..=wanted as u64).collect::<Vec<_>>());
                });
            }
        });
    }

    #[test]
    fn a_worker_that_panics_ends_its_lane_and_no_other() {
        let pool = Pool::start("test", 2, || Ok(|n: u64| if n == 3 { panic!("on purpose") } else { n })).unwrap();
        let ((mut bad, results), (mut good, others)) = (pool.lane(2), pool.lane(2));
        std::thread::scope(|scope| {
            let fed = scope.spawn(move || (0..100).take_while(|&n| bad.feed(n).is_ok()).count());
            assert_eq!(results.collect::<Vec<_>>(), [0, 1, 2]);
            assert!(fed.join().unwrap() < 100);
            scope.spawn(move || (10..100).all(|n| good.feed(n).is_ok()));
            assert_eq!(others.count(), 90);
        });
    }

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
