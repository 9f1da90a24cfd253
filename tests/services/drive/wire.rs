//! Connections that the server can cut or freeze, at once or after some bytes of the reply: what a broken network does.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

const UNLIMITED: i64 = i64::MAX;

/// One connection, as a request's handler sees it.
#[derive(Clone)]
pub(super) struct Line(Arc<Limit>);

struct Limit {
    /// How many bytes may still be sent.
    left: AtomicI64,
    /// What happens then.
    end: Mutex<End>,
    /// Who waits on a frozen line.
    waiting: Mutex<Vec<Waker>>,
}

#[derive(Clone, Copy)]
pub(super) enum End {
    Cut,
    Freeze,
}

impl Line {
    /// The connection ends after `bytes` more bytes were sent to the client, those of headers included.
    pub(super) fn end_after(&self, bytes: u64, end: End) {
        *self.0.end.lock().unwrap() = end;
        self.0.left.store(i64::try_from(bytes).unwrap(), Ordering::SeqCst);
    }
}

/// Accepts connections that can be cut.
pub(super) struct Lines(pub TcpListener);

pub(super) struct Wire {
    stream: TcpStream,
    line: Line,
}

impl Listener for Lines {
    type Io = Wire;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Wire, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        stream.set_nodelay(true).unwrap();
        let limit =
            Limit { left: AtomicI64::new(UNLIMITED), end: Mutex::new(End::Cut), waiting: Mutex::new(Vec::new()) };
        (Wire { stream, line: Line(Arc::new(limit)) }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Lines>> for Line {
    fn connect_info(incoming: IncomingStream<'_, Lines>) -> Self {
        incoming.io().line.clone()
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let limit = Arc::clone(&self.line.0);
        let left = limit.left.load(Ordering::SeqCst);
        if left == UNLIMITED {
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        }
        if left == 0 {
            return match *limit.end.lock().unwrap() {
                End::Cut => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                End::Freeze => {
                    limit.waiting.lock().unwrap().push(cx.waker().clone());
                    Poll::Pending
                }
            };
        }
        let some = bytes.len().min(usize::try_from(left).unwrap());
        let sent = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..some]))?;
        limit.left.fetch_sub(i64::try_from(sent).unwrap(), Ordering::SeqCst);
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
