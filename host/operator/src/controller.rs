//! The watches, and who is looked at when: streams in, looks out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::store::Writer as StoreWriter;
use kube::runtime::reflector::{ObjectRef, reflector};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource, ResourceExt};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::config::KubeOpenCodeConfig;
use kubeopencode_api::literals::{APP, APP_LABEL};
use kubeopencode_api::names::{ObjectKey, TaskUid};
use kubeopencode_api::task::{Phase, Task};
use kubeopencode_plan::agent_key;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::backoff::Failures;
use crate::caches::{Caches, GuardedTask, key_of};
use crate::cleanup;
use crate::events::Events;
use crate::inspect::Inspections;
use crate::metrics::Metrics;
use crate::pods::{Pods, Touched};
use crate::reconcile::{Operator, ReconcileError, waiting};
use crate::server::{self, SERVER_SELECTOR, Servers, agent_of};
use crate::sweep;
use crate::view::PodView;
use crate::wakes::look_at_named;
use crate::writer::Writer;
use crate::{Options, Ready};

/// Looks at Tasks at once. Unbounded, a burst of 1,000 would open 1,000 connections.
const CONCURRENCY: u16 = 64;
/// Pauses before a failed look is repeated: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Agents whose ledger is looked at without a cause, in case one was missed.
const LEDGER_ROUND: Duration = Duration::from_secs(60);
/// Ledgers that are looked at at once.
const LEDGERS_AT_ONCE: usize = 8;

/// How long looks under way may take after a shutdown began; the API server may not answer any more.
const LAST_LOOKS: Duration = Duration::from_secs(5);

/// Whom to look at, from everybody who knows.
struct Wakes {
    tasks: UnboundedSender<ObjectKey>,
    agents: UnboundedSender<ObjectKey>,
    servers: UnboundedSender<ObjectKey>,
}

/// Runs the controllers until `shutdown`; looks under way are finished.
pub(crate) async fn run(
    client: Client,
    options: &Options,
    ready: &Ready,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) {
    let (tasks_reader, tasks_writer) = store::<GuardedTask>();
    let (agents_reader, agents_writer) = store::<DeserializeGuard<Agent>>();
    let (configs_reader, configs_writer) = store::<DeserializeGuard<KubeOpenCodeConfig>>();
    let caches = Arc::new(Caches {
        tasks: tasks_reader.clone(),
        agents: agents_reader,
        configs: configs_reader,
        pods: Pods::default(),
        operator_namespace: options.namespace.clone(),
    });
    let (task_wakes, woken_tasks) = unbounded_channel();
    let (agent_wakes, woken_agents) = unbounded_channel();
    let (server_wakes, woken_servers) = unbounded_channel();
    let (deployments, deployments_writer) = store::<Deployment>();
    let servers = Arc::new(Servers {
        client: client.clone(),
        host: Arc::clone(&options.host),
        metrics: Arc::clone(&metrics),
        caches: Arc::clone(&caches),
        deployments: deployments.clone(),
        failures: Failures::starting_with(server::FIRST_PAUSE),
    });
    let (events, send_events) = Events::new(client.clone(), &options.identity);
    let operator = Arc::new(Operator {
        client: client.clone(),
        host: Arc::clone(&options.host),
        caches: Arc::clone(&caches),
        writer: Writer::new(client.clone(), events, Arc::clone(&metrics)),
        admission: Admission::new(
            client.clone(),
            Arc::clone(&caches),
            Arc::clone(&metrics),
            task_wakes.clone(),
            agent_wakes.clone(),
        ),
        metrics,
        agents: agent_wakes.clone(),
        failures: Failures::starting_with(FIRST_PAUSE),
        inspections: Inspections::default(),
    });
    let wakes = Arc::new(Wakes { tasks: task_wakes, agents: agent_wakes, servers: server_wakes });

    // everything that decides needs Pods, Agents and settings first; the Tasks come last
    let (pods_listed, pods_known) = tokio::sync::watch::channel(false);
    let pods = watch_pods(&client, Arc::clone(&operator), Arc::clone(&wakes), pods_listed);
    let agents = watch_agents(&client, agents_writer, Arc::clone(&operator), Arc::clone(&wakes));
    let configs = watch_configs(&client, configs_writer, Arc::clone(&operator), Arc::clone(&wakes));
    let ledgers = pump_ledgers(Arc::clone(&operator), woken_agents);
    let of_servers = watch_deployments(&client, deployments_writer, Arc::clone(&servers), Arc::clone(&wakes));
    let background = async {
        futures::join!(pods, agents, configs, of_servers, ledgers, send_events);
    };
    let work = async {
        let mut pods_known = pods_known;
        let listed = async { pods_known.wait_for(|listed| *listed).await.is_ok() };
        let _ = futures::join!(listed, caches.agents.wait_until_ready(), caches.configs.wait_until_ready());
        ready.set();
        let tasks = watch_tasks(&client, tasks_writer, Arc::clone(&operator));
        let sweeps = sweep::run(Arc::clone(&operator), tasks_reader.clone());
        let serving = async {
            if deployments.wait_until_ready().await.is_ok() {
                servers.run(woken_servers).await;
            }
        };
        let cleanups = async {
            if tasks_reader.wait_until_ready().await.is_ok() {
                cleanup::run(Arc::clone(&operator), Arc::clone(&operator.writer.finished)).await;
            }
        };
        let controller = Controller::for_stream(tasks, tasks_reader.clone())
            .with_config(Config::default().concurrency(CONCURRENCY))
            .reconcile_on(refs(woken_tasks))
            .graceful_shutdown_on(shutdown.clone().cancelled_owned())
            .run(look, error_policy, Arc::clone(&operator))
            .for_each(|_| futures::future::ready(()));
        tokio::select! {
            () = controller => {}
            () = sweeps => {}
            () = cleanups => {}
            () = serving => {}
        }
    };
    let patience = async {
        shutdown.cancelled().await;
        tokio::time::sleep(LAST_LOOKS).await;
    };
    tokio::select! {
        () = work => {}
        () = background => tracing::error!("a watch ended"),
        () = patience => tracing::warn!("looks at Tasks are cut off; the next operator repeats them"),
    }
}

fn store<K>() -> (kube::runtime::reflector::Store<K>, StoreWriter<K>)
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let writer = StoreWriter::default();
    (writer.as_reader(), writer)
}

fn refs(wakes: UnboundedReceiver<ObjectKey>) -> impl Stream<Item = ObjectRef<GuardedTask>> {
    futures::stream::unfold(wakes, |mut wakes| async move {
        let key = wakes.recv().await?;
        Some((ObjectRef::new(&key.name).within(&key.namespace), wakes))
    })
}

async fn look(task: Arc<GuardedTask>, operator: Arc<Operator>) -> Result<Action, ReconcileError> {
    let started = Instant::now();
    let looked = operator.reconcile(&task).await;
    operator.metrics.reconciled(started.elapsed().as_secs_f64());
    if looked.is_ok() {
        operator.failures.forget(&uid_of(task.as_ref()));
    }
    looked
}

fn error_policy(task: Arc<GuardedTask>, error: &ReconcileError, operator: Arc<Operator>) -> Action {
    operator.metrics.failed(error.label());
    let pause = operator.failures.next(&uid_of(task.as_ref())).min(MAX_PAUSE);
    tracing::warn!(task = %task.name_any(), namespace = ?task.namespace(), %error, ?pause, "a look at a Task failed and is repeated");
    Action::requeue(pause)
}

fn uid_of(task: &GuardedTask) -> TaskUid {
    TaskUid(task.uid().unwrap_or_default())
}

/// Tasks, slim: once launched or over, nobody needs their contexts any more.
fn watch_tasks(
    client: &Client,
    writer: StoreWriter<GuardedTask>,
    operator: Arc<Operator>,
) -> impl Stream<Item = Result<GuardedTask, watcher::Error>> + use<> {
    let all = Api::<GuardedTask>::all(client.clone());
    let slim = watcher(all, watcher::Config::default()).default_backoff().modify(|guarded| {
        guarded.meta_mut().managed_fields = None;
        if let Ok(task) = &mut guarded.0 {
            let status = task.status.as_ref();
            let needs_no_spec =
                status.is_some_and(|s| s.pod_uid.is_some() || s.phase.is_some_and(Phase::is_terminal));
            if needs_no_spec {
                task.spec.description = None;
                task.spec.contexts = Vec::new();
            }
        }
    });
    let mut listed = Listed::default();
    let heard = reflector(writer, slim).inspect_ok(move |event| listed.task_event(&operator, event));
    heard.touched_objects()
}

/// What a list of Tasks is for: those that are queued keep their place, and those that nobody has looked at when the
/// operator comes up are waited for, since they may have come first.
#[derive(Default)]
struct Listed {
    tasks: Vec<(ObjectKey, crate::ledger::Waiting)>,
    unseen: Vec<(ObjectKey, TaskUid)>,
    is_up: bool,
}

impl Listed {
    fn task_event(&mut self, operator: &Arc<Operator>, event: &Event<GuardedTask>) {
        match event {
            Event::Init => {
                self.tasks.clear();
                self.unseen.clear();
            }
            Event::InitApply(guarded) => {
                let Ok(task) = &guarded.0 else { return };
                let status = task.status.as_ref();
                let phase = status.and_then(|s| s.phase).unwrap_or_default();
                let Some(agent) = agent_key(task).ok() else { return };
                if phase == Phase::Queued {
                    self.tasks.push((agent, waiting(task, &uid_of(guarded))));
                } else if !self.is_up && phase == Phase::Pending && task.metadata.deletion_timestamp.is_none()
                {
                    self.unseen.push((agent, uid_of(guarded)));
                }
            }
            Event::InitDone => {
                self.is_up = true;
                operator.writer.tasks.forget_all();
                for (agent, waiting) in self.tasks.drain(..) {
                    operator.admission.remember(&agent, waiting);
                }
                for (agent, uid) in self.unseen.drain(..) {
                    if operator.caches.agent(&agent).is_some_and(|agent| agent.spec.is_limited()) {
                        operator.admission.expect(&agent, uid);
                    }
                }
            }
            Event::Apply(_) => {}
            Event::Delete(guarded) => operator.task_is_gone(guarded),
        }
    }
}

async fn watch_pods(
    client: &Client,
    operator: Arc<Operator>,
    wakes: Arc<Wakes>,
    listed: tokio::sync::watch::Sender<bool>,
) {
    let selector = watcher::Config::default().labels(&format!("{APP_LABEL}={APP}"));
    let stream =
        watcher(Api::<PodView>::all(client.clone()), selector).default_backoff().modify(PodView::slim);
    each(stream, "Pods", |event| {
        if let Event::Delete(pod) = &event {
            operator.writer.pods.forget(pod.uid());
        }
        match operator.caches.pods.apply(&event) {
            Touched::Nobody => {}
            Touched::Task(key) => drop(wakes.tasks.send(key)),
            Touched::Everybody => {
                operator.writer.pods.forget_all();
                listed.send_replace(true);
                // a Running Task whose Pod vanished while nobody watched must find that out
                let running =
                    |task: &Task| task.status.as_ref().is_some_and(|s| s.phase == Some(Phase::Running));
                for guarded in operator.caches.tasks.state() {
                    if guarded.0.as_ref().is_ok_and(running) {
                        drop(wakes.tasks.send(key_of(guarded.as_ref())));
                    }
                }
            }
        }
    })
    .await;
}

async fn watch_agents(
    client: &Client,
    writer: StoreWriter<DeserializeGuard<Agent>>,
    operator: Arc<Operator>,
    wakes: Arc<Wakes>,
) {
    let all = Api::<DeserializeGuard<Agent>>::all(client.clone());
    let slim = watcher(all, watcher::Config::default())
        .default_backoff()
        .modify(|agent| agent.meta_mut().managed_fields = None);
    let mut generations = std::collections::HashMap::<ObjectKey, (Option<String>, Option<i64>)>::new();
    each(reflector(writer, slim), "Agents", |event| {
        let (agent, gone) = match &event {
            Event::Apply(agent) | Event::InitApply(agent) => (agent, false),
            Event::Delete(agent) => (agent, true),
            Event::Init | Event::InitDone => return,
        };
        let key = key_of(agent);
        let generation = (agent.uid(), agent.meta().generation);
        // its own ledger's writes change nothing for those who wait
        let changed = generations.insert(key.clone(), generation.clone()) != Some(generation);
        if gone {
            generations.remove(&key);
        }
        if changed || gone {
            operator.agent_changed(&key, |task| drop(wakes.tasks.send(task)));
            drop(wakes.servers.send(key.clone()));
            drop(wakes.agents.send(key));
        }
    })
    .await;
}

/// The Deployments of servers: what becomes of them is told by their Agents.
async fn watch_deployments(
    client: &Client,
    writer: StoreWriter<Deployment>,
    servers: Arc<Servers>,
    wakes: Arc<Wakes>,
) {
    let of_servers = watcher::Config::default().labels(SERVER_SELECTOR);
    let slim = watcher(Api::<Deployment>::all(client.clone()), of_servers)
        .default_backoff()
        .modify(|deployment| deployment.metadata.managed_fields = None);
    each(reflector(writer, slim), "Deployments", |event| {
        match &event {
            Event::Apply(deployment) | Event::Delete(deployment) => {
                agent_of(deployment).into_iter().for_each(|agent| drop(wakes.servers.send(agent)));
            }
            // any may have changed or gone while nobody watched
            Event::InitDone => {
                servers.concerned().into_iter().for_each(|agent| drop(wakes.servers.send(agent)))
            }
            Event::Init | Event::InitApply(_) => {}
        }
    })
    .await;
}

async fn watch_configs(
    client: &Client,
    writer: StoreWriter<DeserializeGuard<KubeOpenCodeConfig>>,
    operator: Arc<Operator>,
    wakes: Arc<Wakes>,
) {
    let all = Api::<DeserializeGuard<KubeOpenCodeConfig>>::all(client.clone());
    let slim = watcher(all, watcher::Config::default())
        .default_backoff()
        .modify(|config| config.meta_mut().managed_fields = None);
    each(reflector(writer, slim), "KubeOpenCodeConfigs", |event| {
        // deadlines move with the settings: everybody who is not over looks again
        if matches!(event, Event::Apply(_) | Event::Delete(_)) {
            operator.writer.finished.notify_one();
            for agent in operator.caches.agents.state() {
                drop(wakes.servers.send(key_of(agent.as_ref())));
            }
            for guarded in operator.caches.tasks.state() {
                let over =
                    |task: &Task| task.status.as_ref().and_then(|s| s.phase).is_some_and(Phase::is_terminal);
                if !guarded.0.as_ref().is_ok_and(over) {
                    drop(wakes.tasks.send(key_of(guarded.as_ref())));
                }
            }
        }
    })
    .await;
}

/// Hands over each event; errors are told and the watch goes on, with growing pauses.
async fn each<K>(
    stream: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send,
    what: &'static str,
    mut hear: impl FnMut(Event<K>) + Send,
) {
    futures::pin_mut!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => hear(event),
            Err(error) => tracing::warn!(%error, "the watch of {what} broke and starts anew"),
        }
    }
}

/// Settles the ledgers of Agents that somebody named, and all of them now and then.
async fn pump_ledgers(operator: Arc<Operator>, woken: UnboundedReceiver<ObjectKey>) {
    let failures = Failures::starting_with(FIRST_PAUSE);
    let pump = async |key: ObjectKey| match operator.admission.pump(&key).await {
        Ok(()) => {
            failures.forget(&key);
            None
        }
        Err(error) => {
            let pause = failures.next(&key).min(MAX_PAUSE);
            tracing::warn!(agent = %key, %error, ?pause, "the Agent's ledger could not be written and is tried again");
            Some(pause)
        }
    };
    look_at_named(woken, LEDGER_ROUND, LEDGERS_AT_ONCE, || operator.limited_agents(), pump).await;
}
