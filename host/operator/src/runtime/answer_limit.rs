//! A limit for answers that do not come: whoever waits for one holds up the next try of the same object.
//!
//! kube's own limit is one of the connection, which watches are silent on for minutes.

use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Uri};
use kube::client::Body;
use tokio::time::timeout;
use tower::{BoxError, Layer, Service};

/// Until the head of an answer has to be there. An API server ends a request itself after a minute (`--request-timeout`), and
/// says so.
const MAX_WAIT: Duration = Duration::from_secs(90);

/// Gives up requests that nobody answers, as if their answer were lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerLimit;

impl<S> Layer<S> for AnswerLimit {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Limited(inner)
    }
}

/// A client with that limit.
#[derive(Clone, Debug)]
pub(crate) struct Limited<S>(S);

impl<S> Service<Request<Body>> for Limited<S>
where
    S: Service<Request<Body>, Error: Into<BoxError>, Future: Send + 'static> + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let may_be_silent = may_be_silent(request.uri());
        let answer = self.0.call(request);
        async move {
            let answer = match may_be_silent {
                true => Ok(answer.await),
                false => timeout(MAX_WAIT, answer).await,
            };
            match answer {
                Ok(answer) => answer.map_err(Into::into),
                Err(_) => Err(BoxError::from(format!("no answer within {} s", MAX_WAIT.as_secs()))),
            }
        }
        .boxed()
    }
}

/// A watch, or a log that is followed, begins when there is something to tell.
fn may_be_silent(uri: &Uri) -> bool {
    let mut parameters = uri.query().unwrap_or_default().split('&');
    parameters.any(|parameter| matches!(parameter, "watch=true" | "follow=true"))
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_given_up_and_a_watch_is_not() {
        let silent = |_: Request<Body>| std::future::pending::<Result<Response<Body>, BoxError>>();
        let mut limited = AnswerLimit.layer(tower::service_fn(silent));
        let ask = |path: &str| Request::get(path).body(Body::empty()).unwrap();
        let answer = limited.call(ask("/api/v1/pods?limit=500")).await;
        assert_eq!(answer.err().map(|error| error.to_string()).as_deref(), Some("no answer within 90 s"));
        for path in ["/api/v1/pods?limit=500&watch=true", "/api/v1/namespaces/a/pods/b/log?follow=true"] {
            assert!(timeout(MAX_WAIT * 2, limited.call(ask(path))).await.is_err(), "{path}");
        }
    }
}
