//! The server of a server-mode Agent, as the tools in a Task's Pod speak to it.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use kubeopencode_api::literals::{SERVER_PASSWORD, SERVER_USERNAME};
use reqwest::Method;
use reqwest::blocking::{Client, RequestBuilder};
use reqwest::redirect::Policy;
use url::Url;

use crate::environment::Environment;
use crate::names::Names;
use crate::{Error, web};

/// OpenCode's own, unless OPENCODE_SERVER_USERNAME says otherwise.
const DEFAULT_USERNAME: &str = "opencode";

/// A server, and the login it asks for.
pub(crate) struct Server {
    /// Never dropped: that would wait for the lookups that still run, which nobody needs any more.
    client: ManuallyDrop<Client>,
    names: Names,
    timeout: Duration,
    base: Url,
    login: Option<(String, String)>,
}

impl Server {
    /// The server at this URL; one with a password gets the one in OPENCODE_SERVER_PASSWORD.
    ///
    /// # Errors
    /// When an environment variable is no text.
    pub(crate) fn new(environment: &Environment, base: Url, timeout: Duration) -> Result<Self, Error> {
        let username = environment.text(SERVER_USERNAME)?.unwrap_or_else(|| DEFAULT_USERNAME.into());
        let login = environment.secret(SERVER_PASSWORD)?.map(|password| (username, password));
        // it is in the cluster, and what it is told with its password is for it alone
        let names = Names::default();
        let mut client =
            web::client(timeout).no_proxy().redirect(Policy::none()).dns_resolver(Arc::new(names.clone()));
        // a connection that is kept leads to the Pod that it once led to, whatever the Service says now
        client = client.pool_max_idle_per_host(0);
        if base.scheme() == "http" {
            // the usual case inside a cluster, which must not fail where an image has no authorities
            client = client.tls_certs_only([]);
        }
        let client = client.build().map(ManuallyDrop::new).map_err(|e| Error::Failed(web::reason(&e)))?;
        Ok(Self { client, names, timeout, base, login })
    }

    /// Where a path of this server is.
    ///
    /// # Errors
    /// When it is no path, or one that leads to another server.
    pub(crate) fn at(&self, path: &str) -> Result<Url, Error> {
        let elsewhere = || Error::Failed(format!("{path:?} is no path on {}", self.base));
        let url = self.base.join(path).map_err(|_| elsewhere())?;
        if url.origin() == self.base.origin() { Ok(url) } else { Err(elsewhere()) }
    }

    /// What went wrong with a request, and in which step where it took too long.
    pub(crate) fn reason(&self, error: &reqwest::Error) -> String {
        let seconds = self.timeout.as_secs();
        match error.is_timeout() {
            true if self.names.is_busy() => format!("its name is not looked up yet after {seconds} s"),
            true => format!("no answer within {seconds} s"),
            false => web::reason(error),
        }
    }

    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.client.request(method, url);
        match &self.login {
            Some((username, password)) => request.basic_auth(username, Some(password)),
            None => request,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_to_another_server() {
        let base = Url::parse("http://helper.team.svc.cluster.local:4096").unwrap();
        let server = Server::new(&Environment::of(&[]), base, Duration::from_secs(1)).unwrap();
        assert_eq!(
            server.at("/session").unwrap().as_str(),
            "http://helper.team.svc.cluster.local:4096/session"
        );
        for path in [
            "//evil.example/x",
            "/\t/evil.example/x",
            "/\\evil.example",
            "http://evil.example",
            "//helper:1/",
        ] {
            assert!(server.at(path).is_err(), "{path:?}");
        }
    }
}
