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

mod fault;
mod message;
mod pump;
mod random;

pub use fault::{Answer, Fault, Injected};
pub use message::operation;

use fault::{Aimed, Effect};
use message::{Head, Incoming, Length};
use pump::{Copied, Plan, copy_body};
use std::collections::BTreeMap;
use std::io::{Result, Write};
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

impl Shared {
    /// Serves one connection of a client until it ends.
    fn connection(&self, client: &TcpStream) -> Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.sockets).insert(number, vec![client.try_clone()?]);
        let served = if self.http { self.http(number, client) } else { self.tcp(number, client) };
        let _ = client.shutdown(Shutdown::Both);
        for socket in lock(&self.sockets).remove(&number).iter().flatten() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        served
    }

    fn connect(&self, number: u64) -> Result<TcpStream> {
        let server = TcpStream::connect(&self.upstream)?;
        server.set_nodelay(true)?;
        if let Some(sockets) = lock(&self.sockets).get_mut(&number) {
            sockets.truncate(1);
            sockets.push(server.try_clone()?);
        }
        Ok(server)
    }

    /// Keeps the connection open without doing anything with it.
    fn stall(&self) {
        let over = lock(&self.over);
        drop(self.is_over.wait_while(over, |over| !*over));
    }

    /// The fault for a request, or in raw mode for a connection.
    fn pick(&self, head: &Head) -> Option<Effect> {
        let aimed = lock(&self.faults).iter().find(|aimed| aimed.takes(head)).cloned();
        let random = || lock(&self.random).as_mut().and_then(|random| random.effect(head));
        aimed.map(|aimed| aimed.effect.clone()).or_else(random)
    }

    fn tcp(&self, number: u64, client: &TcpStream) -> Result<()> {
        let effect = self.pick(&Head::default());
        let server = self.connect(number)?;
        let [up, down] = Plan::both(effect.as_ref());
        let copy = |from: &TcpStream, to: &TcpStream, plan: &Plan| {
            let copied = copy_body(&mut Incoming::new(from)?, &mut to.try_clone()?, Length::ToEnd, plan, &mut |_| {});
            match copied {
                Ok(Copied::Whole) => to.shutdown(Shutdown::Write),
                Ok(Copied::Stalled) => {
                    self.stall();
                    Ok(())
                }
                Ok(Copied::Cut) | Err(_) => {
                    let _ = client.shutdown(Shutdown::Both);
                    server.shutdown(Shutdown::Both)
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| copy(client, &server, &up));
            copy(&server, client, &down)
        })
    }

    fn http(&self, number: u64, client: &TcpStream) -> Result<()> {
        client.set_nodelay(true)?;
        let mut incoming = Incoming::new(client)?;
        while let Some(head) = incoming.head()? {
            let effect = self.pick(&head);
            let entry = self.note(&head, effect.as_ref());
            let goes_on = match effect {
                Some(Effect::Answer(answer)) => {
                    if !head.expects_continue() {
                        let discard = &mut std::io::sink();
                        copy_body(&mut incoming, discard, head.request_length(), &Plan::default(), &mut |bytes| {
                            self.update(entry, |request| request.request_bytes += bytes);
                        })?;
                    }
                    self.answer(entry, client, &answer)?;
                    !head.expects_continue()
                }
                effect => self.exchange(number, entry, &head, &mut incoming, client, effect.as_ref())?,
            };
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Passes a request on and its answer back; says whether the client's connection may be used again.
    fn exchange(
        &self,
        number: u64,
        entry: usize,
        head: &Head,
        incoming: &mut Incoming,
        client: &TcpStream,
        effect: Option<&Effect>,
    ) -> Result<bool> {
        let [up, down] = Plan::both(effect);
        let mut server = self.connect(number)?;
        let mut from_server = Incoming::new(&server)?;
        if up.needs_a_body() && head.request_length() == Length::Fixed(0) {
            return Ok(self.without_body(&up));
        }
        server.write_all(&head.raw)?;
        std::thread::scope(|scope| {
            let sending = scope.spawn(move || {
                let counted = &mut |bytes| self.update(entry, |request| request.request_bytes += bytes);
                let copied = copy_body(incoming, &mut server, head.request_length(), &up, counted);
                if !matches!(copied, Ok(Copied::Whole | Copied::Stalled)) {
                    // Wakes whoever waits for the answer.
                    let _ = server.shutdown(Shutdown::Both);
                }
                copied
            });
            let answered = self.pass_back(entry, head, &mut from_server, client, effect, &down);
            if !matches!(answered, Ok(Copied::Whole)) {
                let _ = client.shutdown(Shutdown::Both);
            }
            let sent = sending.join().expect("copying does not panic");
            if matches!(sent, Ok(Copied::Stalled)) {
                self.stall();
            }
            Ok(matches!((sent, answered?), (Ok(Copied::Whole), Copied::Whole)))
        })
    }

    fn without_body(&self, plan: &Plan) -> bool {
        if plan.stall_after.is_some() {
            self.stall();
        }
        false
    }

    fn pass_back(
        &self,
        entry: usize,
        request: &Head,
        from_server: &mut Incoming,
        mut client: &TcpStream,
        effect: Option<&Effect>,
        plan: &Plan,
    ) -> Result<Copied> {
        let (head, status) = loop {
            let Some(head) = from_server.head()? else { return Ok(Copied::Cut) };
            let status = head.status();
            if status >= 200 {
                break (head, status);
            }
            client.write_all(&head.raw)?;
        };
        self.update(entry, |request| request.server_status = Some(status));
        let length = head.response_length(&request.method, status);
        let mut read_all = || {
            let mut body = Vec::new();
            copy_body(from_server, &mut body, length, &Plan::default(), &mut |_| {}).map(|_| body)
        };
        match effect {
            Some(Effect::DropReply) => {
                read_all()?;
                return Ok(Copied::Cut);
            }
            Some(Effect::Replace(answer)) => {
                read_all()?;
                self.answer(entry, client, answer)?;
                return Ok(Copied::Whole);
            }
            Some(Effect::Edit(edit)) => {
                let answer = edit(Answer { status, headers: head.headers.clone(), body: read_all()? });
                self.answer(entry, client, &answer)?;
                return Ok(Copied::Whole);
            }
            _ => {}
        }
        if plan.needs_a_body() && length == Length::Fixed(0) {
            return Ok(if plan.stall_after.is_some() { self.stalled() } else { Copied::Cut });
        }
        self.update(entry, |request| request.status = Some(status));
        client.write_all(&head.raw)?;
        let copied = copy_body(from_server, &mut client, length, plan, &mut |bytes| {
            self.update(entry, |request| request.response_bytes += bytes);
        })?;
        Ok(match copied {
            Copied::Stalled => self.stalled(),
            Copied::Whole if length == Length::ToEnd || head.closes() => Copied::Cut,
            other => other,
        })
    }

    fn stalled(&self) -> Copied {
        self.stall();
        Copied::Cut
    }

    fn answer(&self, entry: usize, mut client: &TcpStream, answer: &Answer) -> Result<()> {
        self.update(entry, |request| {
            request.status = Some(answer.status);
            request.response_bytes = answer.body.len() as u64;
        });
        client.write_all(&answer.bytes())
    }

    fn note(&self, head: &Head, effect: Option<&Effect>) -> usize {
        let mut log = lock(&self.log);
        log.push(Request {
            method: head.method.clone(),
            path: head.path.clone(),
            query: head.query.clone(),
            head: String::from_utf8_lossy(&head.raw).into_owned(),
            request_bytes: 0,
            response_bytes: 0,
            status: None,
            server_status: None,
            fault: effect.map(|effect| format!("{effect:?}")),
        });
        log.len() - 1
    }

    fn update(&self, entry: usize, change: impl FnOnce(&mut Request)) {
        if let Some(request) = lock(&self.log).get_mut(entry) {
            change(request);
        }
    }
}
