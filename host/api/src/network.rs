//! Where contexts may be fetched from: what is never reached, and what `taskNetwork` of the configs says.
//!
//! The operator looks at the host that stands in an address, the programs in the Pod at every host and address that they
//! connect to. Both ask here.
//!
//! May touch: names and addresses as text and numbers. Must not touch: the network.

mod own;

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::globs;
pub use own::OwnNetwork;

/// These words are in every refusal, so that a program can tell one from a failure.
pub const REFUSED: &str = "contexts are not fetched from";

/// What mends a certificate that none of our programs takes from a server, whatever authorities they know, by the words that
/// rustls has for it.
pub fn mended_certificate(reason: &str) -> Option<&'static str> {
    const REMEDY: &str = "the server shows the certificate of an authority (basicConstraints CA:TRUE): give it one of its own, with \
                          CA:FALSE, and name who signed it";
    reason.contains("CaUsedAsEndEntity").then_some(REMEDY)
}

/// Where the Git and URL contexts of Tasks may be fetched from. The config of the Task's namespace, that of the Pod's and
/// the operator's must each allow it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskNetwork {
    /// Hosts (`git.example.com`, `*.example.com`) and networks (`10.1.0.0/16`, `10.1.2.3`). With entries, nothing else is
    /// allowed. A network within loopback or link-local opens that, in the operator's config only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("items" = {"type": "string", "minLength": 1, "maxLength": 253}))]
    pub allow: Vec<String>,
    /// Hosts and networks that are never allowed, whatever `allow` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("items" = {"type": "string", "minLength": 1, "maxLength": 253}))]
    pub deny: Vec<String>,
}

/// What holds for one fetch. The JSON of this is what the programs in the Pod are given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkRules {
    /// Networks within loopback and link-local that are open all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<Entry>,
    /// Each of them must allow it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all_of: Vec<AllowDeny>,
}

/// `taskNetwork` of one config, read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowDeny {
    /// Empty: everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Entry>,
    /// Never.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<Entry>,
}

/// A host or a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Entry {
    /// A pattern, in lower case.
    Host(String),
    /// A network, or one address.
    Network(IpNet),
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network.trunc()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(address.into()));
        }
        let host = text.trim_end_matches('.').to_ascii_lowercase();
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._*?[]".contains(c);
        if host.is_empty() || !host.chars().all(fits) || globs::matches(&host, "").is_err() {
            return Err(format!(
                "\"{text}\" is neither a host, such as git.example.com or *.example.com, nor a network, such as 10.0.0.0/8"
            ));
        }
        Ok(Self::Host(host))
    }
}

impl TryFrom<String> for Entry {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Entry> for String {
    fn from(entry: Entry) -> Self {
        entry.to_string()
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(pattern) => f.write_str(pattern),
            Self::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                write!(f, "{}", network.addr())
            }
            Self::Network(network) => write!(f, "{network}"),
        }
    }
}

impl TryFrom<&TaskNetwork> for AllowDeny {
    type Error = String;

    fn try_from(written: &TaskNetwork) -> Result<Self, String> {
        let read = |entries: &[String]| entries.iter().map(|entry| entry.parse()).collect::<Result<_, _>>();
        Ok(Self { allow: read(&written.allow)?, deny: read(&written.deny)? })
    }
}

impl NetworkRules {
    /// The networks of `allow` that lie within what is closed by itself: for the operator's own config.
    pub fn opened_by(rules: &AllowDeny) -> Vec<Entry> {
        let within = |entry: &&Entry| match entry {
            Entry::Network(network) => {
                closed().iter().any(|(_, closed)| closed.iter().any(|closed| closed.contains(network)))
            }
            Entry::Host(_) => false,
        };
        rules.allow.iter().filter(within).cloned().collect()
    }

    /// Whether nothing was said: loopback and link-local are closed, everything else is open.
    pub fn is_default(&self) -> bool {
        self == &Self::default()
    }

    /// Looks at a host as it stands in an address. A name that leads to an address which is not allowed is found out where
    /// it is resolved: [`NetworkRules::check_address`].
    ///
    /// # Errors
    /// Why it is refused.
    pub fn check_host(&self, host: &str) -> Result<(), String> {
        let name = name(host);
        if let Ok(address) = name.parse() {
            return self.check_address(&name, address);
        }
        let loops = name == "localhost" || name.ends_with(".localhost");
        if loops && !self.open.iter().any(|entry| entry.holds(Ipv4Addr::LOCALHOST.into())) {
            return Err(closed_to(host, "which is this Pod itself"));
        }
        for rules in &self.all_of {
            rules.check(host, &name, &[])?;
        }
        Ok(())
    }

    /// Looks at an address that a host's name leads to.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn check_address(&self, host: &str, address: IpAddr) -> Result<(), String> {
        let reached = reached(address);
        let is_open = || reached.iter().any(|address| self.open.iter().any(|entry| entry.holds(*address)));
        if let Some(what) = within(closed(), &reached)
            && !is_open()
        {
            return Err(closed_to(host, &at(host, address, what)));
        }
        let name = name(host);
        self.all_of.iter().try_for_each(|rules| rules.check(host, &name, &reached))
    }
}

impl Entry {
    fn holds(&self, address: IpAddr) -> bool {
        matches!(self, Self::Network(network) if network.contains(&address))
    }

    fn fits(&self, name: &str, addresses: &[IpAddr]) -> bool {
        match self {
            Self::Host(pattern) => globs::matches(pattern, name) == Ok(true),
            Self::Network(_) => addresses.iter().any(|address| self.holds(*address)),
        }
    }
}

impl AllowDeny {
    /// Without addresses the name alone is looked at, and what networks say of it is not known yet.
    fn check(&self, host: &str, name: &str, addresses: &[IpAddr]) -> Result<(), String> {
        if let Some(entry) = self.deny.iter().find(|entry| entry.fits(name, addresses)) {
            return Err(format!(
                "{REFUSED} {host}: spec.taskNetwork.deny of a KubeOpenCodeConfig has {entry}; ask who runs KubeOpenCode"
            ));
        }
        let later = |entry: &Entry| addresses.is_empty() && matches!(entry, Entry::Network(_));
        let allowed = |entry: &Entry| later(entry) || entry.fits(name, addresses);
        if self.allow.is_empty() || self.allow.iter().any(allowed) {
            return Ok(());
        }
        Err(format!(
            "{REFUSED} {host}: it is not in spec.taskNetwork.allow of a KubeOpenCodeConfig; ask who runs KubeOpenCode"
        ))
    }
}

fn closed_to(host: &str, what: &str) -> String {
    format!(
        "{REFUSED} {host}, {what}: choose another, or name the network in spec.taskNetwork.allow of the operator's \
         KubeOpenCodeConfig"
    )
}

/// A host's name in its one spelling.
fn name(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase()
}

/// What is said of an address, and where it was found.
fn at(host: &str, address: IpAddr, what: &str) -> String {
    if host == address.to_string() { what.to_owned() } else { format!("at {address}, {what}") }
}

/// Networks, and what their addresses are.
type Named = (&'static str, Vec<IpNet>);

/// Which of these networks one of the addresses lies in.
fn within(networks: &'static [Named], addresses: &[IpAddr]) -> Option<&'static str> {
    let holds = |(_, networks): &&Named| {
        addresses.iter().any(|address| networks.iter().any(|network| network.contains(address)))
    };
    networks.iter().find(holds).map(|(what, _)| *what)
}

fn networks(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// What nobody may reach by default: the Pod itself, and what only the node's own link has, mostly services that give out
/// the node's credentials. Two clouds have that service at a unique local address of IPv6 too.
fn closed() -> &'static [Named] {
    static CLOSED: std::sync::LazyLock<[Named; 4]> = std::sync::LazyLock::new(|| {
        [
            ("a loopback address", networks(&["127.0.0.0/8", "::1/128"])),
            ("a link-local address", networks(&["169.254.0.0/16", "fe80::/10"])),
            // Linux takes it for its own
            ("no address of any host", networks(&["0.0.0.0/8", "::/128"])),
            (
                "an address of a cloud's metadata service",
                networks(&["fd00:ec2::254/128", "fd20:ce::254/128"]),
            ),
        ]
    });
    CLOSED.as_slice()
}

/// The address, and the one of IPv4 that it stands for: RFC 4291 (mapped, compatible), RFC 6052 (NAT64).
fn reached(address: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V6(six) = address else { return vec![address] };
    if let Some(four) = six.to_ipv4_mapped() {
        return vec![four.into()];
    }
    let four = match six.segments() {
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some((high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some((high, low)),
        _ => None,
    };
    let four = four.map(|(high, low)| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into());
    [address].into_iter().chain(four).collect()
}

#[cfg(test)]
mod tests;
