//! What is well, wrong, or not to be seen.
//!
//! May touch: text made of objects. Must not touch: a client.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use kubeopencode_api::agent::Agent;
use kubeopencode_api::literals::{APP, APP_LABEL, GROUP};
use kubeopencode_api::plugin_object::Plugin;
use kubeopencode_api::release::VERSION;

use crate::output::{Paint, Style};
use crate::table::harmless;

/// The kinds without which nothing works.
const KINDS: [&str; 3] = ["tasks", "agents", "kubeopencodeconfigs"];

/// Where the chart says which version it installs.
const VERSION_LABEL: &str = "app.kubernetes.io/version";

/// What was read; or why it may not be.
pub(crate) type Seen<T> = Result<T, String>;

/// A Secret or ServiceAccount that an Agent names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Named {
    /// `Secret` or `ServiceAccount`
    pub(crate) kind: &'static str,
    /// Its name, in the Agent's namespace.
    pub(crate) name: String,
    /// The Agent, and where it names it.
    pub(crate) by: String,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) namespace: String,
    pub(crate) operator_namespace: String,
    /// Plural names of what the API server serves of our group.
    pub(crate) kinds: Seen<Vec<String>>,
    pub(crate) operators: Seen<Vec<Deployment>>,
    pub(crate) agents: Seen<Vec<Agent>>,
    /// Whether each thing that an Agent names is there.
    pub(crate) named: BTreeMap<Named, Seen<bool>>,
    pub(crate) policies: Seen<Vec<NetworkPolicy>>,
    pub(crate) quotas: Seen<Vec<ResourceQuota>>,
    pub(crate) plugins: Seen<Vec<Plugin>>,
}

/// How it is with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Good,
    /// It works, and wants a look.
    Look,
    Bad,
    /// One's rights do not show it.
    Hidden,
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) mark: Mark,
    words: String,
}

fn finding(mark: Mark, words: impl Into<String>) -> Finding {
    Finding { mark, words: words.into() }
}

/// Findings as lines.
pub(crate) fn print(findings: &[Finding], style: Style) -> String {
    let line = |Finding { mark, words }: &Finding| {
        let (sign, paint) = match mark {
            Mark::Good => ("ok", Paint::Good),
            Mark::Look => ("!", Paint::Warn),
            Mark::Bad => ("x", Paint::Bad),
            Mark::Hidden => ("?", Paint::Plain),
        };
        let gap = " ".repeat(3 - sign.len());
        format!("{}{gap}{}\n", style.paint(paint, sign), harmless(words).replace('\n', " "))
    };
    findings.iter().map(line).collect()
}

/// All of them, in the order in which one would mend them.
pub(crate) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = kinds(facts);
    found.extend(operator(facts));
    found.extend(agents(facts));
    found.extend(named(facts));
    found.extend(policies(facts));
    found.extend(quotas(facts));
    found.extend(plugins(facts));
    found
}

/// What one sees, else the line that says that one does not.
fn seen<'a, T>(what: &str, seen: &'a Seen<T>, say: impl FnOnce(&'a T) -> Vec<Finding>) -> Vec<Finding> {
    match seen {
        Ok(there) => say(there),
        Err(why) => vec![finding(Mark::Hidden, format!("{what}: {why}"))],
    }
}

fn kinds(facts: &Facts) -> Vec<Finding> {
    seen("definitions", &facts.kinds, |kinds| {
        let missing: Vec<_> =
            KINDS.iter().filter(|kind| kinds.iter().all(|there| there != *kind)).copied().collect();
        if missing.is_empty() {
            return vec![finding(
                Mark::Good,
                format!("definitions of {GROUP} are installed: {}", kinds.join(", ")),
            )];
        }
        let missing = missing.join(", ");
        vec![finding(
            Mark::Bad,
            format!("the cluster has no definition of {missing} ({GROUP}): install the chart"),
        )]
    })
}

fn operator(facts: &Facts) -> Vec<Finding> {
    let namespace = &facts.operator_namespace;
    seen("operator", &facts.operators, |operators| {
        if operators.is_empty() {
            let words = format!(
                "no operator in namespace {namespace}: install it, or name its namespace with --operator-namespace"
            );
            return vec![finding(Mark::Bad, words)];
        }
        let each = operators.iter().flat_map(|operator| {
            let place = format!("{namespace}/{}", operator.name_any());
            let image = operator
                .spec
                .as_ref()
                .and_then(|spec| spec.template.spec.as_ref()?.containers.first()?.image.as_deref())
                .unwrap_or("an unknown image");
            let version = operator.labels().get(VERSION_LABEL);
            let of_version = version.map(|version| format!(", version {version}")).unwrap_or_default();
            let runs = match operator.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default() {
                0 => finding(Mark::Bad, format!("operator {place} ({image}) has no Pod that is ready: look with kubectl -n {namespace} describe pods")),
                ready => finding(Mark::Good, format!("operator {place} runs: {ready} ready{of_version}, {image}")),
            };
            // a development build is of no release
            let of_release = version.filter(|version| version.starts_with(|c: char| c.is_ascii_digit()));
            let another = of_release.filter(|version| *version != VERSION).map(|version| {
                finding(Mark::Look, format!("operator {place} is of version {version}, and this program of {VERSION}, which may not know what is new or gone there: install kubectl-kubeopencode {version}"))
            });
            let elsewhere = (!watches(operator, [&facts.namespace, namespace])).then(|| {
                finding(Mark::Bad, format!("operator {place} does not watch namespace {}: add it to watchNamespaces of its chart, or name another operator's namespace with --operator-namespace", facts.namespace))
            });
            [runs].into_iter().chain(another).chain(elsewhere)
        });
        each.collect()
    })
}

/// Whether an operator in the second of these namespaces looks into the first.
fn watches(operator: &Deployment, [namespace, own]: [&String; 2]) -> bool {
    let pod = operator.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let args =
        pod.into_iter().flat_map(|pod| &pod.containers).flat_map(|container| container.args.iter().flatten());
    let mut named = args
        .filter_map(|arg| arg.strip_prefix("--watch-namespace="))
        .flat_map(|names| names.split(','))
        .peekable();
    named.peek().is_none() || namespace == own || named.any(|name| name == namespace)
}

fn agents(facts: &Facts) -> Vec<Finding> {
    let namespace = &facts.namespace;
    seen("Agents", &facts.agents, |agents| {
        if agents.is_empty() {
            return vec![finding(
                Mark::Look,
                format!(
                    "namespace {namespace} has no Agent: write one, or name one of another namespace with run --agent NAMESPACE/NAME"
                ),
            )];
        }
        agents.iter().map(agent).collect()
    })
}

fn agent(agent: &Agent) -> Finding {
    let name = format!("Agent {}", agent.name_any());
    let conditions = agent.status.iter().flat_map(|status| &status.conditions);
    let Some(accepted) = conditions.into_iter().find(|one| one.type_ == "Accepted") else {
        return finding(
            Mark::Bad,
            format!("{name} was seen by no operator: see above, and the operator's log"),
        );
    };
    let words = format!("({}): {}", accepted.reason, accepted.message);
    match accepted.status.as_str() {
        "True" if agent.spec.is_suspended() => finding(
            Mark::Look,
            format!("{name} is suspended: no Task of it starts until spec.suspend is false"),
        ),
        "True" if accepted.reason == "Resolved" => finding(Mark::Good, format!("{name} is accepted")),
        "True" => finding(Mark::Look, format!("{name} is accepted {words}")),
        _ => finding(Mark::Bad, format!("{name} is not accepted {words}")),
    }
}

/// What Agents name, with where they do.
pub(crate) fn names(agents: &[Agent]) -> Vec<Named> {
    let mut all = Vec::new();
    for agent in agents {
        let mut add = |kind: &'static str, name: &str, field: String| {
            let by = format!("Agent {}, {field}", agent.name_any());
            all.push(Named { kind, name: name.to_owned(), by });
        };
        let spec = &agent.spec;
        add("ServiceAccount", &spec.service_account_name, "spec.serviceAccountName".to_owned());
        for (i, credential) in spec.credentials.iter().enumerate() {
            add("Secret", &credential.secret_ref.name, format!("spec.credentials[{i}]"));
        }
        for secret in spec.pod_spec.iter().flat_map(|pod| &pod.image_pull_secrets) {
            add("Secret", &secret.name, "spec.podSpec.imagePullSecrets".to_owned());
        }
        for variable in spec.pod_spec.iter().flat_map(|pod| &pod.env) {
            let key = variable.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref());
            if let Some(key) = key.filter(|key| key.optional != Some(true)) {
                add("Secret", &key.name, format!("spec.podSpec.env, {}", variable.name));
            }
        }
        for volume in spec.pod_spec.iter().flat_map(|pod| &pod.volumes) {
            let secret = volume.secret.as_ref().filter(|secret| secret.optional != Some(true));
            if let Some(name) = secret.and_then(|secret| secret.secret_name.as_deref()) {
                add("Secret", name, format!("spec.podSpec.volumes, {}", volume.name));
            }
            let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
            let secrets = sources.filter_map(|source| source.secret.as_ref());
            for secret in secrets.filter(|secret| secret.optional != Some(true)) {
                add("Secret", &secret.name, format!("spec.podSpec.volumes, {}", volume.name));
            }
        }
        if let Some(password) =
            spec.server_config.as_ref().and_then(|server| server.password_secret_ref.as_ref())
        {
            add("Secret", &password.name, "spec.serverConfig.passwordSecretRef".to_owned());
        }
        for (i, item) in spec.contexts.iter().enumerate().filter(|(_, item)| item.optional != Some(true)) {
            let of_git = item.git.as_ref().and_then(|git| git.secret_ref.as_ref());
            let of_url = item.url.as_ref().and_then(|url| url.secret_ref.as_ref());
            for secret in of_git.into_iter().chain(of_url) {
                add("Secret", &secret.name, format!("spec.contexts[{i}]"));
            }
            let of_file = item.file.as_ref().and_then(|file| file.source.secret_key_ref.as_ref());
            if let Some(key) = of_file.filter(|key| key.optional != Some(true)) {
                add("Secret", &key.name, format!("spec.contexts[{i}]"));
            }
        }
    }
    all
}

fn named(facts: &Facts) -> Vec<Finding> {
    let each = facts.named.iter().map(|(Named { kind, name, by }, there)| match there {
        Ok(true) => finding(Mark::Good, format!("{kind} {name} is there ({by})")),
        Ok(false) => finding(
            Mark::Bad,
            format!("{kind} {name} is not in namespace {} ({by}): make it, or name another", facts.namespace),
        ),
        Err(why) => finding(Mark::Hidden, format!("{kind} {name} ({by}): {why}")),
    });
    each.collect()
}

fn policies(facts: &Facts) -> Vec<Finding> {
    seen("NetworkPolicies", &facts.policies, |policies| {
        let limits = |policy: &&NetworkPolicy| {
            let spec = policy.spec.as_ref();
            let is_for_egress = spec
                .and_then(|spec| spec.policy_types.as_ref())
                .is_some_and(|types| types.iter().any(|type_| type_ == "Egress"));
            is_for_egress && spec.is_some_and(selects_agents)
        };
        let names: Vec<_> = policies.iter().filter(limits).map(ResourceExt::name_any).collect();
        if names.is_empty() {
            return vec![finding(
                Mark::Look,
                format!(
                    "no NetworkPolicy of namespace {} limits what agents reach: agentNetworkPolicy of the chart makes one",
                    facts.namespace
                ),
            )];
        }
        vec![finding(Mark::Good, format!("NetworkPolicy {} limits what agents reach", names.join(", ")))]
    })
}

/// Whether a policy holds for every Pod of a Task, which has the label `app=kubeopencode`.
fn selects_agents(spec: &k8s_openapi::api::networking::v1::NetworkPolicySpec) -> bool {
    let Some(selector) = &spec.pod_selector else { return true };
    let labels = selector.match_labels.iter().flatten().all(|(key, value)| key == APP_LABEL && value == APP);
    let expressions = selector.match_expressions.iter().flatten().all(|one| {
        let values = one.values.as_deref().unwrap_or_default();
        let is_among = values.iter().any(|value| value == APP);
        match one.operator.as_str() {
            "In" => one.key == APP_LABEL && is_among,
            "Exists" => one.key == APP_LABEL,
            "NotIn" => one.key == APP_LABEL && !is_among,
            _ => false,
        }
    });
    labels && expressions
}

fn quotas(facts: &Facts) -> Vec<Finding> {
    seen("ResourceQuotas", &facts.quotas, |quotas| {
        if quotas.is_empty() {
            return vec![finding(Mark::Good, format!("no ResourceQuota in namespace {}", facts.namespace))];
        }
        quotas.iter().map(quota).collect()
    })
}

fn quota(quota: &ResourceQuota) -> Finding {
    let name = quota.name_any();
    let status = quota.status.clone().unwrap_or_default();
    let (hard, used) = (status.hard.unwrap_or_default(), status.used.unwrap_or_default());
    let full: Vec<_> = hard
        .iter()
        .filter_map(|(resource, hard)| {
            let used = used.get(resource)?;
            let whole = |text: &str| text.parse::<u64>().ok();
            let is_full = match (whole(&used.0), whole(&hard.0)) {
                (Some(used), Some(hard)) => used >= hard,
                _ => used.0 == hard.0,
            };
            is_full.then(|| format!("{resource} {} of {}", used.0, hard.0))
        })
        .collect();
    if full.is_empty() {
        return finding(Mark::Good, format!("ResourceQuota {name} has room"));
    }
    let full = full.join(", ");
    finding(
        Mark::Look,
        format!("ResourceQuota {name} is used up ({full}): Tasks wait until Pods end, or it is raised"),
    )
}

fn plugins(facts: &Facts) -> Vec<Finding> {
    seen("plugins", &facts.plugins, |plugins| plugins.iter().map(plugin).collect())
}

fn plugin(plugin: &Plugin) -> Finding {
    let name = format!("Plugin {}", plugin.name_any());
    let status = plugin.status.clone().unwrap_or_default();
    let bad = status.conditions.iter().find(|one| one.status == "False");
    let serves = status.conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True");
    match (serves, bad) {
        (true, None) => finding(Mark::Good, format!("{name} serves")),
        (true, Some(bad)) => finding(Mark::Look, format!("{name} serves ({}): {}", bad.reason, bad.message)),
        (false, Some(bad)) => {
            finding(Mark::Bad, format!("{name} does not serve ({}): {}", bad.reason, bad.message))
        }
        (false, None) => finding(Mark::Look, format!("{name} is being loaded")),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
