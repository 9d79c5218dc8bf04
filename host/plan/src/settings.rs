//! KubeOpenCodeConfig, resolved: what holds for one Task, field by field.
//!
//! May touch: the specs of the three configs that may apply. Must not touch: where they are read.

use jiff::SignedDuration;
use kubeopencode_api::config::{
    CaBundle, Cleanup, Defaults, KubeOpenCodeConfigSpec, Proxy, PullPolicy, StopPolicy, TaskSecretRefs,
};
use kubeopencode_api::literals::{DEFAULT_CLUSTER_DOMAIN, DEFAULT_SYSTEM_IMAGE};
use kubeopencode_api::network::{AllowDeny, NetworkRules};

const DEFAULT_GRACE_SECONDS: i32 = 5;
const DEFAULT_START_TIMEOUT_SECONDS: i32 = 3600;

/// What holds for one Task.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    system_image: String,
    system_image_pull_policy: PullPolicy,
    cleanup: Cleanup,
    grace: SignedDuration,
    start_timeout: Option<SignedDuration>,
    stop_policy: Option<StopPolicy>,
    result_summary: bool,
    task_secret_refs: TaskSecretRefs,
    defaults: Defaults,
    proxy: Proxy,
    ca_bundle: Option<CaBundle>,
    cluster_domain: String,
    network: Network,
}

impl Settings {
    /// What the Pod's containers are from the namespace where it runs, else from the operator's: system image, defaults of
    /// Agents, proxies, authorities; everything else from the Task's namespace, else from the operator's; each field for
    /// itself. What one of them denies to the contexts of Tasks, Secrets and networks, no other allows. A config that cannot
    /// be read denies what it might deny: no Secrets and no downloads for the contexts of Tasks, and no finished Task is
    /// deleted.
    pub fn resolve(task_ns: Layer<'_>, pod_ns: Layer<'_>, operator_ns: Layer<'_>) -> Self {
        let pod = Layers([pod_ns, operator_ns]);
        let task = Layers([task_ns, operator_ns]);
        let image = |spec: &KubeOpenCodeConfigSpec| spec.system_image.clone();
        // what nobody can read may say that they stay
        let cleanup = |spec: &KubeOpenCodeConfigSpec| spec.cleanup.clone().filter(|_| !task.has_unreadable());
        let seconds = |value: i32| SignedDuration::from_secs(i64::from(value.max(0)));
        let start_timeout =
            task.first(|spec| spec.start_timeout_seconds).unwrap_or(DEFAULT_START_TIMEOUT_SECONDS);
        Self {
            system_image: pod
                .first(|spec| image(spec)?.image.filter(|image| !image.is_empty()))
                .unwrap_or_else(|| DEFAULT_SYSTEM_IMAGE.to_owned()),
            system_image_pull_policy: pod.first(|spec| image(spec)?.image_pull_policy).unwrap_or_default(),
            cleanup: Cleanup {
                ttl_seconds_after_finished: task.first(|spec| cleanup(spec)?.ttl_seconds_after_finished),
                max_retained_tasks: task.first(|spec| cleanup(spec)?.max_retained_tasks),
            },
            grace: seconds(task.first(|spec| spec.dependency_grace_seconds).unwrap_or(DEFAULT_GRACE_SECONDS)),
            start_timeout: (start_timeout > 0).then(|| seconds(start_timeout)),
            stop_policy: task.first(|spec| spec.stop_policy),
            result_summary: task.first(|spec| spec.result_summary).unwrap_or(true),
            task_secret_refs: if task.denies(|spec| spec.task_secret_refs == Some(TaskSecretRefs::Deny)) {
                TaskSecretRefs::Deny
            } else {
                TaskSecretRefs::Allow
            },
            defaults: defaults(&pod),
            proxy: proxy(&pod),
            ca_bundle: pod.first(|spec| spec.ca_bundle.clone()),
            cluster_domain: DEFAULT_CLUSTER_DOMAIN.to_owned(),
            network: Network::resolve([task_ns, pod_ns, operator_ns], operator_ns),
        }
    }

    /// The same in a cluster of this domain.
    pub fn in_cluster_of(self, domain: &str) -> Self {
        Self { cluster_domain: domain.to_owned(), ..self }
    }

    /// Image of the init containers.
    pub fn system_image(&self) -> &str {
        &self.system_image
    }

    /// When that image is pulled.
    pub fn system_image_pull_policy(&self) -> PullPolicy {
        self.system_image_pull_policy
    }

    /// When finished Tasks are deleted; a field that is not set never deletes one.
    pub fn cleanup(&self) -> &Cleanup {
        &self.cleanup
    }

    /// How long a Task waits for something that is missing.
    pub fn grace(&self) -> SignedDuration {
        self.grace
    }

    /// After how long a Pod that has not started fails its Task; `None`: never.
    pub fn start_timeout(&self) -> Option<SignedDuration> {
        self.start_timeout
    }

    /// What stopping a Task does with its Pod: somebody asked for it, and the Pod goes.
    pub fn stop_policy(&self) -> StopPolicy {
        self.stop_policy.unwrap_or(StopPolicy::DeletePod)
    }

    /// What a Task's timeout does with its Pod: nobody asked for it, and the log may say why.
    pub fn timeout_policy(&self) -> StopPolicy {
        self.stop_policy.unwrap_or(StopPolicy::KeepPod)
    }

    /// Whether the agent's last words are kept in the Task's status.
    pub fn result_summary(&self) -> bool {
        self.result_summary
    }

    /// Whether the contexts of Tasks may name Secrets.
    pub fn task_secret_refs(&self) -> TaskSecretRefs {
        self.task_secret_refs
    }

    /// What holds where an Agent does not say it.
    pub fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    /// The proxies of every container; no text in it is empty.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// The authorities that every container trusts.
    pub fn ca_bundle(&self) -> Option<&CaBundle> {
        self.ca_bundle.as_ref()
    }

    /// The domain in which the cluster's Services are.
    pub fn cluster_domain(&self) -> &str {
        &self.cluster_domain
    }

    /// Where contexts may be fetched from.
    pub fn network(&self) -> &Network {
        &self.network
    }
}

/// Where contexts may be fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Contexts of Agents.
    pub(crate) of_agents: NetworkRules,
    /// Contexts of Tasks, or why there are no rules for them.
    pub(crate) of_tasks: Result<NetworkRules, String>,
}

impl Network {
    /// Each of these configs must allow it. The operator's alone opens what is closed by itself.
    fn resolve(layers: [Layer<'_>; 3], operator: Layer<'_>) -> Self {
        let read = |layer: Layer<'_>| match layer {
            Layer::Absent => Ok(None),
            Layer::Unreadable => Err("a KubeOpenCodeConfig cannot be read".to_owned()),
            Layer::Read(spec) => spec.task_network.as_ref().map(AllowDeny::try_from).transpose(),
        };
        let open =
            read(operator).ok().flatten().map(|rules| NetworkRules::opened_by(&rules)).unwrap_or_default();
        let rules: Result<Vec<_>, _> = layers.into_iter().map(read).collect();
        let of_tasks = rules.map(|rules| {
            // one config is often two of them
            let mut all_of: Vec<AllowDeny> = Vec::new();
            for rules in rules.into_iter().flatten().filter(|rules| rules != &AllowDeny::default()) {
                if !all_of.contains(&rules) {
                    all_of.push(rules);
                }
            }
            NetworkRules { open: open.clone(), all_of }
        });
        Self { of_agents: NetworkRules { open, all_of: Vec::new() }, of_tasks }
    }
}

/// A namespace may take the operator's proxy away, by an empty text.
fn proxy(layers: &Layers<'_>) -> Proxy {
    let one = |field: fn(&Proxy) -> &Option<String>| {
        let text = layers.first(|spec| field(spec.proxy.as_ref()?).clone());
        text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    Proxy { http: one(|of| &of.http), https: one(|of| &of.https), no: one(|of| &of.no) }
}

fn defaults(layers: &Layers<'_>) -> Defaults {
    let image = |field: fn(&Defaults) -> &Option<String>| {
        layers.first(|spec| field(spec.defaults.as_ref()?).clone().filter(|image| !image.is_empty()))
    };
    let secrets = |of: &Defaults| Some(of.image_pull_secrets.clone()).filter(|secrets| !secrets.is_empty());
    Defaults {
        agent_image: image(|of| &of.agent_image),
        executor_image: image(|of| &of.executor_image),
        attach_image: image(|of| &of.attach_image),
        image_pull_policy: layers.first(|spec| spec.defaults.as_ref()?.image_pull_policy),
        image_pull_secrets: layers.first(|spec| secrets(spec.defaults.as_ref()?)).unwrap_or_default(),
        timeout: layers.first(|spec| spec.defaults.as_ref()?.timeout.clone()),
        idle_timeout: layers.first(|spec| spec.defaults.as_ref()?.idle_timeout.clone()),
        config: layers.first(|spec| spec.defaults.as_ref()?.config.clone()),
        resources: layers.first(|spec| spec.defaults.as_ref()?.resources.clone()),
        pod_security_context: layers.first(|spec| spec.defaults.as_ref()?.pod_security_context.clone()),
    }
}

/// A config that may apply.
#[derive(Clone, Copy, Debug, Default)]
pub enum Layer<'a> {
    /// There is none.
    #[default]
    Absent,
    /// There is one, and it cannot be read: a newer version wrote it, mostly.
    Unreadable,
    /// What it says.
    Read(&'a KubeOpenCodeConfigSpec),
}

impl<'a> From<Option<&'a KubeOpenCodeConfigSpec>> for Layer<'a> {
    fn from(spec: Option<&'a KubeOpenCodeConfigSpec>) -> Self {
        spec.map_or(Self::Absent, Self::Read)
    }
}

/// Configs, the first one that sets a field wins.
struct Layers<'a>([Layer<'a>; 2]);

impl Layers<'_> {
    fn first<T>(&self, field: impl Fn(&KubeOpenCodeConfigSpec) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(|layer| match layer {
            Layer::Read(spec) => field(spec),
            Layer::Absent | Layer::Unreadable => None,
        })
    }

    /// Whether one of them denies it, or might.
    fn denies(&self, denied: impl Fn(&KubeOpenCodeConfigSpec) -> bool) -> bool {
        self.0.iter().any(|layer| match layer {
            Layer::Read(spec) => denied(spec),
            Layer::Unreadable => true,
            Layer::Absent => false,
        })
    }

    fn has_unreadable(&self) -> bool {
        self.0.iter().any(|layer| matches!(layer, Layer::Unreadable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> KubeOpenCodeConfigSpec {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn without_any_config_the_defaults_hold() {
        let settings = Settings::resolve(Layer::Absent, Layer::Absent, Layer::Absent);
        assert_eq!(settings.system_image(), "quay.io/kubeopencode/kubeopencode:latest");
        assert_eq!(settings.system_image_pull_policy(), PullPolicy::IfNotPresent);
        assert_eq!(settings.grace(), SignedDuration::from_secs(5));
        assert_eq!(settings.start_timeout(), Some(SignedDuration::from_secs(3600)));
        assert_eq!(settings.stop_policy(), StopPolicy::DeletePod);
        assert_eq!(settings.timeout_policy(), StopPolicy::KeepPod);
        assert!(settings.result_summary());
        assert_eq!(settings.task_secret_refs(), TaskSecretRefs::Allow);
        assert_eq!(settings.cleanup(), &Cleanup::default());
        assert_eq!(settings.defaults(), &Defaults::default());
    }

    #[test]
    fn defaults_of_agents_come_from_where_the_pod_runs() {
        let task = config(r#"{"defaults": {"agentImage": "task/ignored", "attachImage": "task/ignored"}}"#);
        let pod = config(
            r#"{"defaults": {"executorImage": "pod/executor", "imagePullSecrets": [{"name": "pods"}], "agentImage": "",
                "timeout": "1h"}}"#,
        );
        let operator = config(
            r#"{"defaults": {"agentImage": "op/agent", "executorImage": "op/executor", "imagePullPolicy": "Never",
                "imagePullSecrets": [{"name": "operators"}], "timeout": "2h", "idleTimeout": "30m"}}"#,
        );
        let settings = Settings::resolve(Layer::Read(&task), Layer::Read(&pod), Layer::Read(&operator));
        let expected = config(
            r#"{"defaults": {"agentImage": "op/agent", "executorImage": "pod/executor", "imagePullPolicy": "Never",
                "imagePullSecrets": [{"name": "pods"}], "timeout": "1h", "idleTimeout": "30m"}}"#,
        );
        assert_eq!(Some(settings.defaults()), expected.defaults.as_ref());
    }

    #[test]
    fn a_namespace_may_take_the_proxy_away() {
        let pod = config(r#"{"proxy": {"http": "", "no": " .example.com "}}"#);
        let operator = config(r#"{"proxy": {"http": "http://p:1", "https": "http://p:2", "no": "x"}}"#);
        let settings = Settings::resolve(Layer::Absent, Layer::Read(&pod), Layer::Read(&operator));
        let expected = r#"{"https": "http://p:2", "no": ".example.com"}"#;
        assert_eq!(settings.proxy(), &serde_json::from_str::<Proxy>(expected).unwrap());
    }

    #[test]
    fn each_field_comes_from_its_own_place() {
        let task = config(
            r#"{"systemImage": {"image": "task/ignored"}, "dependencyGraceSeconds": 0,
                "cleanup": {"ttlSecondsAfterFinished": 60}}"#,
        );
        let pod = config(r#"{"systemImage": {"imagePullPolicy": "Always"}, "stopPolicy": "KeepPod"}"#);
        let operator = config(
            r#"{"systemImage": {"image": "op/image", "imagePullPolicy": "Never"}, "startTimeoutSeconds": 0,
                "dependencyGraceSeconds": 9, "cleanup": {"ttlSecondsAfterFinished": 5, "maxRetainedTasks": 7},
                "taskSecretRefs": "Deny", "resultSummary": false}"#,
        );
        let settings = Settings::resolve(Layer::Read(&task), Layer::Read(&pod), Layer::Read(&operator));
        assert_eq!(settings.system_image(), "op/image");
        assert_eq!(settings.system_image_pull_policy(), PullPolicy::Always);
        assert_eq!(settings.stop_policy(), StopPolicy::DeletePod, "not from the Pod's namespace");
        assert_eq!(settings.grace(), SignedDuration::ZERO);
        assert_eq!(settings.start_timeout(), None);
        assert_eq!(settings.cleanup().ttl_seconds_after_finished, Some(60));
        assert_eq!(settings.cleanup().max_retained_tasks, Some(7));
        assert_eq!(settings.task_secret_refs(), TaskSecretRefs::Deny);
        assert!(!settings.result_summary());
    }

    #[test]
    fn a_config_that_cannot_be_read_denies_what_it_might_deny() {
        let other = config(
            r#"{"cleanup": {"maxRetainedTasks": 7}, "taskSecretRefs": "Allow", "stopPolicy": "KeepPod"}"#,
        );
        for (task, operator) in
            [(Layer::Unreadable, Layer::Read(&other)), (Layer::Read(&other), Layer::Unreadable)]
        {
            let settings = Settings::resolve(task, Layer::Absent, operator);
            assert_eq!(settings.task_secret_refs(), TaskSecretRefs::Deny);
            assert_eq!(settings.cleanup(), &Cleanup::default(), "nothing is deleted");
            assert_eq!(settings.stop_policy(), StopPolicy::KeepPod, "what is known holds");
            let refused = settings.network().of_tasks.as_ref().unwrap_err();
            assert_eq!(refused, "a KubeOpenCodeConfig cannot be read");
            assert!(settings.network().of_agents.is_default());
        }
    }

    #[test]
    fn one_stop_policy_holds_for_stops_and_timeouts() {
        for policy in [StopPolicy::DeletePod, StopPolicy::KeepPod] {
            let spec =
                KubeOpenCodeConfigSpec { stop_policy: Some(policy), ..KubeOpenCodeConfigSpec::default() };
            let settings = Settings::resolve(Layer::Read(&spec), Layer::Absent, Layer::Absent);
            assert_eq!((settings.stop_policy(), settings.timeout_policy()), (policy, policy));
        }
    }

    #[test]
    fn a_namespace_denies_more_and_allows_no_more() {
        let deny = config(r#"{"taskSecretRefs": "Deny"}"#);
        let allow = config(r#"{"taskSecretRefs": "Allow"}"#);
        for (task, operator, denied) in [
            (Layer::Read(&allow), Layer::Read(&deny), true),
            (Layer::Read(&deny), Layer::Read(&allow), true),
            (Layer::Absent, Layer::Read(&deny), true),
            (Layer::Read(&allow), Layer::Absent, false),
        ] {
            let settings = Settings::resolve(task, Layer::Absent, operator);
            assert_eq!(settings.task_secret_refs() == TaskSecretRefs::Deny, denied, "{task:?} {operator:?}");
        }

        let operator = config(r#"{"taskNetwork": {"allow": ["*.example.com", "169.254.20.10"]}}"#);
        let team = config(r#"{"taskNetwork": {"allow": ["*", "169.254.169.254", "127.0.0.0/8"]}}"#);
        let platform = config(r#"{"taskNetwork": {"deny": ["secret.example.com"]}}"#);
        let settings = Settings::resolve(Layer::Read(&team), Layer::Read(&platform), Layer::Read(&operator));
        let tasks = settings.network().of_tasks.as_ref().unwrap();
        for (host, address, fits) in [
            ("git.example.com", "140.82.121.3", true),
            ("secret.example.com", "140.82.121.3", false),
            ("github.com", "140.82.121.3", false),
            ("169.254.20.10", "169.254.20.10", true),
            ("169.254.169.254", "169.254.169.254", false),
            ("localhost", "127.0.0.1", false),
        ] {
            assert_eq!(tasks.check_address(host, address.parse().unwrap()).is_ok(), fits, "{host}");
        }
        let agents = &settings.network().of_agents;
        assert!(agents.check_host("github.com").is_ok() && agents.check_host("169.254.20.10").is_ok());
        assert!(agents.check_host("169.254.169.254").is_err());
    }

    #[test]
    fn an_entry_that_is_neither_host_nor_network_denies_all() {
        let team = config(r#"{"taskNetwork": {"deny": ["10.0.0.0/33"]}}"#);
        let settings = Settings::resolve(Layer::Read(&team), Layer::Absent, Layer::Absent);
        let refused = settings.network().of_tasks.as_ref().unwrap_err();
        assert!(refused.starts_with("\"10.0.0.0/33\" is neither a host"), "{refused}");
    }
}
