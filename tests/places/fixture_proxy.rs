//! The fixture itself: the proxy really does what its faults say.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::services::{Answer, Fault, Proxy};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Bytes that differ everywhere.
fn bytes(length: usize) -> Vec<u8> {
    (0..length as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u8).collect()
}

/// A server that keeps what is PUT, for looking at what a proxy passes on; it answers GET with it.
struct Keeper {
    address: String,
    kept: std::sync::mpsc::Receiver<Vec<u8>>,
}

impl Keeper {
    /// Answers each request, one a connection; tells what it was sent, as far as it came.
    fn new(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, kept) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, tell, answer) = (stream.unwrap(), tell.clone(), answer.clone());
                std::thread::spawn(move || {
                    let mut got = Vec::new();
                    let mut buffer = [0; 4096];
                    // The end of the body is the word "end", or the end of the connection.
                    while !got.ends_with(b"end") && !got.starts_with(b"GET") {
                        match stream.read(&mut buffer) {
                            Ok(0) | Err(_) => break,
                            Ok(count) => got.extend_from_slice(&buffer[..count]),
                        }
                    }
                    let whole = got.ends_with(b"end") || got.starts_with(b"GET");
                    let _ = tell.send(got);
                    if whole {
                        let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
                        let _ = stream.write_all(&answer);
                    }
                });
            }
        });
        Self { address, kept }
    }

    /// The body of the next request that came.
    fn body(&self) -> Vec<u8> {
        let got = self.kept.recv_timeout(Duration::from_secs(20)).expect("the server was asked");
        let at = got.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        got[at + 4..].to_vec()
    }
}

/// Sends one request and gives all that comes back until the connection ends, or until `limit`: then `None`.
fn ask(address: &str, head: &str, body: &[u8], limit: Duration) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(limit)).unwrap();
    let sent = stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
    let _ = sent.and_then(|()| stream.write_all(body));
    let (mut got, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Some(got),
            Ok(count) => got.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return None,
            Err(_) => return Some(got),
        }
        if let Some(at) = got.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&got[..at]).to_lowercase();
            let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
            if length.is_some_and(|length: usize| got.len() >= at + 4 + length) {
                return Some(got);
            }
        }
    }
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

fn sent() -> Vec<u8> {
    let mut body = bytes(50_000);
    body.extend(b"end");
    body
}

fn body_of(answer: &[u8]) -> &[u8] {
    let at = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    &answer[at + 4..]
}

#[test]
fn a_cut_request_arrives_in_part_and_is_not_answered() {
    let server = Keeper::new(b"thanks".to_vec());
    let proxy = Proxy::to(&server.address);
    let fault = proxy.inject(Fault::cut_request_after(10_000).method("PUT"));
    assert_eq!(ask(&proxy.address(), "PUT /x HTTP/1.1", &sent(), LONG).unwrap(), b"");
    assert_eq!(server.body(), sent()[..10_000]);
    assert_eq!(fault.happened(), 1);
    // Once: the next one passes.
    let answer = ask(&proxy.address(), "PUT /x HTTP/1.1", &sent(), LONG).unwrap();
    assert_eq!(body_of(&answer), b"thanks");
    assert_eq!(server.body(), sent());
    let log = proxy.requests();
    assert_eq!((log[0].request_bytes, log[0].status, log[0].server_status), (10_000, None, None));
    assert_eq!((log[1].request_bytes, log[1].status, log[1].response_bytes), (50_003, Some(200), 6));
}

#[test]
fn a_cut_or_corrupted_answer_comes_so() {
    let answer = bytes(50_000);
    let server = Keeper::new(answer.clone());
    let proxy = Proxy::to(&server.address);
    proxy.inject(Fault::cut_response_after(700));
    let got = ask(&proxy.address(), "GET /x HTTP/1.1", b"", LONG).unwrap();
    assert_eq!(body_of(&got), &answer[..700]);
    proxy.inject(Fault::corrupt_response_at(40_000));
    let got = ask(&proxy.address(), "GET /x HTTP/1.1", b"", LONG).unwrap();
    let differs: Vec<usize> = (0..answer.len()).filter(|i| body_of(&got)[*i] != answer[*i]).collect();
    assert_eq!(differs, [40_000]);
    proxy.inject(Fault::cut_response_after(u64::MAX));
    let got = ask(&proxy.address(), "GET /x HTTP/1.1", b"", LONG).unwrap();
    assert_eq!(body_of(&got), &answer[..49_999], "never the last byte");
}

#[test]
fn a_corrupted_request_differs_in_one_byte() {
    let server = Keeper::new(b"thanks".to_vec());
    let proxy = Proxy::to(&server.address);
    proxy.inject(Fault::corrupt_request_at(30_000).path("x"));
    assert!(ask(&proxy.address(), "PUT /x HTTP/1.1", &sent(), LONG).is_some());
    let got = server.body();
    let differs: Vec<usize> = (0..got.len()).filter(|i| got[*i] != sent()[*i]).collect();
    assert_eq!(differs, [30_000]);
}

#[test]
fn a_stall_keeps_the_connection_open_and_brings_nothing_more() {
    let server = Keeper::new(bytes(50_000));
    let proxy = Proxy::to(&server.address);
    proxy.inject(Fault::stall_response_after(700));
    assert_eq!(ask(&proxy.address(), "GET /x HTTP/1.1", b"", SHORT), None);
    proxy.inject(Fault::stall_request_after(10_000));
    assert_eq!(ask(&proxy.address(), "PUT /x HTTP/1.1", &sent(), SHORT), None);
    server.body();
    assert!(server.kept.try_recv().is_err(), "the server still waits for the rest");
    drop(proxy);
    assert_eq!(server.body(), sent()[..10_000]);
}

#[test]
fn a_dropped_reply_was_a_request_that_arrived() {
    let server = Keeper::new(b"thanks".to_vec());
    let proxy = Proxy::to(&server.address);
    proxy.inject(Fault::drop_reply());
    assert_eq!(ask(&proxy.address(), "PUT /x HTTP/1.1", &sent(), LONG).unwrap(), b"");
    assert_eq!(server.body(), sent());
    assert_eq!((proxy.requests()[0].status, proxy.requests()[0].server_status), (None, Some(200)));
}

#[test]
fn a_late_request_arrives_after_its_client_has_gone() {
    let server = Keeper::new(b"thanks".to_vec());
    let proxy = Proxy::to(&server.address);
    proxy.inject(Fault::late(2 * SHORT));
    assert_eq!(ask(&proxy.address(), "PUT /x HTTP/1.1", &sent(), SHORT), None);
    assert!(server.kept.try_recv().is_err(), "not yet");
    assert_eq!(server.body(), sent());
}

#[test]
fn a_slow_proxy_is_slow() {
    let server = Keeper::new(bytes(50_000));
    let proxy = Proxy::to(&server.address);
    proxy.inject(Fault::slow(100_000));
    let begin = Instant::now();
    let got = ask(&proxy.address(), "GET /x HTTP/1.1", b"", LONG).unwrap();
    assert_eq!(body_of(&got).len(), 50_000);
    assert!(begin.elapsed() >= Duration::from_millis(450), "{:?}", begin.elapsed());
}

#[test]
fn answers_are_given_in_the_server_s_place_replaced_and_edited() {
    let server = Keeper::new(b"thanks".to_vec());
    let proxy = Proxy::to(&server.address);
    proxy.inject(Fault::s3(503, "SlowDown").query("uploadId").nth(2).times(2));
    let ask = || {
        let answer = ask(&proxy.address(), "PUT /x?uploadId=7 HTTP/1.1", &sent(), LONG).unwrap();
        let status: u16 = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, String::from_utf8(body_of(&answer).to_vec()).unwrap())
    };
    assert_eq!(ask(), (200, "thanks".to_owned()));
    for _ in 0..2 {
        let (status, body) = ask();
        assert!(status == 503 && body.contains("<Code>SlowDown</Code>"), "{status} {body}");
    }
    assert_eq!(ask(), (200, "thanks".to_owned()));
    assert_eq!([server.body(), server.body()], [sent(), sent()]);
    assert!(server.kept.try_recv().is_err(), "the server heard of two requests only");
    proxy.inject(Fault::replace(Answer::s3(200, "InternalError")));
    assert!(ask().1.contains("<Error>"));
    assert_eq!(server.body(), sent());
    proxy.inject(Fault::edit(|answer| Answer { body: answer.text().replace('t', "T").into_bytes(), ..answer }));
    assert_eq!(ask(), (200, "Thanks".to_owned()));
}

#[test]
fn refused_connections_are_refused_until_they_are_accepted_again() {
    let server = Keeper::new(b"thanks".to_vec());
    let proxy = Proxy::to(&server.address);
    proxy.refuse();
    let refused = TcpStream::connect(proxy.address()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    proxy.accept_again();
    let got = ask(&proxy.address(), "GET /x HTTP/1.1", b"", LONG).unwrap();
    assert_eq!(body_of(&got), b"thanks");
}

#[test]
fn connections_that_are_not_understood_are_cut_all_the_same() {
    let server = Keeper::new(bytes(50_000));
    let proxy = Proxy::tcp(&server.address);
    proxy.inject(Fault::cut_response_after(100).nth(2));
    let whole = ask(&proxy.address(), "GET /x HTTP/1.1", b"", LONG).unwrap();
    assert_eq!(body_of(&whole).len(), 50_000);
    assert_eq!(ask(&proxy.address(), "GET /x HTTP/1.1", b"", LONG).unwrap(), whole[..100]);
    proxy.inject(Fault::drop_reply());
    assert_eq!(ask(&proxy.address(), "PUT /x HTTP/1.1", &sent(), LONG).unwrap(), b"");
    assert_eq!([server.body(), server.body(), server.body()].last().unwrap(), &sent());
}

#[test]
fn random_faults_come_again_with_their_seed() {
    let faults = |seed| {
        let server = Keeper::new(b"thanks".to_vec());
        let proxy = Proxy::to(&server.address);
        proxy.random(seed, 0.3);
        for _ in 0..40 {
            ask(&proxy.address(), "PUT /bucket/x HTTP/1.1", &sent(), SHORT);
        }
        proxy.requests().into_iter().map(|request| request.fault).collect::<Vec<_>>()
    };
    let (one, other) = (faults(1), faults(2));
    assert!(one == faults(1) && one != other);
    let happened = one.iter().flatten().count();
    assert!((4..=24).contains(&happened), "{happened} of 40");
    let proxy = Proxy::to("127.0.0.1:1");
    proxy.random(1, 1.0);
    proxy.calm();
    assert_eq!(ask(&proxy.address(), "PUT /bucket/x HTTP/1.1", &sent(), LONG).unwrap(), b"");
    assert_eq!(proxy.requests()[0].fault, None);
}
