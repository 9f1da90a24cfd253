//! Serving a connection: passing requests on and answers back, and what goes wrong with them.

use super::fault::{Answer, Effect};
use super::message::{Head, Incoming, Length};
use super::pump::{Copied, Plan, copy_body};
use super::{Request, Shared, lock};
use std::io::{Result, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;

impl Shared {
    /// Serves one connection of a client until it ends.
    pub(super) fn connection(&self, client: &TcpStream) -> Result<()> {
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
