//! What of a component asks for a network, which no plugin has: said whatever else keeps it from being compiled. Pure.

/// Packages of Go that dial, the larger one first, and how the names of methods begin that a component has then.
const PACKAGES: [(&str, &[u8]); 2] = [("net/http", b"net/http.(*"), ("net", b"net.(*Dialer).")];

/// The package of Go that needs a network, in the bytes of a component. It imports nothing of WASI's: WASI 0.1, which Go is built for,
/// has no connections to make.
pub(super) fn of_go(bytes: &[u8]) -> Option<&'static str> {
    // `net/http.` of `acme.com/net/http.` is another package
    let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    let begins = |at: usize, name: &[u8]| {
        bytes[at..].starts_with(name) && at.checked_sub(1).is_none_or(|before| !is_path(bytes[before]))
    };
    let mut found = None;
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'n') {
        match PACKAGES.iter().position(|(_, name)| begins(at, name)) {
            Some(0) => return Some(PACKAGES[0].0),
            Some(other) => found = Some(PACKAGES[other].0),
            None => {}
        }
    }
    found
}

/// What to do about it.
pub(super) fn remedy(package: &str) -> String {
    format!(
        "Go's package {package} is in it, and a plugin has no network: leave it out, and whatever module brings it; what is to be read \
         is asked of request, what the agent is to have is an action"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_that_dial_are_found_by_their_methods() {
        for (bytes, package) in [
            (&b"\0net/http.(*Client).do\0"[..], Some("net/http")),
            (b"\0net.(*Dialer).DialContext\0net/http.(*Transport).roundTrip\0", Some("net/http")),
            (b"net.(*Dialer).DialContext\0", Some("net")),
            // others that are named so, and those that make no connection
            (b"\0acme.com/net/http.(*Client).do\0subnet.(*Tree).Find\0", None),
            (
                b"\0net.(*IPNet).Contains\0net/netip.(*Addr).UnmarshalText\0net/url.(*URL).String\0net/http",
                None,
            ),
            (b"", None),
        ] {
            assert_eq!(of_go(bytes), package, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
