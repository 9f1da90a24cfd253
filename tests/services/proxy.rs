//! A proxy in front of a real server that does to connections what networks and overloaded services do: cuts, stalls, slows
//! and corrupts them, loses answers, or answers in the server's place.
//!
//! ```ignore
//! let proxy = Proxy::to(&Seaweed::shared().address());
//! let fault = proxy.inject(Fault::drop_reply().operation("CompleteMultipartUpload"));
//! // ... upload through proxy.endpoint() ...
//! assert_eq!(fault.happened(), 1);
//! ```
//!
//! [`Proxy::to`] understands HTTP/1.1: faults are aimed at requests, and offsets count the bytes of bodies. [`Proxy::tcp`]
//! understands nothing: faults are aimed at connections, and offsets count all bytes.

mod exchange;
mod fault;
mod message;
mod pump;
mod random;

pub use fault::{Answer, Fault, Injected};
pub use message::operation;

use fault::Aimed;
use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// A request as the proxy saw it.
#[derive(Debug, Clone)]
pub struct Request {
    /// `PUT`.
    pub method: String,
    /// Without the query, as it was sent.
    pub path: String,
    /// What follows the question mark.
    pub query: String,
    /// The request's head as it was sent.
    pub head: String,
    /// The bytes of the body that came from the client.
    pub request_bytes: u64,
    /// The bytes of the body that were passed on to the client.
    pub response_bytes: u64,
    /// What the client was answered; `None` if it got no answer.
    pub status: Option<u16>,
    /// What the server answered, whatever became of it.
    pub server_status: Option<u16>,
    /// The fault that this request was given.
    pub fault: Option<String>,
}

impl Request {
    /// What S3 calls this request, such as `UploadPart`.
    pub fn operation(&self) -> &'static str {
        operation(&self.method, &self.path, &self.query)
    }
}

/// See the module. Everything is closed when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    upstream: String,
    http: bool,
    faults: Mutex<Vec<Arc<Aimed>>>,
    random: Mutex<Option<random::Random>>,
    log: Mutex<Vec<Request>>,
    /// The sockets of open connections, to close them.
    sockets: Mutex<BTreeMap<u64, Vec<TcpStream>>>,
    next: AtomicU64,
    /// Nothing is accepted for now.
    refusing: AtomicBool,
    over: Mutex<bool>,
    is_over: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// A proxy for the HTTP server at `upstream`, `127.0.0.1:PORT`.
    pub fn to(upstream: &str) -> Self {
        Self::new(upstream, true)
    }

    /// A proxy for any server.
    pub fn tcp(upstream: &str) -> Self {
        Self::new(upstream, false)
    }

    fn new(upstream: &str, http: bool) -> Self {
        let shared = Shared {
            upstream: upstream.to_owned(),
            http,
            faults: Mutex::default(),
            random: Mutex::default(),
            log: Mutex::default(),
            sockets: Mutex::default(),
            next: AtomicU64::default(),
            refusing: AtomicBool::default(),
            over: Mutex::default(),
            is_over: Condvar::default(),
        };
        let listener = loop {
            let [port] = super::tools::free_ports();
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
                break listener;
            }
        };
        let proxy =
            Self { address: listener.local_addr().unwrap(), shared: Arc::new(shared), accepting: Mutex::default() };
        proxy.accept(listener);
        proxy
    }

    fn accept(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        *lock(&self.accepting) = Some(std::thread::spawn(move || {
            for client in listener.incoming() {
                if shared.refusing.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                let shared = Arc::clone(&shared);
                // A connection that breaks is what this is all about: nobody needs to know.
                std::thread::spawn(move || drop(shared.connection(&client)));
            }
        }));
    }

    /// The URL to use instead of the server's, `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address to use instead of the server's, `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Does `fault` from now on. Of several that suit a request the first injected one happens.
    pub fn inject(&self, fault: Fault) -> Injected {
        let aimed = fault.aimed();
        assert!(self.shared.http || aimed.effect.suits_tcp(), "{:?} needs Proxy::to", aimed.effect);
        lock(&self.shared.faults).push(Arc::clone(&aimed));
        Injected(aimed)
    }

    /// Gives each request, with `probability`, a random fault; the same ones for the same `seed` and order of requests.
    pub fn random(&self, seed: u64, probability: f64) {
        *lock(&self.shared.random) = Some(random::Random::new(seed, probability));
    }

    /// No more faults.
    pub fn calm(&self) {
        lock(&self.shared.faults).clear();
        *lock(&self.shared.random) = None;
    }

    /// Refuses connections, and closes those that are open, until [`Proxy::accept_again`].
    pub fn refuse(&self) {
        if self.shared.refusing.swap(true, Ordering::SeqCst) {
            return;
        }
        // Wakes the thread, which then drops its listener.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = lock(&self.accepting).take() {
            thread.join().unwrap();
        }
        self.close_all();
    }

    /// Ends [`Proxy::refuse`].
    pub fn accept_again(&self) {
        if self.shared.refusing.swap(false, Ordering::SeqCst) {
            self.accept(TcpListener::bind(self.address).expect("the proxy's port is still free"));
        }
    }

    /// Every request so far, in the order in which they began. Of [`Proxy::tcp`] there are none.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.log).clone()
    }

    /// How many requests there were of S3's `operation`, such as `UploadPart`.
    pub fn count(&self, operation: &str) -> usize {
        lock(&self.shared.log).iter().filter(|request| request.operation() == operation).count()
    }

    fn close_all(&self) {
        for socket in lock(&self.shared.sockets).values().flatten() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.refuse();
        *lock(&self.shared.over) = true;
        self.shared.is_over.notify_all();
        self.close_all();
    }
}
