//! The rules that the chart gives the operator, against what the API server saw it ask for.
//!
//! A pure comparison: rendered manifests on one side, entries of an audit log on the other. Must not touch: a cluster, a
//! file.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use serde::Deserialize as _;
use serde_json::Value;

use crate::audit::Entry;

/// What the chart renders with its defaults; `deploy/install/manifest.sh check` keeps it fresh.
const CHART: &str = include_str!("../../deploy/install/operator.yaml");

/// What one ServiceAccount may do.
#[derive(Clone, Debug, Default)]
pub struct Granted {
    /// Each with the namespace where it holds; `None`: everywhere.
    rules: Vec<(Option<String>, PolicyRule)>,
}

/// Where rules and requests do not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Asked for, and no rule allows it: verb and resource, then the first object that it was asked of.
    pub not_allowed: BTreeMap<String, String>,
    /// Allowed, and never asked for: `patch pods`, `list deployments.apps`.
    pub unused: BTreeSet<String>,
}

impl Granted {
    /// What the chart gives to the operator.
    pub fn by_the_chart() -> Self {
        Self::of(CHART, "kubeopencode")
    }

    /// The rules that the bindings in these manifests give to a ServiceAccount.
    ///
    /// # Panics
    /// When the text is no YAML, or a binding names a role that is not in it.
    pub fn of(manifests: &str, service_account: &str) -> Self {
        let documents = serde_norway::Deserializer::from_str(manifests);
        let objects: Vec<Value> = documents.map(|document| Value::deserialize(document).unwrap()).collect();
        let of_kind = |kind: &str| {
            objects.iter().filter(move |object| object["kind"] == kind).cloned().collect::<Vec<_>>()
        };
        let mut granted = Self::default();
        for binding in parse::<ClusterRoleBinding>(of_kind("ClusterRoleBinding")) {
            if is_bound(binding.subjects.as_deref(), service_account) {
                let role = find(&of_kind("ClusterRole"), &binding.role_ref, None);
                granted.add(None, serde_json::from_value::<ClusterRole>(role).unwrap().rules);
            }
        }
        for binding in parse::<RoleBinding>(of_kind("RoleBinding")) {
            if is_bound(binding.subjects.as_deref(), service_account) {
                let namespace = binding.metadata.namespace;
                let role = find(&of_kind("Role"), &binding.role_ref, namespace.as_deref());
                granted.add(namespace, serde_json::from_value::<Role>(role).unwrap().rules);
            }
        }
        granted
    }

    /// The same without the rules about a group of which the operator was told to do nothing.
    pub fn without_group(mut self, group: &str) -> Self {
        self.rules.retain(|(_, rule)| rule.api_groups.iter().flatten().all(|name| name != group));
        self
    }

    /// The rules that hold everywhere, without these verbs on a resource.
    pub fn without(&self, verbs: &[&str], resource: &str) -> Vec<PolicyRule> {
        let everywhere = self.rules.iter().filter(|(namespace, _)| namespace.is_none());
        let mut rules: Vec<_> = everywhere.map(|(_, rule)| rule.clone()).collect();
        let mut less = Vec::new();
        for rule in &mut rules {
            let resources = rule.resources.get_or_insert_default();
            if let Some(at) = resources.iter().position(|name| name == resource) {
                resources.remove(at);
                let mut rest = PolicyRule { resources: Some(vec![resource.to_owned()]), ..rule.clone() };
                rest.verbs.retain(|verb| !verbs.contains(&verb.as_str()));
                less.push(rest);
            }
        }
        rules.extend(less);
        rules.retain(|rule| {
            !rule.verbs.is_empty() && rule.resources.as_ref().is_some_and(|names| !names.is_empty())
        });
        rules
    }

    /// Compares with what was asked for.
    pub fn compare(&self, asked: impl IntoIterator<Item = Entry>) -> Findings {
        let mut findings = Findings { unused: self.all(), ..Findings::default() };
        for entry in asked {
            let Some(request) = Request::of(&entry) else { continue };
            let asked_for = request.words();
            if self.rules.iter().any(|(namespace, rule)| request.fits(namespace.as_deref(), rule)) {
                findings.unused.remove(&asked_for);
                if request.verb == "list" {
                    // what is listed is watched next, and a watch is logged when it ends
                    findings.unused.remove(&words("watch", &request.resource, request.group));
                } else if request.verb == "patch" && entry.code() == 201 {
                    // an apply that makes the object is allowed by both verbs
                    findings.unused.remove(&words("create", &request.resource, request.group));
                }
            } else {
                let object = format!("{} in namespace \"{}\"", entry.name(), request.namespace);
                findings.not_allowed.entry(asked_for).or_insert(object);
            }
        }
        findings
    }

    fn add(&mut self, namespace: Option<String>, rules: Option<Vec<PolicyRule>>) {
        self.rules.extend(rules.into_iter().flatten().map(|rule| (namespace.clone(), rule)));
    }

    /// Every verb on every resource. Not `update` on finalizers: it is no request, the API server only wants to know
    /// whether whoever writes an ownerReference might.
    fn all(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for (_, rule) in &self.rules {
            for group in rule.api_groups.iter().flatten() {
                for resource in rule.resources.iter().flatten().filter(|name| !name.ends_with("/finalizers"))
                {
                    all.extend(rule.verbs.iter().map(|verb| words(verb, resource, group)));
                }
            }
        }
        all
    }
}

/// What an entry of the log asked for.
struct Request<'a> {
    verb: &'a str,
    group: &'a str,
    /// With its subresource, as rules write it.
    resource: String,
    namespace: &'a str,
    name: &'a str,
}

impl<'a> Request<'a> {
    /// `None`: nothing that rules are about, such as `/version`.
    fn of(entry: &'a Entry) -> Option<Self> {
        let object = entry.object();
        if object.resource.is_empty() {
            return None;
        }
        let slash = if object.subresource.is_empty() { "" } else { "/" };
        Some(Self {
            verb: &entry.verb,
            group: &object.api_group,
            resource: format!("{}{slash}{}", object.resource, object.subresource),
            namespace: &object.namespace,
            name: &object.name,
        })
    }

    /// A `*` in a rule fits nothing: our rules name what they mean.
    fn fits(&self, namespace: Option<&str>, rule: &PolicyRule) -> bool {
        let has = |list: &Option<Vec<String>>, wanted: &str| list.iter().flatten().any(|name| name == wanted);
        let names = rule.resource_names.as_deref().unwrap_or_default();
        namespace.is_none_or(|namespace| namespace == self.namespace)
            && rule.verbs.iter().any(|verb| verb == self.verb)
            && has(&rule.api_groups, self.group)
            && has(&rule.resources, &self.resource)
            && (names.is_empty() || names.iter().any(|name| name == self.name))
    }

    fn words(&self) -> String {
        words(self.verb, &self.resource, self.group)
    }
}

fn words(verb: &str, resource: &str, group: &str) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    format!("{verb} {resource}{dot}{group}")
}

fn parse<T: serde::de::DeserializeOwned>(objects: Vec<Value>) -> Vec<T> {
    objects.into_iter().map(|object| serde_json::from_value(object).unwrap()).collect()
}

fn is_bound(subjects: Option<&[Subject]>, service_account: &str) -> bool {
    let is = |subject: &Subject| subject.kind == "ServiceAccount" && subject.name == service_account;
    subjects.unwrap_or_default().iter().any(is)
}

fn find(roles: &[Value], wanted: &RoleRef, namespace: Option<&str>) -> Value {
    let is = |role: &&Value| {
        role["metadata"]["name"] == wanted.name && role["metadata"]["namespace"].as_str() == namespace
    };
    roles.iter().find(is).unwrap_or_else(|| panic!("{} {} is not there", wanted.kind, wanted.name)).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFESTS: &str = "
kind: ClusterRole
metadata: {name: operator}
rules:
  - {apiGroups: [kubeopencode.io], resources: [tasks, tasks/status], verbs: [patch]}
  - {apiGroups: [kubeopencode.io], resources: [tasks/finalizers], verbs: [update]}
  - {apiGroups: [''], resources: [pods], verbs: [create, delete]}
---
kind: ClusterRole
metadata: {name: view}
rules:
  - {apiGroups: [''], resources: [secrets], verbs: [get]}
---
kind: ClusterRoleBinding
metadata: {name: operator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: operator}
subjects: [{kind: ServiceAccount, name: operator, namespace: system}]
---
kind: Role
metadata: {name: operator, namespace: system}
rules:
  - {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create]}
  - {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, update], resourceNames: [ours]}
---
kind: RoleBinding
metadata: {name: operator, namespace: system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: operator}
subjects: [{kind: ServiceAccount, name: operator, namespace: system}]
";

    /// Requests as `VERB GROUP/RESOURCE[/SUBRESOURCE] NAMESPACE/NAME`, as the API server writes them down.
    fn log(requests: &[&str]) -> Vec<Entry> {
        let parts = |request: &str| {
            let [verb, resource, object] = request.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let mut resource = resource.split('/').map(str::to_owned);
            let (namespace, name) = object.split_once('/').unwrap();
            serde_json::json!({
                "verb": verb, "stageTimestamp": "2026-01-01T00:00:00.000000Z",
                "user": {"username": "operator"}, "responseStatus": {"code": 200},
                "objectRef": {
                    "apiGroup": resource.next(), "resource": resource.next(),
                    "subresource": resource.next().unwrap_or_default(), "namespace": namespace, "name": name,
                },
            })
        };
        requests.iter().map(|request| serde_json::from_value(parts(request)).unwrap()).collect()
    }

    fn findings(requests: &[&str]) -> (Vec<String>, Vec<String>) {
        let Findings { not_allowed, unused } = Granted::of(MANIFESTS, "operator").compare(log(requests));
        (not_allowed.into_iter().map(|(words, object)| format!("{words}: {object}")).collect(), {
            unused.into_iter().collect()
        })
    }

    #[test]
    fn the_chart_names_what_it_allows_and_no_secrets() {
        let all = Granted::by_the_chart().all();
        assert!(all.contains("create pods") && all.contains("get leases.coordination.k8s.io"), "{all:?}");
        let broad = all.iter().find(|words| words.contains("secrets") || words.contains('*'));
        assert_eq!(broad, None);
    }

    #[test]
    fn without_a_group_nothing_is_allowed_of_it() {
        let chart = Granted::by_the_chart();
        let is_kubetasks = |words: &String| words.ends_with(".kubetask.io");
        assert!(chart.all().contains("patch batches/status.kubetask.io"));
        let kubeopencode: BTreeSet<_> =
            chart.all().into_iter().filter(|words| !is_kubetasks(words)).collect();
        assert_eq!(chart.without_group("kubetask.io").all(), kubeopencode);
    }

    #[test]
    fn what_was_asked_for_and_allowed_is_no_finding() {
        let all = [
            "patch kubeopencode.io/tasks team/a",
            "patch kubeopencode.io/tasks/status team/a",
            "create /pods team/",
            "delete /pods team/a-pod",
            "create coordination.k8s.io/leases system/",
            "get coordination.k8s.io/leases system/ours",
            "update coordination.k8s.io/leases system/ours",
        ];
        assert_eq!(findings(&all), (vec![], vec![]));
    }

    #[test]
    fn rules_without_a_verb_have_the_others() {
        let rules = Granted::of(MANIFESTS, "operator").without(&["create"], "pods");
        let verbs = |resource: &str| {
            let of = rules.iter().filter(|rule| rule.resources.iter().flatten().any(|name| name == resource));
            of.flat_map(|rule| rule.verbs.clone()).collect::<Vec<_>>()
        };
        assert_eq!((verbs("pods"), verbs("tasks")), (vec!["delete".to_owned()], vec!["patch".to_owned()]));
        assert_eq!(verbs("leases"), [""; 0], "it holds in one namespace only");
    }

    #[test]
    fn a_rule_that_nobody_used_is_named() {
        let (not_allowed, unused) = findings(&["patch kubeopencode.io/tasks team/a"]);
        assert_eq!(not_allowed, [""; 0]);
        assert_eq!(
            unused,
            [
                "create leases.coordination.k8s.io",
                "create pods",
                "delete pods",
                "get leases.coordination.k8s.io",
                "patch tasks/status.kubeopencode.io",
                "update leases.coordination.k8s.io",
            ]
        );
    }

    #[test]
    fn a_request_without_a_rule_is_named_with_its_first_object() {
        let (not_allowed, _) = findings(&[
            "get /secrets team/key",
            "get /secrets team/another",
            "get coordination.k8s.io/leases system/theirs",
            "create coordination.k8s.io/leases team/",
            "patch apps/tasks team/a",
        ]);
        assert_eq!(
            not_allowed,
            [
                "create leases.coordination.k8s.io:  in namespace \"team\"",
                "get leases.coordination.k8s.io: theirs in namespace \"system\"",
                "get secrets: key in namespace \"team\"",
                "patch tasks.apps: a in namespace \"team\"",
            ]
        );
    }
}
