//! Knows a stalled request from a slow one.
//!
//! A limit on a whole request would fail large parts on thin lines, and a limit on the answer alone would wait for ever for
//! bytes that do not leave. So every piece that goes out or comes in is noted, and what is limited is the silence since.

use aws_sdk_s3::config::interceptors::{
    BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// What is handed to the connection at once, in bytes: what is handed over counts as gone, so it must be little.
const PIECE: usize = 64 << 10;

tokio::task_local! {
    static CURRENT: Pulse;
    static DATE: Arc<Mutex<Option<String>>>;
}

/// Runs `request`, and tells what the service's last answer to it says about the time: its header `Date`.
pub(super) async fn with_date<T>(request: impl Future<Output = T>) -> (T, Option<String>) {
    let date = Arc::new(Mutex::new(None));
    let answer = DATE.scope(Arc::clone(&date), request).await;
    let date = date.lock().unwrap_or_else(PoisonError::into_inner).take();
    (answer, date)
}

/// When something last went out or came in for one request.
#[derive(Debug, Clone)]
struct Pulse(Arc<Mutex<Instant>>);

impl Pulse {
    fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing went out or came in for as long as was allowed.
pub(super) struct Stalled;

/// Waits for `request` as long as it is not silent for `limit`.
pub(super) async fn watch<T>(limit: Duration, request: impl Future<Output = T>) -> Result<T, Stalled> {
    let pulse = Pulse(Arc::new(Mutex::new(Instant::now())));
    let request = CURRENT.scope(pulse.clone(), request);
    tokio::pin!(request);
    loop {
        let until = pulse.last() + limit;
        tokio::select! {
            answer = &mut request => return Ok(answer),
            () = tokio::time::sleep_until(until) => {
                if pulse.last() + limit <= Instant::now() {
                    return Err(Stalled);
                }
            }
        }
    }
}

/// Makes every request of a client note its pieces.
#[derive(Debug)]
pub(super) struct Listener;

impl Listener {
    fn listen(body: &mut SdkBody) {
        if let Ok(pulse) = CURRENT.try_with(Clone::clone) {
            let inner = std::mem::replace(body, SdkBody::taken());
            *body = SdkBody::from_body_1_x(Heard { inner, rest: Bytes::new(), pulse });
        }
    }
}

impl Intercept for Listener {
    fn name(&self) -> &'static str {
        "pgkeep's stall detection"
    }

    // After signing: the signature covers the body as it was.
    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.request_mut().body_mut();
        if body.content_length() != Some(0) {
            Self::listen(body);
        }
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date").map(str::to_owned);
        // Only `doctor` asks for it.
        let _ = DATE.try_with(|found| *found.lock().unwrap_or_else(PoisonError::into_inner) = date);
        Self::listen(context.response_mut().body_mut());
        Ok(())
    }
}

/// A body whose pieces are noted as they pass.
struct Heard {
    inner: SdkBody,
    rest: Bytes,
    pulse: Pulse,
}

impl Body for Heard {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
            self.pulse.beat();
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        self.pulse.beat();
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (Body::size_hint(&self.inner), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}
