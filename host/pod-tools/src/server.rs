//! The server of a server-mode Agent, as the tools in a Task's Pod speak to it.

use std::time::Duration;

use reqwest::Method;
use reqwest::blocking::{Client, RequestBuilder};
use url::Url;

use crate::environment::Environment;
use crate::{Error, web};

/// OpenCode's own, unless OPENCODE_SERVER_USERNAME says otherwise.
const DEFAULT_USERNAME: &str = "opencode";

/// A server, and the login it asks for.
pub(crate) struct Server {
    client: Client,
    base: Url,
    login: Option<(String, String)>,
}

impl Server {
    /// The server at this URL; one with a password gets the one in OPENCODE_SERVER_PASSWORD.
    ///
    /// # Errors
    /// When an environment variable is no text.
    pub(crate) fn new(environment: &Environment, base: Url, timeout: Duration) -> Result<Self, Error> {
        let username =
            environment.text("OPENCODE_SERVER_USERNAME")?.unwrap_or_else(|| DEFAULT_USERNAME.into());
        let login = environment.secret("OPENCODE_SERVER_PASSWORD")?.map(|password| (username, password));
        let mut client = web::client(timeout);
        if base.scheme() == "http" {
            // the usual case inside a cluster, which must not fail where an image has no authorities
            client = client.tls_certs_only([]);
        }
        let client = client.build().map_err(|e| Error::Failed(web::reason(&e)))?;
        Ok(Self { client, base, login })
    }

    /// Where a path of this server is.
    ///
    /// # Errors
    /// When it is no path.
    pub(crate) fn at(&self, path: &str) -> Result<Url, url::ParseError> {
        self.base.join(path)
    }

    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.client.request(method, url);
        match &self.login {
            Some((username, password)) => request.basic_auth(username, Some(password)),
            None => request,
        }
    }
}
