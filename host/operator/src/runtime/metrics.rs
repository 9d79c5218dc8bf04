//! The operator's metrics, in OpenMetrics text. Never a label with a Task's name.

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;

use kubeopencode_api::names::AgentKey;
use kubeopencode_api::release::VERSION;
use kubeopencode_api::report::Usage;
use kubeopencode_api::task::Phase;
use kubeopencode_evaluate::CallObserver;
use kubeopencode_plugin_host::Used;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TaskLabels {
    namespace: String,
    phase: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PhaseLabel {
    phase: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AgentLabels {
    namespace: String,
    agent: String,
}

impl From<&AgentKey> for AgentLabels {
    fn from(agent: &AgentKey) -> Self {
        Self { namespace: agent.namespace.clone(), agent: agent.name.clone() }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    plugin: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PluginLabel {
    plugin: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TokenLabels {
    namespace: String,
    agent: String,
    kind: &'static str,
}

/// A counter that OpenMetrics knows as a family of unknown type with its whole name. The gauge `kubeopencode_tasks` and the
/// counter `kubeopencode_tasks_total` would be one family of two types, for which parsers drop the whole scrape.
#[derive(Clone, Debug, Default)]
struct Total(Counter);

impl EncodeMetric for Total {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.encode_gauge(&self.0.get())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Total {
    const TYPE: MetricType = MetricType::Unknown;
}

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    tasks_total: Family<TaskLabels, Total>,
    tasks: Family<PhaseLabel, Gauge>,
    batches: Family<TaskLabels, Counter>,
    cost: Family<AgentLabels, Counter<f64, AtomicU64>>,
    tokens: Family<TokenLabels, Counter>,
    duration: Histogram,
    queue: Histogram,
    launch: Histogram,
    capacity: Family<AgentLabels, Gauge>,
    queue_length: Family<AgentLabels, Gauge>,
    reconcile: Histogram,
    errors: Family<ReasonLabel, Counter>,
    plugin_calls: Family<CallLabels, Counter>,
    plugin_seconds: Family<PluginLabel, Histogram>,
    plugin_fuel: Family<PluginLabel, Counter>,
    plugins: Family<StateLabel, Gauge>,
    plugin_loads: Histogram,
    plugin_load_failures: Family<StageLabel, Counter>,
    watch_events: Family<KindLabel, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("kubeopencode");
        let metrics = Self {
            tasks_total: Family::default(),
            tasks: Family::default(),
            batches: Family::default(),
            cost: Family::default(),
            tokens: Family::default(),
            // a second to five days
            duration: Histogram::new(exponential_buckets(1.0, 3.0, 12)),
            queue: Histogram::new(exponential_buckets(0.1, 3.0, 13)),
            // two milliseconds to half an hour
            launch: Histogram::new(exponential_buckets(0.002, 2.0, 20)),
            capacity: Family::default(),
            queue_length: Family::default(),
            reconcile: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            errors: Family::default(),
            plugin_calls: Family::default(),
            // twenty microseconds to the longest that a call may take
            plugin_seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.00002, 3.0, 12))
            }),
            plugin_fuel: Family::default(),
            plugins: Family::default(),
            // ten milliseconds, from the cache of compiled code, to forty seconds
            plugin_loads: Histogram::new(exponential_buckets(0.01, 2.0, 13)),
            plugin_load_failures: Family::default(),
            watch_events: Family::default(),
            registry: Registry::default(),
        };
        let Metrics {
            tasks_total,
            tasks,
            batches,
            cost,
            tokens,
            duration,
            queue,
            launch,
            capacity,
            queue_length,
            reconcile,
            errors,
            plugin_calls,
            plugin_seconds,
            plugin_fuel,
            plugins,
            plugin_loads,
            plugin_load_failures,
            watch_events,
            ..
        } = &metrics;
        registry.register("tasks_total", "Tasks that entered a phase", tasks_total.clone());
        registry.register("tasks", "Tasks by phase", tasks.clone());
        // the encoder adds `_total` to a counter's name
        registry.register("batches", "Batches that entered a phase", batches.clone());
        registry.register(
            "task_cost_usd",
            "US dollars that Tasks cost, as their agents reported it",
            cost.clone(),
        );
        registry.register(
            "task_tokens",
            "Tokens that Tasks used, as their agents reported it",
            tokens.clone(),
        );
        registry.register(
            "task_duration_seconds",
            "Seconds from a Task's start to its end",
            duration.clone(),
        );
        registry.register(
            "task_queue_seconds",
            "Seconds from a queued Task's creation to its launch",
            queue.clone(),
        );
        registry.register(
            "task_launch_seconds",
            "Seconds from a Task's creation to its launch, of Tasks that were not queued",
            launch.clone(),
        );
        registry.register(
            "agent_capacity",
            "maxConcurrentTasks of an Agent, 0 = unlimited",
            capacity.clone(),
        );
        registry.register("agent_queue_length", "Tasks that are queued for an Agent", queue_length.clone());
        registry.register(
            "reconcile_duration_seconds",
            "Seconds that a reconciliation of a Task took",
            reconcile.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Reconciliations of a Task that failed, by reason",
            errors.clone(),
        );
        registry.register("plugin_calls", "Calls of plugins, by outcome", plugin_calls.clone());
        registry.register(
            "plugin_call_seconds",
            "Seconds that a call of a plugin took",
            plugin_seconds.clone(),
        );
        registry.register(
            "plugin_fuel",
            "Fuel that calls of plugins used: about one unit for each WebAssembly instruction",
            plugin_fuel.clone(),
        );
        registry.register("plugins", "Plugins by state", plugins.clone());
        registry.register(
            "plugin_load_seconds",
            "Seconds that loading a component took, compiling included",
            plugin_loads.clone(),
        );
        registry.register(
            "plugin_load_failures",
            "Components that could not be loaded, by where that failed",
            plugin_load_failures.clone(),
        );
        registry.register(
            "watch_last_event_timestamp_seconds",
            "When the watch of a kind last showed a complete list, an event, or that it was answered; 0 = never",
            watch_events.clone(),
        );
        let build = Info::new(vec![("version", VERSION)]);
        registry.register("build", "The operator's version", build);
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// A Task came into a phase.
    pub fn phase(&self, namespace: &str, phase: Phase) {
        self.tasks_total
            .get_or_create(&TaskLabels { namespace: namespace.to_owned(), phase: phase.as_str() })
            .0
            .inc();
    }

    /// A Batch came into a phase.
    pub fn batch(&self, namespace: &str, phase: &'static str) {
        let labels = TaskLabels { namespace: namespace.to_owned(), phase };
        self.batches.get_or_create(&labels).inc();
    }

    /// Tasks by phase, as the cache shows them now.
    pub fn tasks(&self, phase: Phase, count: i64) {
        self.tasks.get_or_create(&PhaseLabel { phase: phase.as_str() }).set(count);
    }

    /// A Task was launched this long after its creation.
    pub fn launched(&self, was_queued: bool, seconds: f64) {
        if was_queued { &self.queue } else { &self.launch }.observe(seconds);
    }

    /// A Task ended this long after its start.
    pub fn ended(&self, seconds: f64) {
        self.duration.observe(seconds);
    }

    /// A Task of this Agent reported what it used. A Task of `kubetask.io` has none, and counts in its namespace under an
    /// empty name: its WorkspaceConfig may have the name of an Agent that did not do it.
    pub fn used(&self, namespace: &str, agent: Option<&AgentKey>, usage: &Usage) {
        let none = || AgentLabels { namespace: namespace.to_owned(), agent: String::new() };
        let labels = agent.map_or_else(none, AgentLabels::from);
        // a decimal number without a sign, or it had not been kept
        if let Some(cost) = usage.cost_usd.as_deref().and_then(|cost| cost.parse().ok()) {
            self.cost.get_or_create(&labels).inc_by(cost);
        }
        for (kind, count) in [
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("reasoning", usage.reasoning_tokens),
            ("cache_read", usage.cache_read_tokens),
        ] {
            if let Some(count) = count {
                let AgentLabels { namespace, agent } = labels.clone();
                self.tokens.get_or_create(&TokenLabels { namespace, agent, kind }).inc_by(count);
            }
        }
    }

    /// An Agent's limit and queue.
    pub fn agent(&self, agent: &AgentKey, capacity: Option<usize>, waiting: usize) {
        let labels = AgentLabels::from(agent);
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.capacity.get_or_create(&labels).set(number(capacity.unwrap_or(0)));
        self.queue_length.get_or_create(&labels).set(number(waiting));
    }

    /// The Agent is gone. What its Tasks used stays counted.
    pub fn forget_agent(&self, agent: &AgentKey) {
        let labels = AgentLabels::from(agent);
        self.capacity.remove(&labels);
        self.queue_length.remove(&labels);
    }

    /// A reconciliation of a Task took this long.
    pub fn reconciled(&self, seconds: f64) {
        self.reconcile.observe(seconds);
    }

    /// A reconciliation of a Task failed.
    pub fn failed(&self, reason: &str) {
        self.errors.get_or_create(&ReasonLabel { reason: reason.to_owned() }).inc();
    }

    /// The watch of a kind showed a good sign at this Unix time; 0: it begins.
    pub fn watch_event(&self, kind: &'static str, seconds: i64) {
        self.watch_events.get_or_create(&KindLabel { kind }).set(seconds);
    }

    /// The kind is not watched any more.
    pub(crate) fn forget_watch(&self, kind: &'static str) {
        self.watch_events.remove(&KindLabel { kind });
    }

    /// Plugins in a state now.
    pub fn plugins(&self, state: &'static str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.plugins.get_or_create(&StateLabel { state }).set(count);
    }

    /// Loading a component took this long.
    pub fn plugin_loaded(&self, seconds: f64) {
        self.plugin_loads.observe(seconds);
    }

    /// A component could not be loaded.
    pub fn plugin_not_loaded(&self, stage: &'static str) {
        self.plugin_load_failures.get_or_create(&StageLabel { stage }).inc();
    }

    /// All of them, as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            let _ = write!(text, "# the metrics could not be written\n# EOF\n");
        }
        text
    }
}

impl CallObserver for Metrics {
    fn called(&self, plugin: &str, outcome: &'static str, seconds: f64, used: Used) {
        self.plugin_calls.get_or_create(&CallLabels { plugin: plugin.to_owned(), outcome }).inc();
        self.plugin_seconds.get_or_create(&PluginLabel { plugin: plugin.to_owned() }).observe(seconds);
        self.plugin_fuel.get_or_create(&PluginLabel { plugin: plugin.to_owned() }).inc_by(used.fuel);
    }
}

#[cfg(test)]
mod tests;
