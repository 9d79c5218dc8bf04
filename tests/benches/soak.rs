//! `make soak`: half an hour in which Tasks come, end and go, settings change, and every connection of the operator is cut
//! now and then. Each minute a row: the operator's memory, its open connections and what it did. Both have to be flat;
//! `MINUTES=5` is shorter.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that cannot go on says so by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kube::api::PostParams;
use kubeopencode_api::task::Task;
use kubeopencode_tests::bench::TestBed;
use kubeopencode_tests::kubelet::Kubelet;
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::objects::{config, task};
use kubeopencode_tests::process::as_f64;
use kubeopencode_tests::record::Kind;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Tasks that are created each second: every fourth one is deleted at once, every tenth waits for an Agent that runs one at
/// a time.
const RATE: usize = 2;
/// Seconds between two cuts of all connections, and between two changes of the settings.
const CUT: usize = 20;
const CHANGE: usize = 15;
/// Finished Tasks that stay: what the operator has to remember does not grow.
const RETAINED: usize = 50;
/// Minutes before the first figure counts: caches fill, the allocator finds its size.
const WARM_UP: usize = 3;
/// By how much the last third may be above the first.
const FLAT: f64 = 1.15;
const PROBES: u16 = 18_082;

/// What the operator had in a minute.
struct Row {
    memory: f64,
    connections: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let minutes: usize = std::env::var("MINUTES").ok().and_then(|minutes| minutes.parse().ok()).unwrap_or(30);
    let mut bed = TestBed::start("soak", PROBES).await;
    let proxy = Proxy::start(&bed.kubeconfig, &bed.cache).await;
    bed.kubeconfig.clone_from(&proxy.kubeconfig);
    let ns = bed.namespace().await;
    let _kubelet = Kubelet::start(&ns.client, &ns.name);
    let operator = bed.ready_operator().await;
    println!(
        "{:>6} {:>12} {:>12} {:>10} {:>10} {:>12}",
        "minute", "memory", "connections", "created", "there", "processor"
    );
    let (started, mut created, mut rows, mut ticks) =
        (Instant::now(), 0, Vec::new(), tokio::time::interval(Duration::from_secs(1)));
    for second in 1..=minutes * 60 {
        ticks.tick().await;
        for _ in 0..RATE {
            created += 1;
            create(&ns, created).await;
        }
        if second.is_multiple_of(CHANGE) {
            let grace = if (second / CHANGE).is_multiple_of(2) { 5 } else { 6 };
            let settings =
                format!("dependencyGraceSeconds: {grace}, cleanup: {{maxRetainedTasks: {RETAINED}}}");
            ns.apply(config(&settings)).await;
        }
        if second.is_multiple_of(60) {
            let row = Row { memory: operator.process.memory(), connections: proxy.open() };
            let there = ns.record.history().all(Kind::Task).count();
            println!(
                "{:>6} {:>8.1} MiB {:>12} {created:>10} {there:>10} {:>10.1} s",
                second / 60,
                row.memory,
                row.connections,
                operator.process.processor()
            );
            rows.push(row);
        }
        // after the row: it counts what was opened since the last cut
        if second.is_multiple_of(CUT) {
            proxy.cut();
        }
    }
    println!("{:.0} minutes", started.elapsed().as_secs_f64() / 60.0);
    let rows = &rows[WARM_UP.min(rows.len().saturating_sub(2))..];
    let memory: Vec<f64> = rows.iter().map(|row| row.memory).collect();
    let connections: Vec<f64> = rows.iter().map(|row| as_f64(row.connections)).collect();
    let verdicts = [verdict("memory", &memory), verdict("connections", &connections)];
    if verdicts.iter().all(|is_flat| *is_flat) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the last third is not above the first.
fn verdict(what: &str, figures: &[f64]) -> bool {
    let third = (figures.len() / 3).max(1);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / as_f64(part.len());
    let (first, last) = (mean(&figures[..third]), mean(&figures[figures.len() - third..]));
    let is_flat = last <= first * FLAT;
    println!(
        "{what}: {first:.1} in the first third, {last:.1} in the last: {}",
        if is_flat { "flat" } else { "IT GROWS" }
    );
    is_flat
}

async fn create(ns: &TestNamespace, i: usize) {
    let name = format!("t-{i}");
    let agent = if i.is_multiple_of(10) { "one-at-a-time" } else { "default" };
    let task: Task = serde_json::from_value(task(&name).agent(agent).json()).unwrap();
    ns.tasks().create(&PostParams::default(), &task).await.unwrap();
    if i.is_multiple_of(4) {
        ns.tasks().delete(&name, &Default::default()).await.unwrap();
    }
}

/// Stands between the operator and the API server, so that connections can be counted and cut.
struct Proxy {
    kubeconfig: PathBuf,
    cuts: watch::Sender<u64>,
    open: Arc<AtomicUsize>,
}

impl Proxy {
    async fn start(kubeconfig: &Path, beside: &Path) -> Self {
        let text = std::fs::read_to_string(kubeconfig).unwrap();
        let mut config: Value = serde_norway::from_str(&text).unwrap();
        let named = &mut config["clusters"][0]["cluster"]["server"];
        let server = named.as_str().and_then(|server| server.strip_prefix("https://"));
        let server = server.expect("a kubeconfig names its server").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        *named = Value::from(format!("https://{}", listener.local_addr().unwrap()));
        let path = beside.with_extension("kubeconfig");
        std::fs::write(&path, config.to_string()).unwrap();
        let (cuts, open) = (watch::Sender::new(0), Arc::<AtomicUsize>::default());
        let (of_cuts, of_open) = (cuts.clone(), Arc::clone(&open));
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let (mut cut, open, server) = (of_cuts.subscribe(), Arc::clone(&of_open), server.clone());
                tokio::spawn(async move {
                    let Ok(mut upstream) = TcpStream::connect(server).await else { return };
                    open.fetch_add(1, Ordering::Relaxed);
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut upstream) => {}
                        _ = cut.changed() => {}
                    }
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { kubeconfig: path, cuts, open }
    }

    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}
