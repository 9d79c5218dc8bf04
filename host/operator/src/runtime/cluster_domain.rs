//! The domain in which the cluster's Services are, as kubelet tells it to every Pod.

/// The domain by a Pod's `/etc/resolv.conf`: of the search domains `<namespace>.svc.<domain>`, `svc.<domain>` and `<domain>`
/// the second one names it without doubt. `None` outside of a Pod, and in one with a `dnsPolicy` of its own.
pub fn cluster_domain(resolv_conf: &str) -> Option<String> {
    let mut searches = resolv_conf.lines().rev().filter_map(|line| line.trim_start().strip_prefix("search"));
    // the last of several lines counts
    let search = searches.find(|rest| rest.starts_with(char::is_whitespace))?;
    let domain = search.split_whitespace().find_map(|domain| domain.strip_prefix("svc."))?;
    let domain = domain.trim_end_matches('.');
    (!domain.is_empty()).then(|| domain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubelets_search_domains_name_it() {
        for (text, domain) in [
            (
                "search kubeopencode-system.svc.k8s.example.com svc.k8s.example.com k8s.example.com corp.example\n\
                 nameserver 10.96.0.10\noptions ndots:5\n",
                Some("k8s.example.com"),
            ),
            ("nameserver ::1\nsearch\ta.svc.cluster.local. svc.cluster.local.\n", Some("cluster.local")),
            ("search corp.example\nsearch n.svc.x svc.x x\n", Some("x")),
            ("search corp.example svc\n", None),
            ("searching svc.x\n# search svc.y\n", None),
            ("nameserver 10.0.0.1\n", None),
        ] {
            assert_eq!(cluster_domain(text).as_deref(), domain, "{text}");
        }
    }
}
