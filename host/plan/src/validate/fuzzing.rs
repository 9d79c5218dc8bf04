//! What the PlanValidator makes of addresses, for the fuzz target `repository`.

use super::address;

/// The host of this address of a repository; none when it is refused.
pub fn host_of_repository(bytes: &[u8]) -> Option<String> {
    address::repository(std::str::from_utf8(bytes).ok()?).ok().map(|address| address.host)
}
