//! The findings, as they are printed.

use serde_json::{Value, json};

use super::*;

fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn agent(name: &str, spec: Value, status: &str, reason: &str) -> Agent {
    let condition = json!({"type": "Accepted", "status": status, "reason": reason, "message": "words", "lastTransitionTime": "2026-11-27T10:00:00Z"});
    of(
        json!({"apiVersion": "kubeopencode.io/v1alpha1", "kind": "Agent", "metadata": {"name": name}, "spec": spec, "status": {"conditions": [condition]}}),
    )
}

fn healthy() -> Facts {
    let operator = of(json!({
        "metadata": {"name": "kubeopencode"}, "status": {"readyReplicas": 2},
        "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "c", "image": "registry.example.com/kubeopencode:1.2.3"}]}}},
    }));
    let policy = of(json!({"metadata": {"name": "agents"}, "spec": {"policyTypes": ["Ingress", "Egress"],
        "podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["kubeopencode", "kubetask"]}]}}}));
    let quota = of(
        json!({"metadata": {"name": "small"}, "status": {"hard": {"pods": "10", "requests.cpu": "4"}, "used": {"pods": "9", "requests.cpu": "3500m"}}}),
    );
    let plugin = of(
        json!({"apiVersion": "kubeopencode.io/v1alpha1", "kind": "Plugin", "metadata": {"name": "jira"}, "spec": {"kind": "context-type", "source": {}},
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2026-11-27T10:00:00Z"}]}}),
    );
    let spec = json!({"serviceAccountName": "runner", "credentials": [{"name": "key", "secretRef": {"name": "model"}}]});
    let agents = vec![agent("default", spec, "True", "Resolved")];
    Facts {
        namespace: "team".to_owned(),
        operator_namespace: "kubeopencode-system".to_owned(),
        kinds: Ok(["tasks", "agents", "kubeopencodeconfigs", "plugins"].map(str::to_owned).to_vec()),
        operators: Ok(vec![operator]),
        named: names(&agents).into_iter().map(|named| (named, Ok(true))).collect(),
        agents: Ok(agents),
        policies: Ok(vec![policy]),
        quotas: Ok(vec![quota]),
        plugins: Ok(vec![plugin]),
    }
}

fn said(facts: &Facts) -> String {
    print(&findings(facts), Style { colours: false })
}

#[test]
fn all_is_well() {
    assert!(findings(&healthy()).iter().all(|found| found.mark == Mark::Good));
    insta::assert_snapshot!(said(&healthy()));
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let all = json!({
        "serviceAccountName": "runner",
        "podSpec": {
            "imagePullSecrets": [{"name": "pull"}],
            "env": [
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "variable", "key": "k"}}},
                {"name": "MAYBE", "valueFrom": {"secretKeyRef": {"name": "never-mind", "key": "k", "optional": true}}},
                {"name": "PLAIN", "value": "v"},
            ],
            "volumes": [
                {"name": "keys", "secret": {"secretName": "volume"}},
                {"name": "maybe", "secret": {"secretName": "never-mind", "optional": true}},
                {"name": "joined", "projected": {"sources": [
                    {"secret": {"name": "projected"}},
                    {"secret": {"name": "never-mind", "optional": true}},
                    {"configMap": {"name": "of-no-interest"}},
                ]}},
                {"name": "scratch", "emptyDir": {}},
            ],
        },
        "serverConfig": {"passwordSecretRef": {"name": "server", "key": "password"}},
        "contexts": [
            {"type": "Git", "git": {"repository": "r", "secretRef": {"name": "git"}}},
            {"type": "Git", "optional": true, "git": {"repository": "r", "secretRef": {"name": "never-mind"}}},
            {"type": "File", "file": {"name": "f", "source": {"secretKeyRef": {"name": "file", "key": "k"}}}},
        ],
    });
    let off = json!({"serviceAccountName": "runner", "suspend": true});
    let mut unseen = agent("unseen", json!({"serviceAccountName": "runner"}), "True", "Resolved");
    unseen.status = None;
    let agents = vec![
        agent("broken", all, "False", "ContextError"),
        agent("off", off, "True", "Resolved"),
        agent("modelless", json!({"serviceAccountName": "runner"}), "True", "ModelNotSet"),
        unseen,
    ];
    let mut facts = healthy();
    facts.named = names(&agents[..1]).into_iter().map(|named| (named, Ok(false))).collect();
    facts.agents = Ok(agents);
    facts.kinds = Ok(vec!["tasks".to_owned()]);
    if let Ok([operator]) = facts.operators.as_deref_mut() {
        operator.status = None;
    }
    if let Ok([policy]) = facts.policies.as_deref_mut() {
        policy.spec = of(json!({"policyTypes": ["Egress"], "podSelector": {"matchLabels": {"app": "web"}}}));
    }
    if let Ok([quota]) = facts.quotas.as_deref_mut() {
        quota.status = of(json!({"hard": {"pods": "10"}, "used": {"pods": "10"}}));
    }
    if let Ok([plugin]) = facts.plugins.as_deref_mut() {
        plugin.status = of(
            json!({"conditions": [{"type": "Compiled", "status": "False", "reason": "Invalid", "message": "no component", "lastTransitionTime": "2026-11-27T10:00:00Z"}]}),
        );
    }
    insta::assert_snapshot!(said(&facts));
}

#[test]
fn an_operator_that_watches_other_namespaces_alone_is_no_help() {
    let watching = |flag: &str| {
        let mut facts = healthy();
        if let Ok([operator]) = facts.operators.as_deref_mut() {
            operator.spec = of(json!({"selector": {}, "template": {"spec": {"containers": [
                {"name": "c", "args": ["controller", flag]}]}}}));
        }
        said(&facts)
    };
    let words = "x  operator kubeopencode-system/kubeopencode does not watch namespace team: add it to watchNamespaces of its \
                 chart, or name another operator's namespace with --operator-namespace";
    assert!(watching("--watch-namespace=other,teams").contains(words));
    for flag in ["--watch-namespace=other,team", "--leader-elect"] {
        assert!(!watching(flag).contains("does not watch"), "{flag}");
    }
}

#[test]
fn an_operator_of_another_release_wants_a_look() {
    let of_version = |version: &str| {
        let mut facts = healthy();
        if let Ok([operator]) = facts.operators.as_deref_mut() {
            operator.labels_mut().insert("app.kubernetes.io/version".to_owned(), version.to_owned());
        }
        said(&facts)
    };
    let other = of_version("1000.0.0");
    assert!(
        other.contains("runs: 2 ready, version 1000.0.0, registry.example.com/kubeopencode:1.2.3\n"),
        "{other}"
    );
    let words = format!(
        "!  operator kubeopencode-system/kubeopencode is of version 1000.0.0, and this program of {VERSION}, which may not know \
         what is new or gone there: install kubectl-kubeopencode 1000.0.0\n"
    );
    assert!(other.contains(&words), "{other}");
    for version in [VERSION, "latest"] {
        assert!(!of_version(version).contains("this program"), "{version}");
    }
}

#[test]
fn what_ones_rights_do_not_show_is_no_fault() {
    let hidden = || "you lack a right".to_owned();
    let facts = Facts {
        kinds: Err(hidden()),
        operators: Err(hidden()),
        agents: Ok(Vec::new()),
        named: BTreeMap::from([(
            Named { kind: "Secret", name: "model".to_owned(), by: "Agent default".to_owned() },
            Err(hidden()),
        )]),
        policies: Ok(Vec::new()),
        quotas: Ok(Vec::new()),
        plugins: Err(hidden()),
        ..healthy()
    };
    assert!(findings(&facts).iter().all(|found| found.mark != Mark::Bad));
    insta::assert_snapshot!(said(&facts));
    let none = Facts { operators: Ok(Vec::new()), ..facts };
    assert_eq!(findings(&none).iter().filter(|found| found.mark == Mark::Bad).count(), 1);
}

#[test]
fn a_policy_for_all_pods_is_one_for_agents() {
    let selects = |selector: Value| {
        let spec = of(json!({"podSelector": selector}));
        selects_agents(&spec)
    };
    assert!(selects(json!({})) && selects(json!({"matchLabels": {"app": "kubeopencode"}})));
    assert!(selects(json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]})));
    assert!(selects(json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]})));
    assert!(!selects(json!({"matchLabels": {"app": "kubeopencode", "tier": "one"}})));
    assert!(!selects(json!({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]})));
}
