//! The one HTTP client of the tools: rustls with ring and the image's authorities.

use std::error::Error as _;
use std::time::Duration;

use kubeopencode_api::release::VERSION;
use reqwest::blocking::{Client, ClientBuilder};

const MAX_CONNECT: Duration = Duration::from_secs(10);

/// A client whose requests may take this long.
pub(crate) fn client(timeout: Duration) -> ClientBuilder {
    // the second call of a process finds the first one's; both are the same
    rustls::crypto::ring::default_provider().install_default().ok();
    Client::builder()
        .user_agent(format!("kubeopencode/{VERSION}"))
        .timeout(timeout)
        .connect_timeout(timeout.min(MAX_CONNECT))
}

/// What went wrong at the bottom, without the address, which may hold credentials.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    let Some(mut cause) = error.source() else {
        // its own text holds the address
        return if error.is_timeout() { "it took too long".into() } else { "the request failed".into() };
    };
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = cause.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(reason, _)| reason.to_owned())
}
