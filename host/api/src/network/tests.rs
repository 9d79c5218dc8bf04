//! Which addresses are open, as hosts and networks are written.

use super::*;

fn rules(allow: &[&str], deny: &[&str]) -> AllowDeny {
    let owned = |entries: &[&str]| entries.iter().map(ToString::to_string).collect();
    AllowDeny::try_from(&TaskNetwork { allow: owned(allow), deny: owned(deny) }).unwrap()
}

fn only(rules: AllowDeny) -> NetworkRules {
    NetworkRules { open: Vec::new(), all_of: vec![rules] }
}

fn reaches(rules: &NetworkRules, host: &str, address: &str) -> bool {
    rules.check_host(host).and_then(|()| rules.check_address(host, address.parse().unwrap())).is_ok()
}

#[test]
fn the_pod_itself_and_its_link_are_closed_in_every_spelling() {
    let default = NetworkRules::default();
    for host in [
        "127.0.0.1",
        "127.8.9.10",
        "localhost",
        "a.localhost.",
        "LOCALHOST",
        "[::1]",
        "[::]",
        "0.0.0.0",
        "169.254.169.254",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::169.254.169.254]",
        "[fd00:ec2::254]",
    ] {
        let refused = default.check_host(host).unwrap_err();
        assert!(refused.starts_with(REFUSED) && refused.contains("spec.taskNetwork.allow"), "{refused}");
    }
    for (host, address) in [
        ("github.com", "140.82.121.3"),
        ("git.team.svc.cluster.local", "10.96.0.7"),
        ("git.corp", "192.168.1.1"),
        ("six", "fd12:3456::1"),
        ("localhost.example.com", "1.1.1.1"),
        ("0x7f.example", "::2"),
    ] {
        assert!(reaches(&default, host, address), "{host} {address}");
    }
    for address in ["127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1"] {
        assert!(!reaches(&default, "innocent.example.com", address), "{address}");
    }
    assert_eq!(
        default.check_address("rebound.example.com", "169.254.169.254".parse().unwrap()).unwrap_err(),
        "contexts are not fetched from rebound.example.com, at 169.254.169.254, a link-local address: choose another, \
         or name the network in spec.taskNetwork.allow of the operator's KubeOpenCodeConfig"
    );
}

#[test]
fn a_network_of_the_operators_allow_opens_what_is_closed() {
    let all = rules(&["0.0.0.0/0", "*", "169.254.20.10", "::/0"], &[]);
    let open = NetworkRules::opened_by(&all);
    assert_eq!(open, [Entry::Network("169.254.20.10/32".parse().unwrap())], "not what holds more");
    let rules = NetworkRules { open, all_of: vec![all] };
    assert!(reaches(&rules, "169.254.20.10", "169.254.20.10"));
    assert!(!reaches(&rules, "169.254.169.254", "169.254.169.254"));
}

#[test]
fn deny_is_stronger_than_allow_and_every_config_must_allow() {
    let platform = rules(&["*.example.com", "10.0.0.0/8"], &["10.9.0.0/16", "secret.example.com"]);
    let team = rules(&["*"], &["evil.example.com"]);
    let both = NetworkRules { open: Vec::new(), all_of: vec![platform, team] };
    for (host, address, fits) in [
        ("git.example.com", "1.2.3.4", true),
        ("GIT.example.com.", "1.2.3.4", true),
        ("secret.example.com", "1.2.3.4", false),
        ("evil.example.com", "1.2.3.4", false),
        ("git.example.com", "10.9.1.1", false),
        ("anything", "10.1.2.3", true),
        ("anything", "::ffff:10.1.2.3", true),
        ("anything", "::ffff:10.9.2.3", false),
        ("anything", "11.1.2.3", false),
    ] {
        assert_eq!(reaches(&both, host, address), fits, "{host} {address}");
    }
    // what a name leads to is not known yet, but that no name is allowed
    assert!(both.check_host("anything").is_ok());
    assert!(only(rules(&["a.example"], &[])).check_host("anything").is_err());
}

#[test]
fn entries_are_hosts_or_networks() {
    for (written, shown) in [
        ("Git.Example.com.", "git.example.com"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3"),
        ("fd00::/8", "fd00::/8"),
        ("*.example.com", "*.example.com"),
    ] {
        assert_eq!(written.parse::<Entry>().unwrap().to_string(), shown);
    }
    for written in ["", "10.0.0.0/33", "https://a", "a b", "a/b", "[a", "a:80"] {
        assert!(written.parse::<Entry>().is_err(), "{written}");
    }
}

#[test]
fn the_pods_programs_read_what_the_operator_writes() {
    let rules = NetworkRules {
        open: vec!["127.0.0.0/8".parse().unwrap()],
        all_of: vec![rules(&["*.example.com"], &["10.0.0.0/8"])],
    };
    let json = serde_json::to_string(&rules).unwrap();
    assert_eq!(
        json,
        r#"{"open":["127.0.0.0/8"],"allOf":[{"allow":["*.example.com"],"deny":["10.0.0.0/8"]}]}"#
    );
    assert_eq!(serde_json::from_str::<NetworkRules>(&json).unwrap(), rules);
    assert_eq!(serde_json::to_string(&NetworkRules::default()).unwrap(), "{}");
}
