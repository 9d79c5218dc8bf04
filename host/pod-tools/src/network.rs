//! Connects to what the rules allow and to nothing else: a name is resolved once, and what was looked at is what is
//! dialled, so that no second answer can lead elsewhere.
//!
//! Behind a proxy that a variable names, the proxy resolves and dials: then the host as it stands in the address is all that
//! can be looked at.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use kubeopencode_api::network::NetworkRules;

use crate::Error;
use crate::environment::Environment;
use crate::error::io_reason;

/// For each address of a host.
const MAX_CONNECT: Duration = Duration::from_secs(10);
const BUFFER_BYTES: usize = 64 << 10;
/// For all tries of the resolver; its own are 5 s each.
const MAX_LOOKUP: Duration = Duration::from_secs(30);

/// Where the tools may connect to.
#[derive(Clone)]
pub(crate) struct Network {
    rules: NetworkRules,
}

/// Why there is no connection.
#[derive(Debug, PartialEq)]
pub(crate) enum Unreached {
    /// The rules forbid it: no other try may do better.
    Refused(String),
    /// It is not there, or not now.
    Failed(String),
}

impl Unreached {
    pub(crate) fn into_reason(self) -> String {
        match self {
            Self::Refused(why) | Self::Failed(why) => why,
        }
    }
}

impl Network {
    /// The rules in this variable; without it, the default ones.
    pub(crate) fn of(environment: &Environment, name: &'static str) -> Result<Self, Error> {
        Ok(Self { rules: environment.json(name)? })
    }

    /// Looks at a host as it stands in an address.
    pub(crate) fn check_host(&self, host: &str) -> Result<(), Unreached> {
        self.rules.check_host(host).map_err(Unreached::Refused)
    }

    /// The addresses of a host that may be dialled; at least one.
    pub(crate) fn addresses(
        &self,
        host: &str,
        port: u16,
        patience: Duration,
    ) -> Result<Vec<SocketAddr>, Unreached> {
        self.check_host(host)?;
        let found = lookup(host, port, patience.min(MAX_LOOKUP))
            .map_err(|e| Unreached::Failed(format!("cannot resolve {host}: {}", io_reason(&e))))?;
        let mut refused = None;
        let allowed =
            found.into_iter().filter(|address| match self.rules.check_address(host, address.ip()) {
                Ok(()) => true,
                Err(why) => {
                    refused.get_or_insert(why);
                    false
                }
            });
        let allowed: Vec<_> = allowed.collect();
        match (allowed.is_empty(), refused) {
            (false, _) => Ok(allowed),
            (true, Some(why)) => Err(Unreached::Refused(why)),
            (true, None) => Err(Unreached::Failed(format!("cannot resolve {host}: it has no address"))),
        }
    }

    /// Connects to a host.
    pub(crate) fn dial(&self, host: &str, port: u16) -> Result<TcpStream, Unreached> {
        let mut failed = String::new();
        for address in self.addresses(host, port, MAX_LOOKUP)? {
            match TcpStream::connect_timeout(&address, MAX_CONNECT) {
                Ok(stream) => return Ok(stream),
                Err(e) => failed = io_reason(&e),
            }
        }
        Err(Unreached::Failed(format!("cannot connect to {host} port {port}: {failed}")))
    }
}

/// Carries bytes until one side is done, each as it comes. `io::copy` has the kernel splice where it can, and that holds back
/// the second packet of a connection until there is a third.
pub(crate) fn carry(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => to.write_all(&buffer[..read]).and_then(|()| to.flush())?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Whether a variable names a proxy for this address, as curl, git and reqwest read them.
pub(crate) fn is_proxied(address: &str) -> bool {
    address.parse::<http::Uri>().is_ok_and(|uri| Matcher::from_env().intercept(&uri).is_some())
}

/// The system's resolver knows no time limit.
fn lookup(host: &str, port: u16, patience: Duration) -> io::Result<Vec<SocketAddr>> {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (sender, answer) = mpsc::channel();
    thread::spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // nobody may be waiting any more
        sender.send(found).ok();
    });
    answer
        .recv_timeout(patience)
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long")))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn network(rules: &str) -> Network {
        Network::of(&Environment::of(&[("N", rules)]), "N").unwrap()
    }

    #[test]
    fn what_a_name_leads_to_is_looked_at_and_dialled() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = network(r#"{"open": ["127.0.0.0/8"], "allOf": [{"allow": ["localhost", "127.0.0.2"]}]}"#);
        let stream = open.dial("localhost", port).unwrap();
        assert_eq!(stream.peer_addr().unwrap().ip().to_string(), "127.0.0.1");
        assert!(matches!(open.dial("127.0.0.1", port), Err(Unreached::Refused(_))));
        for host in ["127.0.0.1", "localhost", "::1", "::ffff:127.0.0.1"] {
            let Err(Unreached::Refused(why)) = network("").dial(host, port) else {
                panic!("{host} is reached")
            };
            assert!(why.starts_with(&format!("contexts are not fetched from {host}, ")), "{why}");
        }
    }

    #[test]
    fn what_is_not_there_is_no_refusal() {
        let Err(Unreached::Failed(why)) = network("").dial("nowhere.invalid", 1) else { panic!() };
        assert!(why.starts_with("cannot resolve nowhere.invalid: "), "{why}");
    }
}
