//! What holds for every address of a repository, for the fuzz target `repository`.

use url::Url;

use super::repository::Repository;

/// `validated` is the host that the PlanValidator saw in the address, when it takes it.
///
/// # Panics
/// When `git-init` refuses what was validated or goes to another host; when the address that `git` gets could be an
/// option, holds a password, or is read otherwise a second time.
pub fn repository(bytes: &[u8], validated: Option<&str>) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(repository) = Repository::parse(text) else {
        assert_eq!(validated, None, "{text:?} is validated and yet refused in the Pod");
        return;
    };
    let address = &repository.address;
    assert!(!address.starts_with('-'), "{address:?} is an option");
    assert!(!address.contains(|c: char| c.is_control() || c.is_whitespace()), "{address:?}");
    assert!(Repository::parse(address).is_ok_and(|again| {
        again.address == *address && again.host == repository.host && again.userinfo.is_none()
    }));
    let host = match Url::parse(address) {
        Ok(url) if address.contains("://") => {
            assert_eq!(url.password(), None, "{address:?}");
            assert!(url.scheme() == "ssh" || url.username().is_empty(), "{address:?}");
            url.host_str().unwrap_or_default().to_owned()
        }
        _ => address
            .split_once('@')
            .and_then(|(_, rest)| rest.split_once(':'))
            .map_or("", |(host, _)| host)
            .into(),
    };
    assert!(!host.is_empty() && !host.starts_with('-'), "{address:?}");
    if let Some(validated) = validated {
        assert_eq!(host.to_ascii_lowercase(), validated, "{text:?}");
    }
}

#[cfg(test)]
#[test]
fn holds_for_the_seeds() {
    crate::seeds::each("repository", |seed| repository(seed, None));
}
