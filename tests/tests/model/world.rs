//! Operators on an API server in memory: every request waits until the model answers it, every watch shows what the
//! model lets it show.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use kubeopencode_evaluate::Catalog;
use kubeopencode_operator::Options;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::{Answer, ApiServer, Call};

/// The operator's own namespace; nothing of it matters here.
const NAMESPACE: &str = "kubeopencode-system";

/// What the operators reach, and what they wait for.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) api: ApiServer,
    /// The running process of each operator; 0 where none runs.
    running: Vec<u64>,
    waiting: Vec<Waiting>,
    watches: Vec<Watch>,
    processes: u64,
}

/// A request without an answer.
struct Waiting {
    operator: usize,
    call: Call,
    /// `None`: the connection breaks.
    answer: oneshot::Sender<Option<Answer>>,
}

struct Watch {
    operator: usize,
    plural: String,
    /// Place in the log of what it shows next.
    next: usize,
    lines: mpsc::UnboundedSender<Vec<u8>>,
}

impl Watch {
    fn tell(&self, what: &str, object: &Value) {
        // as the API server writes it: its type comes first
        let line = format!("{{\"type\":\"{what}\",\"object\":{object}}}\n");
        self.lines.send(line.into_bytes()).ok();
    }
}

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// Done, and nobody hears of it.
    AnswerLost,
    /// Not done.
    RequestLost,
}

/// Operators and what they reach.
pub(crate) struct World {
    state: Arc<Mutex<State>>,
    catalog: Arc<Catalog>,
    operators: Vec<Option<JoinHandle<()>>>,
}

impl World {
    pub(crate) fn new(catalog: Arc<Catalog>, operators: usize) -> Self {
        let state = State { running: vec![0; operators], ..State::default() };
        let operators = (0..operators).map(|_| None).collect();
        Self { state: Arc::new(Mutex::new(state)), catalog, operators }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Ends an operator where it stands, if it runs; none of its requests is answered any more.
    pub(crate) fn crash(&mut self, operator: usize) {
        if let Some(process) = self.operators[operator].take() {
            process.abort();
        }
        let mut state = self.state.lock();
        state.running[operator] = 0;
        state.waiting.retain(|waiting| waiting.operator != operator);
        state.watches.retain(|watch| watch.operator != operator);
    }

    pub(crate) fn start(&mut self, operator: usize) {
        let process = {
            let mut state = self.state.lock();
            state.processes += 1;
            state.running[operator] = state.processes;
            state.processes
        };
        let connection = Connection { state: Arc::clone(&self.state), operator, process };
        let options = Options {
            namespace: NAMESPACE.to_owned(),
            namespaces: Vec::new(),
            identity: format!("operator-{operator}"),
            health_address: None,
            metrics_address: None,
            leader_elect: false,
            catalog: Arc::clone(&self.catalog),
            plugin_host: None,
            plugin_sources: kubeopencode_operator::PluginSources::default(),
            kubetask: false,
            cluster_domain: kubeopencode_api::literals::DEFAULT_CLUSTER_DOMAIN.to_owned(),
        };
        let client = kube::Client::new(connection, NAMESPACE);
        let run = kubeopencode_operator::run(client, options, CancellationToken::new());
        self.operators[operator] = Some(tokio::spawn(async move { run.await.unwrap() }));
    }

    /// Lets everybody go on until they wait for an answer, an event or the clock.
    pub(crate) async fn settle(&self) {
        // the clock stands still while anybody has something to do
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// Ends one of the requests that wait; `false` when none does.
    pub(crate) fn end_request(&self, which: usize, fate: Fate) -> bool {
        let mut state = self.state.lock();
        if state.waiting.is_empty() {
            return false;
        }
        // by what they ask for: in which order they came is the scheduler's whim
        state.waiting.sort_by_cached_key(|waiting| {
            let Call { method, plural, namespace, name, subresource, .. } = &waiting.call;
            (waiting.operator, format!("{plural}/{namespace}/{name}/{subresource}/{method}"))
        });
        let place = which % state.waiting.len();
        let waiting = state.waiting.remove(place);
        let answer = (fate != Fate::RequestLost).then(|| state.api.handle(&waiting.call));
        drop(state);
        waiting.answer.send(answer.filter(|_| fate == Fate::Answered)).ok();
        true
    }

    /// Lets one of the watches show so many events; `false` when none has any.
    pub(crate) fn show(&self, which: usize, most: usize) -> bool {
        let mut state = self.state.lock();
        let State { api, watches, .. } = &mut *state;
        let mut behind: Vec<_> = watches
            .iter_mut()
            .filter(|watch| api.log[watch.next..].iter().any(|change| change.plural == watch.plural))
            .collect();
        behind.sort_by_key(|watch| (watch.operator, watch.plural.clone()));
        if behind.is_empty() {
            return false;
        }
        let place = which % behind.len();
        let watch = &mut behind[place];
        for _ in 0..most {
            let left = api.log[watch.next..].iter();
            let Some(ahead) = left.clone().position(|change| change.plural == watch.plural) else { break };
            let change = &api.log[watch.next + ahead];
            watch.next += ahead + 1;
            watch.tell(change.what, &change.object);
        }
        true
    }

    /// Breaks one of the watches: its operator lists anew.
    pub(crate) fn break_watch(&self, which: usize) {
        let mut state = self.state.lock();
        if state.watches.is_empty() {
            return;
        }
        state.watches.sort_by_key(|watch| (watch.operator, watch.plural.clone()));
        let place = which % state.watches.len();
        let watch = state.watches.remove(place);
        watch.tell("ERROR", &status(StatusCode::GONE, "Expired"));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        (0..self.operators.len()).for_each(|operator| self.crash(operator));
    }
}

/// How an operator's client reaches the API server.
#[derive(Clone)]
struct Connection {
    state: Arc<Mutex<State>>,
    operator: usize,
    process: u64,
}

impl Connection {
    async fn send(
        self,
        request: Request<Body>,
    ) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let call = Call::new(parts.method, path, query, &body);
        let answer = {
            let mut state = self.state.lock();
            if state.running[self.operator] != self.process {
                None
            } else if let Some(version) = call.watch_from {
                let (lines, shown) = mpsc::unbounded_channel();
                let next = state.api.log.partition_point(|change| change.version <= version);
                state.watches.push(Watch { operator: self.operator, plural: call.plural, next, lines });
                let shown =
                    futures::stream::unfold(shown, async |mut shown| Some((shown.recv().await?, shown)));
                let frames = shown.map(|line| Ok::<_, Infallible>(Frame::data(line.into())));
                return Ok(Response::new(StreamBody::new(frames).boxed_unsync()));
            } else if call.is_background() {
                Some(Err(state.api.handle(&call)))
            } else {
                let (answer, waiting) = oneshot::channel();
                state.waiting.push(Waiting { operator: self.operator, call, answer });
                Some(Ok(waiting))
            }
        };
        let answer = match answer {
            // the process is gone, and with it all that it still did
            None => std::future::pending().await,
            Some(Err(answer)) => answer,
            Some(Ok(waiting)) => match waiting.await {
                Ok(Some(answer)) => answer,
                Ok(None) => return Err("the connection broke".into()),
                Err(_) => std::future::pending().await,
            },
        };
        let (code, body) = match answer {
            Ok(object) => (StatusCode::OK, object),
            Err((code, reason)) => (code, status(code, reason)),
        };
        let body = Full::from(serde_json::to_vec(&body)?).boxed_unsync();
        Ok(Response::builder().status(code).body(body)?)
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl tower::Service<Request<Body>> for Connection {
    type Response = Response<UnsyncBoxBody<Bytes, Infallible>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<UnsyncBoxBody<Bytes, Infallible>>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

fn status(code: StatusCode, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(), "reason": reason, "message": reason})
}
