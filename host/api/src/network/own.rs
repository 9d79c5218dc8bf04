//! Which addresses the operator itself may reach, for the components of Plugins. Pure.

use std::net::IpAddr;

use super::{Entry, Named, at, closed, name, networks, reached, within};

/// Where the operator itself fetches the components of plugins from: no address of a private network, unless it is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnNetwork {
    /// Hosts that may be at an address of a private network, and networks that are open, loopback and link-local too.
    pub private: Vec<Entry>,
}

impl OwnNetwork {
    /// Without any rule: for a program on its user's own machine, which reaches what he reaches.
    pub fn open() -> Self {
        Self { private: networks(&["0.0.0.0/0", "::/0"]).into_iter().map(Entry::Network).collect() }
    }

    /// Looks at a host as it stands in an address. Of a name nothing is known before it is resolved.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn check_host(&self, host: &str) -> Result<(), String> {
        let name = name(host);
        name.parse().map_or(Ok(()), |address| self.check_address(&name, address))
    }

    /// Looks at an address that a host's name leads to.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn check_address(&self, host: &str, address: IpAddr) -> Result<(), String> {
        let reached = reached(address);
        let by_name = || self.private.iter().any(|entry| entry.fits(&name(host), &[]));
        let what = within(closed(), &reached).or_else(|| within(private(), &reached).filter(|_| !by_name()));
        let is_open = || reached.iter().any(|address| self.private.iter().any(|entry| entry.holds(*address)));
        match what {
            Some(what) if !is_open() => Err(format!(
                "components are not fetched from {host}, {}: choose another, or name the network in plugins.privateAddresses \
                 of the operator's chart",
                at(host, address, what)
            )),
            _ => Ok(()),
        }
    }
}

/// What is not of the internet, by IANA's registries of special-purpose addresses: RFC 1918, 4193, 6598 and others.
fn private() -> &'static [Named] {
    static PRIVATE: std::sync::LazyLock<[Named; 2]> = std::sync::LazyLock::new(|| {
        [
            (
                "an address of a private network",
                networks(&[
                    "10.0.0.0/8",
                    "100.64.0.0/10",
                    "172.16.0.0/12",
                    "192.168.0.0/16",
                    "192.0.0.0/24",
                    "198.18.0.0/15",
                    // which lead to addresses of IPv4 by a translator or a tunnel: of one network, 6to4, Teredo
                    "64:ff9b:1::/48",
                    "2001::/32",
                    "2002::/16",
                    "fc00::/7",
                    "fec0::/10",
                ]),
            ),
            ("no address of one host", networks(&["224.0.0.0/3", "ff00::/8"])),
        ]
    });
    PRIVATE.as_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_come_from_private_networks_only_where_they_are_named() {
        let network = |private: &[&str]| OwnNetwork {
            private: private.iter().map(|entry| entry.parse().unwrap()).collect(),
        };
        let reaches = |network: &OwnNetwork, host: &str, address: &str| {
            network
                .check_host(host)
                .and_then(|()| network.check_address(host, address.parse().unwrap()))
                .is_ok()
        };
        let none = network(&[]);
        assert!(reaches(&none, "ghcr.io", "140.82.121.3"));
        for address in [
            "10.1.2.3",
            "::ffff:192.168.1.1",
            "fd12::1",
            "100.64.0.1",
            "127.0.0.1",
            "224.0.0.1",
            "64:ff9b:1::a01:203",
            "2002:7f00:1::1",
        ] {
            assert!(!reaches(&none, "rebound.example.com", address), "{address}");
            assert!(none.check_host(address).is_err(), "{address}");
        }
        let named = network(&["*.corp", "10.1.0.0/16", "127.0.0.1"]);
        for (host, address, fits) in [
            ("registry.corp", "192.168.1.1", true),
            ("registry.corp", "169.254.169.254", false),
            ("registry.corp", "127.0.0.2", false),
            ("localhost", "127.0.0.1", true),
            ("any", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("any", "10.2.2.3", false),
        ] {
            assert_eq!(reaches(&named, host, address), fits, "{host} {address}");
        }
        for address in ["127.0.0.1", "169.254.1.1", "10.1.2.3", "::1", "fd00::1"] {
            assert!(reaches(&OwnNetwork::open(), "registry.corp", address), "{address}");
        }
        assert_eq!(
            none.check_address("a.example", "10.1.2.3".parse().unwrap()).unwrap_err(),
            "components are not fetched from a.example, at 10.1.2.3, an address of a private network: choose another, or name \
             the network in plugins.privateAddresses of the operator's chart"
        );
    }
}
