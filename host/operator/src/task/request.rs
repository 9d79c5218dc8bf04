//! Writes whose answer is the metadata of what was written: nobody needs to hear again what he said. Of a Task, which may have
//! 1.4 MB, two answers of each launch would be all of it, and the client holds an answer three times over while it reads it. An API server
//! leaves the words of a refusal out of its audit log then; the answer has them, and so has the Task.

use http::Request;
use http::header::{ACCEPT, HeaderValue};
use kube::Client;
use kube::core::request::Error;
use serde::de::DeserializeOwned;

/// The answer is the object's metadata.
pub(super) const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Sends a request that kube made, and reads the metadata of what it wrote.
#[expect(clippy::disallowed_methods, reason = "the launch and the writer send what they made")]
pub(super) async fn send<V: DeserializeOwned>(
    client: &Client,
    request: Result<Request<Vec<u8>>, Error>,
) -> Result<V, kube::Error> {
    let mut request = request.map_err(kube::Error::BuildRequest)?;
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(METADATA_ONLY));
    client.request(request).await
}
