//! What the benches on an API server share: where they run, latencies out of its audit log, and the table that they print.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kubeopencode_plugin_host::{HostOptions, PluginHost};

use crate::audit::Entry;
use crate::cluster::{Cluster, from_environment};
use crate::namespace::{TEAM, TestNamespace, make_namespace};
use crate::program::{self, Program};
use crate::record::{History, Kind};

/// Where a bench runs, and with what.
#[derive(Debug)]
pub struct TestBed {
    /// The control plane.
    pub cluster: Cluster,
    /// How the operator reaches it.
    pub kubeconfig: PathBuf,
    /// Where the operator keeps compiled plugins.
    pub cache: PathBuf,
    /// What is printed in the end.
    pub table: Table,
    executable: PathBuf,
    probes: u16,
    /// The parts that somebody named; all of them run where nobody did.
    parts: Vec<String>,
    started: Instant,
}

impl TestBed {
    /// For the bench that cargo knows by this name. Its operators answer probes at this port.
    ///
    /// The process ends when the environment names no control plane.
    pub async fn start(name: &str, probes: u16) -> Self {
        let cluster = Cluster::control_plane().await;
        let executable = program::under_test("release", ["--bench", name]);
        let cache = executable.with_file_name(format!("plugin-cache-of-{name}"));
        let kubeconfig = PathBuf::from(from_environment("KUBEOPENCODE_TEST_OPERATOR_KUBECONFIG"));
        // cargo's own argument is `--bench`
        let parts = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
        let (table, started) = (Table::default(), Instant::now());
        Self { cluster, kubeconfig, cache, table, executable, probes, parts, started }
    }

    /// Whether this part of the bench is to run.
    pub fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }

    /// Starts an operator.
    pub fn operator(&self) -> Program {
        Program::start(&self.executable, &self.kubeconfig, &self.cache, self.probes)
    }

    /// Starts an operator, and waits until it is ready.
    pub async fn ready_operator(&self) -> Program {
        let operator = self.operator();
        operator.is_ready().await;
        operator
    }

    /// A plugin host with the program's compile worker and nothing compiled: what a component takes without an operator around it.
    ///
    /// # Panics
    /// When it cannot have its cache.
    pub fn plugin_host(&self) -> PluginHost {
        let cache_dir = self.cache.with_extension("alone");
        let _ = std::fs::remove_dir_all(&cache_dir);
        PluginHost::new(HostOptions { cache_dir, worker: self.executable.clone() }).unwrap()
    }

    /// A namespace without kubelet, with an Agent in it.
    pub async fn namespace(&self) -> TestNamespace {
        let namespace = make_namespace(&self.cluster.client()).await;
        let ns = TestNamespace::start(&self.cluster, None, &namespace).await;
        ns.apply(TEAM).await;
        ns
    }

    /// Prints the table, with a word for each of its two columns beside ours, and how long all of it took.
    pub fn print(&self, beside: &str, other: &str) {
        self.table.print(beside, other);
        println!("\n{:.0} s", self.started.elapsed().as_secs_f64());
    }
}

/// What was measured, to be printed when all of it is.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: String,
    ours: String,
    bare: String,
    other: &'static str,
    goal: &'static str,
}

impl Table {
    /// Adds a row: what it is, the operator's figure, the one beside it, that of another operator, and the goal.
    pub fn row(
        &mut self,
        what: impl Into<String>,
        ours: String,
        bare: String,
        other: &'static str,
        goal: &'static str,
    ) {
        let what = what.into();
        eprintln!("{what}: {ours} ({bare})");
        self.rows.push(Row { what, ours, bare, other, goal });
    }

    /// Adds a row about times in seconds: ours, also as so many times the one beside it, which was measured in the same run, and the
    /// goal.
    pub fn ratio(&mut self, what: impl Into<String>, ours: f64, beside: f64, goal: &'static str) {
        let times = format!("{} ({:.2}x)", time(ours), ours / beside);
        self.row(what, times, time(beside), "", goal);
    }

    fn print(&self, beside: &str, other: &str) {
        let width = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or_default();
        println!("\n{:<width$} {:>24} {beside:>12} {other:>16}   goal", "", "ours");
        for Row { what, ours, bare, other, goal } in &self.rows {
            println!("{what:<width$} {ours:>24} {bare:>12} {other:>16}   {goal}");
        }
    }
}

/// Looks ten times a second: a look at each of many thousand changes would take the processor from what is measured.
///
/// # Panics
/// When it is not so after ten minutes.
pub async fn until(ns: &TestNamespace, what: &str, is_so: impl Fn(&History) -> bool) {
    let asked = Instant::now();
    while !is_so(&ns.record.history()) {
        assert!(asked.elapsed() < Duration::from_secs(600), "waited ten minutes in vain: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until so many Tasks of a namespace are Completed.
///
/// # Panics
/// When they are not after ten minutes.
pub async fn completed(ns: &TestNamespace, count: usize) {
    until(ns, &format!("{count} Tasks are Completed"), |history| {
        history.all(Kind::Task).filter(|task| task.text("/status/phase") == "Completed").count() == count
    })
    .await;
}

/// From the creation of each Task to its Pod and to the end of its gate, in seconds, sorted.
#[derive(Debug)]
pub struct Latency {
    pod: Vec<f64>,
    gate: Vec<f64>,
}

impl Latency {
    /// From the API server's record of writes.
    pub fn of(entries: &[Entry]) -> Self {
        let times = |summary: &str| -> HashMap<String, Timestamp> {
            let those = entries.iter().filter(|entry| entry.summary() == summary);
            those
                .map(|entry| (entry.name().trim_end_matches("-pod").to_owned(), entry.stage_timestamp))
                .collect()
        };
        let (created, made, opened) =
            (times("create tasks 201"), times("create pods 201"), times("patch pods 200"));
        let since = |later: &HashMap<String, Timestamp>| {
            let waits = created
                .iter()
                .filter_map(|(task, created)| Some(later.get(task)?.duration_since(*created).as_secs_f64()));
            let mut waits: Vec<f64> = waits.collect();
            waits.sort_by(f64::total_cmp);
            waits
        };
        Self { pod: since(&made), gate: since(&opened) }
    }

    /// To its Pod, in seconds.
    pub fn pod(&self, percent: usize) -> f64 {
        percentile(&self.pod, percent)
    }

    /// To the end of its gate, in seconds.
    pub fn gate(&self, percent: usize) -> f64 {
        percentile(&self.gate, percent)
    }
}

/// How many of an operator's writes were done when the gate of their Task's Pod was off: those up to Running.
pub fn up_to_running(writes: &[Entry]) -> usize {
    let opened: HashMap<&str, Timestamp> = writes
        .iter()
        .filter(|entry| entry.summary() == "patch pods 200")
        .map(|entry| (task_of(entry), entry.stage_timestamp))
        .collect();
    let is_before =
        |entry: &&Entry| opened.get(task_of(entry)).is_some_and(|opened| entry.stage_timestamp <= *opened);
    writes.iter().filter(is_before).count()
}

/// The Task that a write is about, by the name of its object.
fn task_of(entry: &Entry) -> &str {
    let name = entry.name();
    name.strip_suffix("-pod").or_else(|| name.strip_suffix("-context")).unwrap_or(name)
}

/// Of sorted figures, the one that so many percent are not above.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).clamp(1, sorted.len().max(1));
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// As in `1.5 ms`, or from ten seconds on in `15.2 s`.
fn time(seconds: f64) -> String {
    if seconds < 10.0 { millis(seconds) } else { format!("{seconds:.1} s") }
}

/// As in `1.5 ms`.
pub fn millis(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1000.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_stands_as_so_many_times_the_one_beside_it() {
        let mut table = Table::default();
        table.ratio("what", 0.003, 0.002, "<= 2x");
        table.ratio("what", 90.0, 60.0, "");
        let rows: Vec<_> = table.rows.iter().map(|row| (row.ours.as_str(), row.bare.as_str())).collect();
        assert_eq!(rows, [("3.0 ms (1.50x)", "2.0 ms"), ("90.0 s (1.50x)", "60.0 s")]);
    }

    #[test]
    fn a_write_counts_up_to_running_until_the_gate_of_its_own_task_is_off() {
        let entry = |second: u8, verb: &str, resource: &str, subresource: &str, name: &str| -> Entry {
            serde_json::from_value(json!({
                "verb": verb, "stageTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
                "user": {"username": "operator-under-test"},
                "objectRef": {"resource": resource, "subresource": subresource, "name": name},
                "responseStatus": {"code": if verb == "create" { 201 } else { 200 }},
            }))
            .unwrap()
        };
        let writes = [
            entry(1, "patch", "tasks", "", "a"),
            entry(1, "create", "configmaps", "", "a-context"),
            entry(1, "create", "pods", "", "a-pod"),
            entry(2, "patch", "tasks", "status", "a"),
            entry(3, "patch", "pods", "", "a-pod"),
            entry(4, "patch", "tasks", "status", "a"),
            // of one whose gate is still on
            entry(1, "patch", "tasks", "", "b"),
            entry(2, "create", "pods", "", "b-pod"),
        ];
        assert_eq!(up_to_running(&writes), 5);
    }
}
