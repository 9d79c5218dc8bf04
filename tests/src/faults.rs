//! Faults between the operator and the API server, at the very request or watch event that a test names.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Sleep;
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Layer, Service};

/// How long a stale watch is behind.
const BEHIND: Duration = Duration::from_millis(400);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The operator dies before the request leaves.
    CrashBefore,
    /// The request is done; the operator dies before it reads the answer.
    CrashAfter,
    /// The request never reaches the API server.
    NotSent,
    /// The request is done, its answer is lost.
    LostAnswer,
    /// The request never reaches the API server, and nobody hears of it.
    Hangs,
    /// 403, as while a Role is upgraded. Not sent.
    Forbidden,
    /// 409. Not sent.
    Conflict,
    /// 429. Not sent.
    TooMany,
    /// 503. Not sent.
    Unavailable,
    /// 413, as for an object that etcd has no room for. Not sent.
    TooLarge,
    /// The request waits at the door until [`Faults::let_go`]. Of a watch: this event, and those behind it, never come.
    Held,
    /// The watch ends before this event.
    WatchEnds,
    /// The watch's connection breaks before this event.
    WatchBreaks,
    /// The watch answers 410 Gone in place of this event.
    WatchGone,
    /// This event, and those behind it, come late.
    WatchStale,
    /// The operator dies when it should read this event.
    WatchCrash,
}

impl Fault {
    /// Those that strike a request at random.
    pub const OF_REQUESTS: [Self; 8] = [
        Self::CrashBefore,
        Self::CrashAfter,
        Self::NotSent,
        Self::LostAnswer,
        Self::Forbidden,
        Self::Conflict,
        Self::TooMany,
        Self::Unavailable,
    ];
    /// Those that strike an event of a watch.
    pub const OF_WATCHES: [Self; 5] =
        [Self::WatchEnds, Self::WatchBreaks, Self::WatchGone, Self::WatchStale, Self::WatchCrash];

    /// Whether the operator does not survive it.
    pub fn is_crash(self) -> bool {
        matches!(self, Self::CrashBefore | Self::CrashAfter | Self::WatchCrash)
    }

    fn refusal(self) -> Option<(StatusCode, &'static str)> {
        Some(match self {
            Self::Forbidden => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::Conflict => (StatusCode::CONFLICT, "Conflict"),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge"),
            _ => return None,
        })
    }
}

/// Something that a fault may strike: a request, or an event of a watch.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// `GET`, `POST`, `PATCH`, `DELETE`; `WATCH` for an event.
    pub verb: &'a str,
    /// The path, without its query.
    pub path: &'a str,
    /// Which one it is, from 1; requests and events are counted apart.
    pub number: usize,
}

type Rule = dyn Fn(&Moment<'_>) -> Option<Fault> + Send + Sync;

/// What goes wrong, when, and whether it did.
#[derive(Clone)]
pub struct Faults(Arc<Inner>);

struct Inner {
    rule: Box<Rule>,
    not_installed: Option<&'static str>,
    requests: AtomicUsize,
    events: AtomicUsize,
    struck: watch::Sender<Vec<String>>,
    crashed: CancellationToken,
    let_go: CancellationToken,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults").field("struck", &self.0.struck).finish_non_exhaustive()
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

impl Faults {
    /// None at all.
    pub fn none() -> Self {
        Self::by(|_| None)
    }

    /// One, at the `k`-th request or, for those of watches, event.
    pub fn at(fault: Fault, k: usize) -> Self {
        let strikes_events = Fault::OF_WATCHES.contains(&fault);
        Self::by(move |moment| {
            ((moment.verb == "WATCH") == strikes_events && moment.number == k).then_some(fault)
        })
    }

    /// Wherever the rule says so.
    pub fn by(rule: impl Fn(&Moment<'_>) -> Option<Fault> + Send + Sync + 'static) -> Self {
        Self::new(rule, None)
    }

    /// At each request of this verb, or event of a watch, whose path has this part.
    pub fn always((verb, part): (&'static str, &'static str), fault: Fault) -> Self {
        Self::by(move |moment| (moment.verb == verb && moment.path.contains(part)).then_some(fault))
    }

    /// Each third event of the watches, and those behind it, come late.
    pub fn stale_watches() -> Self {
        Self::by(|moment| (moment.verb == "WATCH" && moment.number % 3 == 0).then_some(Fault::WatchStale))
    }

    /// At each request of this verb, or event of a watch, whose path ends so, while the flag is set.
    pub fn while_set(
        flag: &Arc<AtomicBool>,
        (verb, ending): (&'static str, &'static str),
        fault: Fault,
    ) -> Self {
        let flag = Arc::clone(flag);
        Self::by(move |moment| {
            let is_meant = moment.verb == verb && moment.path.ends_with(ending);
            (is_meant && flag.load(Ordering::Relaxed)).then_some(fault)
        })
    }

    /// None, but a kind that the API server does not have, by its plural, or a whole group by its name: until
    /// [`Self::let_go`], the definitions are not installed.
    pub fn not_installed(plural_or_group: &'static str) -> Self {
        Self::new(|_| None, Some(plural_or_group))
    }

    fn is_missing(&self, path: &str) -> bool {
        let Some(missing) = self.0.not_installed.filter(|_| !self.0.let_go.is_cancelled()) else {
            return false;
        };
        path.ends_with(&format!("/{missing}")) || path.starts_with(&format!("/apis/{missing}/"))
    }

    fn new(
        rule: impl Fn(&Moment<'_>) -> Option<Fault> + Send + Sync + 'static,
        not_installed: Option<&'static str>,
    ) -> Self {
        Self(Arc::new(Inner {
            rule: Box::new(rule),
            not_installed,
            requests: AtomicUsize::default(),
            events: AtomicUsize::default(),
            struck: watch::Sender::default(),
            crashed: CancellationToken::new(),
            let_go: CancellationToken::new(),
        }))
    }

    /// What was struck, as in `PATCH /api/v1/...`.
    pub fn struck(&self) -> Vec<String> {
        self.0.struck.borrow().clone()
    }

    /// Waits until something was struck.
    pub async fn until_struck(&self) {
        self.0.struck.subscribe().wait_for(|struck| !struck.is_empty()).await.unwrap();
    }

    /// The requests that are held go on their way.
    pub fn let_go(&self) {
        self.0.let_go.cancel();
    }

    /// Ends when the operator has to die; from then on nothing of it reaches the API server.
    pub async fn crashed(&self) {
        self.0.crashed.cancelled().await;
    }

    /// The operator dies now.
    pub fn crash(&self) {
        self.0.crashed.cancel();
    }

    fn is_crashed(&self) -> bool {
        self.0.crashed.is_cancelled()
    }

    fn ask(&self, verb: &str, path: &str) -> Option<Fault> {
        let counter = if verb == "WATCH" { &self.0.events } else { &self.0.requests };
        let number = counter.fetch_add(1, Ordering::Relaxed) + 1;
        let fault = (self.0.rule)(&Moment { verb, path, number })?;
        self.0.struck.send_modify(|struck| struck.push(format!("{verb} {path}")));
        Some(fault)
    }
}

/// Puts faults into a client.
#[derive(Debug, Clone)]
pub struct FaultyLayer(pub Faults);

impl<S> Layer<S> for FaultyLayer {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty { inner, faults: self.0.clone() }
    }
}

/// A client with faults.
#[derive(Debug)]
pub struct Faulty<S> {
    inner: S,
    faults: Faults,
}

impl<S, B> Service<Request<Body>> for Faulty<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<FaultyBody<B>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let faults = self.faults.clone();
        let path = request.uri().path().to_owned();
        if faults.is_crashed() {
            return std::future::pending().boxed();
        }
        if faults.is_missing(&path) {
            let query = request.uri().query().unwrap_or_default();
            *request.uri_mut() = format!("{path}-not-installed?{query}").parse().expect("an address");
        }
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        if is_watch {
            let answer = self.inner.call(request);
            return async move {
                let answer = answer.await.map_err(Into::into)?;
                let is_stream = answer.status().is_success();
                Ok(answer.map(|body| FaultyBody::new(body, is_stream.then_some((faults, path)))))
            }
            .boxed();
        }
        let fault = faults.ask(request.method().as_str(), &path);
        if fault == Some(Fault::Hangs) {
            return std::future::pending().boxed();
        }
        let Some(fault) = fault else {
            let answer = self.inner.call(request);
            return async move { Ok(answer.await.map_err(Into::into)?.map(|body| FaultyBody::new(body, None))) }.boxed();
        };
        if let Some((code, reason)) = fault.refusal() {
            return std::future::ready(Ok(refused(code, reason))).boxed();
        }
        if fault == Fault::Held {
            let answer = self.inner.call(request);
            return async move {
                faults.0.let_go.cancelled().await;
                Ok(answer.await.map_err(Into::into)?.map(|body| FaultyBody::new(body, None)))
            }
            .boxed();
        }
        let answer = matches!(fault, Fault::CrashAfter | Fault::LostAnswer).then(|| self.inner.call(request));
        async move {
            if let Some(answer) = answer {
                // committed at the latest when the whole answer is here
                let _ = answer.await.map_err(Into::into)?.into_body().collect().await;
            }
            if fault.is_crash() {
                faults.crash();
                return std::future::pending().await;
            }
            Err(format!("{fault:?}: no answer").into())
        }
        .boxed()
    }
}

fn refused<B>(code: StatusCode, reason: &str) -> Response<FaultyBody<B>> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code.as_u16(),
        "reason": reason, "message": format!("a fault of the tests: {reason}"),
    });
    let mut response = Response::new(FaultyBody::Made(Some(status.to_string().into())));
    *response.status_mut() = code;
    response
}

/// The body of an answer, perhaps of a watch that goes wrong.
pub enum FaultyBody<B> {
    /// Made here.
    Made(Option<Bytes>),
    /// From the API server.
    Real(Box<RealBody<B>>),
}

/// The API server's answer.
pub struct RealBody<B> {
    inner: B,
    watch: Option<(Faults, String)>,
    late: Option<(Pin<Box<Sleep>>, Frame<Bytes>)>,
    is_over: bool,
}

impl<B> FaultyBody<B> {
    fn new(inner: B, watch: Option<(Faults, String)>) -> Self {
        Self::Real(Box::new(RealBody { inner, watch, late: None, is_over: false }))
    }
}

impl<B> HttpBody for FaultyBody<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Made(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Real(real) => real.poll(context),
        }
    }
}

impl<B> RealBody<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some((sleep, _)) = &mut self.late {
            std::task::ready!(sleep.as_mut().poll(context));
            return Poll::Ready(self.late.take().map(|(_, frame)| Ok(frame)));
        }
        let frame = match std::task::ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other.map(|frame| frame.map_err(Into::into))),
        };
        let Some((faults, path)) = self.watch.as_ref() else { return Poll::Ready(Some(Ok(frame))) };
        if faults.is_crashed() {
            return Poll::Pending;
        }
        let Some(fault) = faults.ask("WATCH", path) else { return Poll::Ready(Some(Ok(frame))) };
        match fault {
            Fault::WatchBreaks => {
                self.is_over = true;
                Poll::Ready(Some(Err("a fault of the tests: connection reset".into())))
            }
            Fault::WatchGone => {
                self.is_over = true;
                let gone = json!({"type": "ERROR", "object": {
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410, "reason": "Expired",
                    "message": "a fault of the tests: too old resource version",
                }});
                Poll::Ready(Some(Ok(Frame::data(format!("{gone}\n").into()))))
            }
            Fault::WatchStale => {
                self.late = Some((Box::pin(tokio::time::sleep(BEHIND)), frame));
                self.poll(context)
            }
            Fault::WatchCrash => {
                faults.crash();
                Poll::Pending
            }
            Fault::Held => Poll::Pending,
            _ => {
                self.is_over = true;
                Poll::Ready(None)
            }
        }
    }
}
