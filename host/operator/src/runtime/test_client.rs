//! A client for tests, which stand in for the API server.

use axum::body::Body as AnswerBody;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;

/// A client whose requests this function answers, with a status code and a body; it hangs where the future does.
pub(crate) fn answered_by<A, F, B>(mut answer: A) -> Client
where
    A: FnMut(Request<Body>) -> F + Send + 'static,
    F: Future<Output = (u16, B)> + Send + 'static,
    B: Into<AnswerBody>,
{
    let respond = move |request: Request<Body>| {
        let answer = answer(request);
        async move {
            let (code, body) = answer.await;
            let body: AnswerBody = body.into();
            Response::builder().status(code).body(body)
        }
    };
    Client::new(tower::service_fn(respond), "default")
}
