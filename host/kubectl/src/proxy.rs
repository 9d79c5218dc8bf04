//! Which proxy the API server is reached through: kubectl's rules, which are not those of kube's loader. That one leaves out a
//! proxy where `NO_PROXY` names the proxy, and asks nothing about the API server.
//!
//! May touch: text. Must not touch: the environment, a client.

use std::net::IpAddr;

use http::Uri;
use http::uri::InvalidUri;
use hyper_util::client::proxy::matcher::Matcher;
use kube::config::Kubeconfig;

/// `proxy-url` of the cluster of a context, by default of the current one.
pub(crate) fn of_kubeconfig(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let name = context.or(kubeconfig.current_context.as_deref())?;
    let context = kubeconfig.contexts.iter().find(|known| known.name == name)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|known| known.name == context.cluster)?;
    cluster.cluster.as_ref()?.proxy_url.clone().filter(|proxy| !proxy.is_empty())
}

/// The proxy for this API server: the one of the kubeconfig, whatever the environment says; else that of the environment,
/// where the API server is not on this machine and `NO_PROXY` does not name it.
///
/// # Errors
/// When it is no address, in words without it: it may hold a password.
pub(crate) fn to(
    server: &Uri,
    own: Option<String>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Uri>, String> {
    let first =
        |names: [&str; 2]| names.into_iter().find_map(|name| variable(name).filter(|it| !it.is_empty()));
    let (from, proxy) = match own {
        Some(proxy) => ("proxy-url of the kubeconfig", Some(proxy)),
        None if is_on_this_machine(server)
            || is_named(server, &first(["NO_PROXY", "no_proxy"]).unwrap_or_default()) =>
        {
            return Ok(None);
        }
        None if server.scheme_str() == Some("http") => ("HTTP_PROXY", first(["HTTP_PROXY", "http_proxy"])),
        None => ("HTTPS_PROXY", first(["HTTPS_PROXY", "https_proxy"])),
    };
    let Some(proxy) = proxy else { return Ok(None) };
    // names are resolved by the proxy either way
    let proxy = match (proxy.strip_prefix("socks5h://"), proxy.contains("://")) {
        (Some(rest), _) => format!("socks5://{rest}"),
        (None, true) => proxy,
        (None, false) => format!("http://{proxy}"),
    };
    let wrong = |error: InvalidUri| {
        format!(
            "{from}: the proxy has no address: {error}: write it as http://HOST:PORT or socks5://HOST:PORT"
        )
    };
    proxy.parse::<Uri>().map(Some).map_err(wrong)
}

fn is_on_this_machine(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether `NO_PROXY` names it.
fn is_named(server: &Uri, no_proxy: &str) -> bool {
    let any = Matcher::builder().all("http://any").no(no_proxy).build();
    any.intercept(server).is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CORPORATE: (&str, &str) = ("HTTPS_PROXY", "http://me:secret@proxy.corp:3128");

    fn chosen(server: &str, own: Option<&str>, variables: &[(&str, &str)]) -> Result<Option<Uri>, String> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        to(&server.parse().unwrap(), own.map(str::to_owned), variable)
    }

    fn is(proxy: &str) -> Result<Option<Uri>, String> {
        Ok(Some(proxy.parse().unwrap()))
    }

    #[test]
    fn the_environments_proxy_is_for_servers_elsewhere_that_nobody_excepts() {
        let cloud = "https://eks.example.com";
        assert_eq!(chosen(cloud, None, &[]), Ok(None));
        assert_eq!(chosen(cloud, None, &[CORPORATE]), is("http://me:secret@proxy.corp:3128"));
        assert_eq!(chosen(cloud, None, &[("https_proxy", "proxy:3128")]), is("http://proxy:3128"));
        assert_eq!(chosen(cloud, None, &[("HTTPS_PROXY", ""), ("HTTP_PROXY", "http://proxy")]), Ok(None));
        assert_eq!(chosen("http://api.corp", None, &[("HTTP_PROXY", "http://proxy")]), is("http://proxy"));
        // where NO_PROXY names the proxy itself, as companies do with all of their domain, it is a proxy all the same
        for (excepted, is_reached_directly) in [
            ("example.com", true),
            (".example.com, other", true),
            ("*", true),
            (".corp", false),
            ("ample.com", false),
        ] {
            let found = chosen(cloud, None, &[CORPORATE, ("NO_PROXY", excepted)]).unwrap();
            assert_eq!(found.is_none(), is_reached_directly, "{excepted}");
        }
        assert_eq!(chosen("https://10.1.2.3:6443", None, &[CORPORATE, ("no_proxy", "10.0.0.0/8")]), Ok(None));
        for kind in ["https://127.0.0.1:41234", "https://localhost:6443", "https://[::1]:6443"] {
            assert_eq!(chosen(kind, None, &[CORPORATE]), Ok(None), "{kind}");
        }
    }

    #[test]
    fn the_kubeconfigs_proxy_counts_before_all_else() {
        let excepted = [CORPORATE, ("NO_PROXY", "*")];
        let tunnel = "socks5://localhost:1080";
        for server in ["https://eks.example.com", "https://127.0.0.1:6443"] {
            assert_eq!(chosen(server, Some(tunnel), &excepted), is(tunnel), "{server}");
        }
        assert_eq!(chosen("https://a", Some("socks5h://localhost:1080"), &[]), is(tunnel));
        let kubeconfig: Kubeconfig = serde_json::from_value(json!({
            "current-context": "work",
            "contexts": [{"name": "work", "context": {"cluster": "far", "user": "me"}},
                {"name": "home", "context": {"cluster": "near", "user": "me"}}],
            "clusters": [{"name": "near", "cluster": {"server": "https://a"}},
                {"name": "far", "cluster": {"server": "https://b", "proxy-url": tunnel}}],
        }))
        .unwrap();
        assert_eq!(of_kubeconfig(&kubeconfig, None).as_deref(), Some(tunnel));
        assert_eq!(of_kubeconfig(&kubeconfig, Some("home")), None);
        assert_eq!(of_kubeconfig(&kubeconfig, Some("none")), None);
    }

    #[test]
    fn a_proxy_that_is_no_address_is_told_without_its_password() {
        let words = chosen("https://a", None, &[("HTTPS_PROXY", "http://me:secret@a b")]).unwrap_err();
        assert!(words.starts_with("HTTPS_PROXY: the proxy has no address: "), "{words}");
        assert!(!words.contains("secret"), "{words}");
    }
}
