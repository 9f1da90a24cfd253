//! The other end of a browser's redirect: a listener on this computer that hears one answer (RFC 8252, section 7.3).

use crate::error::{Context, Error, ErrorKind, Result};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// The longest request that is read, in bytes; a code has a few hundred.
const LARGEST_REQUEST: usize = 16 << 10;

/// How long one connection may take to send its request. Browsers open some without ever sending anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the redirect said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redirect {
    pub(super) code: Option<String>,
    pub(super) state: Option<String>,
    pub(super) error: Option<String>,
}

/// Reads a redirect's URL, or the part of it from the path on; `None` if it holds no answer.
pub(super) fn read_redirect(url: &str) -> Option<Redirect> {
    let base = reqwest::Url::parse("http://127.0.0.1/").ok()?;
    let url = base.join(url.trim()).ok()?;
    let get = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let redirect = Redirect { code: get("code"), state: get("state"), error: get("error") };
    (redirect.code.is_some() || redirect.error.is_some()).then_some(redirect)
}

/// A listener on a port of its own.
pub(super) struct Loopback {
    listener: TcpListener,
    port: u16,
}

impl Loopback {
    pub(super) async fn listen() -> Result<Self> {
        let doing = || "cannot listen on this computer for the browser's answer".to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.doing(doing)?;
        let port = listener.local_addr().doing(doing)?.port();
        Ok(Self { listener, port })
    }

    /// Where the browser is to be sent.
    pub(super) fn uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits for the answer. Whatever else is asked for, icons among it, is not found here. The browser shows that it worked
    /// if the answer has the right `state` and a code.
    pub(super) async fn redirect(&self, state: &str) -> Result<Redirect> {
        let (tell, mut told) = mpsc::channel(1);
        loop {
            tokio::select! {
                Some(redirect) = told.recv() => return Ok(redirect),
                accepted = self.listener.accept() => {
                    let (stream, _) = accepted.doing(|| "cannot hear the browser's answer".to_owned())?;
                    let (tell, state) = (tell.clone(), state.to_owned());
                    tokio::spawn(async move {
                        // A connection that breaks off or says nothing is no answer: the next one may be.
                        if let Ok(Some(redirect)) = tokio::time::timeout(PATIENCE, serve(stream, &state)).await {
                            drop(tell.send(redirect).await);
                        }
                    });
                }
            }
        }
    }
}

/// Serves one request; `Some` if it was the answer.
async fn serve(mut stream: TcpStream, state: &str) -> Option<Redirect> {
    let mut request = Vec::new();
    let mut piece = [0; 2048];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut piece).await.ok()?;
        if read == 0 || request.len() + read > LARGEST_REQUEST {
            return None;
        }
        request.extend_from_slice(piece.get(..read)?);
    }
    let redirect = answer_in(&request);
    let (status, title, text) = match &redirect {
        None => ("404 Not Found", "Nothing here", "pgkeep waits for Google's answer here, and for nothing else."),
        Some(answer) if answer.state.as_deref() != Some(state) => {
            ("400 Bad Request", "Not this one", "This answer does not belong to the request of pgkeep that is running.")
        }
        Some(Redirect { code: Some(_), .. }) => {
            ("200 OK", "Thank you", "pgkeep has Google's answer. Close this page, and go back to the terminal.")
        }
        Some(_) => ("200 OK", "No permission", "pgkeep was given no permission. Close this page."),
    };
    let page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>pgkeep</title><body style=\"font:16px sans-serif;margin:4em\">\
         <h1>{title}</h1><p>{text}</p></body></html>"
    );
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Referrer-Policy: no-referrer\r\nConnection: close\r\n\r\n",
        page.len()
    );
    // The answer counts, whether or not the browser stays to see the page.
    let shown = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(page.as_bytes()).await?;
        stream.shutdown().await
    };
    drop(shown.await);
    redirect
}

/// The answer in a request for `/`.
fn answer_in(request: &[u8]) -> Option<Redirect> {
    let line = request.split(|b| *b == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    if method != "GET" || !target.starts_with("/?") {
        return None;
    }
    read_redirect(target)
}

/// The error for a redirect that carries no code, or not for us; else its code.
pub(super) fn code_of(redirect: Redirect, state: &str) -> Result<String> {
    if redirect.state.as_deref() != Some(state) {
        return Err(Error::new(
            ErrorKind::Refused,
            "the answer does not belong to this request: its state is another one",
        )
        .hint("run `pgkeep auth gdrive` again, and open the address that it prints, not an older one"));
    }
    match (redirect.code, redirect.error.as_deref()) {
        (Some(code), None) => Ok(code),
        (_, Some("access_denied")) => {
            Err(Error::new(ErrorKind::PermissionDenied, "pgkeep was given no permission for Google Drive").hint(
                "run `pgkeep auth gdrive` again and allow it; an app that is in Testing needs the account among its test users",
            ))
        }
        (_, error) => {
            let error = super::failure::printable(error.unwrap_or("no code"));
            Err(Error::new(ErrorKind::Failed, format!("Google gave no permission: {error}"))
                .hint("run `pgkeep auth gdrive` again"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_read_from_a_request_or_from_what_was_pasted() {
        let expected = Redirect { code: Some("4/0A b".into()), state: Some("s".into()), error: None };
        let request = b"GET /?state=s&code=4%2F0A+b&scope=x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
        assert_eq!(answer_in(request), Some(expected.clone()));
        for pasted in [
            "http://127.0.0.1:5/?state=s&code=4/0A%20b",
            " http://localhost/?code=4%2F0A+b&state=s#x\n",
            "?code=4/0A b&state=s",
        ] {
            assert_eq!(read_redirect(pasted), Some(expected.clone()), "{pasted}");
        }
        for other in [
            "GET /favicon.ico HTTP/1.1\r\n",
            "POST /?code=x HTTP/1.1\r\n",
            "GET / HTTP/1.1\r\n",
            "GET /?x=1 HTTP/1.1\r\n",
            "",
            "GET",
        ] {
            assert_eq!(answer_in(other.as_bytes()), None, "{other}");
        }
        assert_eq!(read_redirect("4/0Ab"), None);
    }

    #[test]
    fn only_an_answer_to_this_request_with_a_code_is_taken() {
        let redirect = |query: &str| read_redirect(&format!("/?{query}")).unwrap();
        assert_eq!(code_of(redirect("code=c&state=s"), "s").unwrap(), "c");
        for (query, kind) in [
            ("code=c&state=x", ErrorKind::Refused),
            ("code=c", ErrorKind::Refused),
            ("error=access_denied&state=s", ErrorKind::PermissionDenied),
            ("error=access_denied", ErrorKind::Refused),
            ("error=server_error&state=s", ErrorKind::Failed),
            ("error=server_error&code=c&state=s", ErrorKind::Failed),
        ] {
            let error = code_of(redirect(query), "s").unwrap_err();
            assert!(error.kind() == kind && error.hint_text().is_some(), "{query}: {error:?}");
        }
    }
}
