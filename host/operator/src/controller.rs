//! Wiring: streams in, queues between, reconcilers out. Decides nothing and asks the API server nothing itself.

mod changes;
mod first_list;
mod lanes;
mod unknown_fields;
mod watches;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::ObjectRef;
use kubeopencode_api::agent::Agent;
use kubeopencode_api::config::KubeOpenCodeConfig;
use kubeopencode_api::group::Group;
use kubeopencode_api::kubetask::batch::Batch;
use kubeopencode_api::kubetask::workspace_config::WorkspaceConfig;
use kubeopencode_api::names::{AgentKey, ObjectKey, TaskKey, TaskUid};
use kubeopencode_api::task::Task;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use crate::Options;
use crate::admission::Admission;
use crate::batch::Batches;
use crate::cache::item::Item;
use crate::cache::listed::{CacheWriter, cached};
use crate::cache::pods::Pods;
use crate::cache::recent::Recent;
use crate::cache::{Caches, KubeTaskCaches};
use crate::frontend::{Frontend, KubeOpenCode, KubeTask};
use crate::runtime::api_error::{is_too_large, words};
use crate::runtime::backoff::Failures;
use crate::runtime::config_maps::LiveConfigMaps;
use crate::runtime::event_recorder::EventRecorder;
use crate::runtime::health::Health;
use crate::runtime::keyed_queue::run_keyed;
use crate::runtime::metrics::Metrics;
use crate::runtime::side_by_side::{all, first};
use crate::server::{self, Servers};
use crate::task::launch_queue::LaunchQueue;
use crate::task::reconcile::{Context, ReconcileError};
use crate::task::writer::Writer;
use crate::task::{orphans, retention};
use lanes::Lanes;

/// Tasks that are reconciled at the same time, beside those that are launched. Unbounded, a burst of 1,000 would open 1,000
/// connections.
const CONCURRENCY: u16 = 64;
/// Pauses before a failed reconciliation is repeated: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// How often the ledgers of all limited Agents are processed without a cause, in case one was missed.
const LEDGER_RESYNC: Duration = Duration::from_secs(60);
/// Ledgers that are processed at the same time.
const LEDGER_CONCURRENCY: usize = 8;
/// Until a Task that waits for a place comes again by itself, in case nobody names it.
const WAITS_FOR_PLACE: Duration = Duration::from_secs(5);
/// How long reconciliations in flight may take after a shutdown began; the API server may not answer any more.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The queues of the reconcilers, for everybody who knows of a change.
struct Queues {
    tasks: UnboundedSender<TaskKey>,
    agents: UnboundedSender<AgentKey>,
    servers: UnboundedSender<AgentKey>,
    batches: UnboundedSender<ObjectKey>,
}

/// Runs the controllers until `shutdown`; reconciliations in flight are finished.
pub(crate) async fn run(
    client: Client,
    options: &Options,
    health: &Health,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) {
    let groups = if options.kubetask { &Group::ALL[..] } else { &[Group::KubeOpenCode] };
    let optional = if options.kubetask { &watches::KUBETASK_KINDS[..] } else { &[] };
    let _leading = health.leads(&watches::KINDS, optional);
    let (tasks_reader, tasks_writer) = cached::<Item<Task>>();
    let (agents_reader, agents_writer) = cached::<Item<Agent>>();
    let (configs_reader, configs_writer) = cached::<Item<KubeOpenCodeConfig>>();
    let (deployments_reader, deployments_writer) = cached::<Deployment>();
    let (kubetask, kubetask_writers) = kubetask_stores();
    let caches = Arc::new(Caches {
        tasks: tasks_reader,
        agents: agents_reader,
        recent_agents: Recent::default(),
        configs: configs_reader,
        deployments: deployments_reader,
        kubetask,
        pods: Pods::default(),
        operator_namespace: options.namespace.clone(),
        namespaces: options.namespaces.clone(),
        cluster_domain: options.cluster_domain.clone(),
    });
    let (task_queue, queued_tasks) = unbounded_channel();
    let (agent_queue, queued_agents) = unbounded_channel();
    let (server_queue, queued_servers) = unbounded_channel();
    let (batch_queue, queued_batches) = unbounded_channel();
    let config_maps = Arc::new(LiveConfigMaps::new(client.clone()));
    let servers = Arc::new(Servers {
        client: client.clone(),
        config_maps: Arc::clone(&config_maps),
        catalog: Arc::clone(&options.catalog),
        metrics: Arc::clone(&metrics),
        caches: Arc::clone(&caches),
        failures: Failures::starting_with(server::FIRST_PAUSE),
    });
    let (events, send_events) = EventRecorder::new(client.clone(), &options.identity);
    let context = Arc::new(Context {
        client: client.clone(),
        config_maps,
        catalog: Arc::clone(&options.catalog),
        caches: Arc::clone(&caches),
        writer: Writer::new(client.clone(), events.clone(), Arc::clone(&metrics)),
        admission: Admission::new(
            client.clone(),
            Arc::clone(&caches),
            Arc::clone(&metrics),
            task_queue.clone(),
            agent_queue.clone(),
        ),
        launches: LaunchQueue::default(),
        metrics: Arc::clone(&metrics),
        agent_queue: agent_queue.clone(),
        failures: Failures::starting_with(FIRST_PAUSE),
        busy: Failures::starting_with(FIRST_PAUSE),
        pod_events: Default::default(),
    });
    let batches = Arc::new(Batches::new(client.clone(), Arc::clone(&caches), events, metrics));
    let queues = Arc::new(Queues {
        tasks: task_queue,
        agents: agent_queue,
        servers: server_queue,
        batches: batch_queue,
    });

    // everything that decides needs Pods, Agents and settings first; the Tasks come last
    let (pods_listed, pods_known) = tokio::sync::watch::channel(false);
    let pods = watches::pods(&client, health, groups, Arc::clone(&context), Arc::clone(&queues), pods_listed);
    let agents = watches::agents(&client, health, agents_writer, Arc::clone(&context), Arc::clone(&queues));
    let configs =
        watches::configs(&client, health, configs_writer, Arc::clone(&context), Arc::clone(&queues));
    let deployments =
        watches::deployments(&client, health, deployments_writer, Arc::clone(&servers), Arc::clone(&queues));
    let KubeTaskWriters { tasks: kubetask_writer, batches: batches_writer, workspaces } = kubetask_writers;
    let of_kubetask = when(options.kubetask, async {
        let queues_of_batches = (Arc::clone(&batches), Arc::clone(&queues));
        let batches =
            watches::batches(&client, health, batches_writer, Arc::clone(&context), queues_of_batches);
        let workspaces =
            watches::workspaces(&client, health, workspaces, Arc::clone(&context), Arc::clone(&queues));
        all([batches.boxed(), workspaces.boxed()]).await;
    });
    let ledgers = process_ledgers(Arc::clone(&context), queued_agents);
    let plugins = watches::plugins(Arc::clone(&context), Arc::clone(&servers), Arc::clone(&queues));
    let (route, [first_queue, second_queue]) = by_group(queued_tasks);
    let background = all([
        pods.boxed(),
        agents.boxed(),
        configs.boxed(),
        deployments.boxed(),
        of_kubetask.boxed(),
        ledgers.boxed(),
        plugins.boxed(),
        send_events.boxed(),
        route.boxed(),
    ]);
    let work = async {
        let mut pods_known = pods_known;
        let listed = async { pods_known.wait_for(|listed| *listed).await.is_ok() };
        let _ = futures::join!(listed, caches.agents.until_listed(), caches.configs.until_listed());
        let tasks = watches::tasks(&client, health, tasks_writer, Arc::clone(&context), Arc::clone(&queues));
        let of_ours = control::<KubeOpenCode>(tasks, first_queue, &context, &queues, &shutdown);
        let of_kubetask = async {
            if options.kubetask {
                let (of, to) = (Arc::clone(&context), Arc::clone(&queues));
                let tasks = watches::kubetask_tasks(&client, health, kubetask_writer, of, to);
                control::<KubeTask>(tasks, second_queue, &context, &queues, &shutdown).await;
            }
        };
        let serving = async {
            if caches.deployments.until_listed().await {
                servers.run(queued_servers).await;
            }
        };
        let batching = when(options.kubetask, async {
            if caches.kubetask.batches.until_listed().await && caches.kubetask.tasks.until_listed().await {
                batches.run(queued_batches).await;
            }
        });
        let retention = async {
            if caches.tasks.until_listed().await {
                retention::run(Arc::clone(&context), Arc::clone(&context.writer.finished)).await;
            }
        };
        let launch = async |key: TaskKey| match key.group {
            Group::KubeOpenCode => launch::<KubeOpenCode>(&context, &key).await,
            Group::KubeTask => launch::<KubeTask>(&context, &key).await,
        };
        let launches = context.launches.run(&shutdown, &queues.tasks, launch);
        first([
            all([of_ours.boxed(), of_kubetask.boxed(), launches.boxed()]).boxed(),
            orphans::run::<KubeOpenCode>(Arc::clone(&context)).boxed(),
            when(options.kubetask, orphans::run::<KubeTask>(Arc::clone(&context))).boxed(),
            orphans::run_counts(Arc::clone(&context)).boxed(),
            retention.boxed(),
            batching.boxed(),
            serving.boxed(),
        ])
        .await;
    };
    let timeout = async {
        shutdown.cancelled().await;
        tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
    };
    tokio::select! {
        () = work => {}
        () = background => tracing::error!("a watch ended"),
        () = timeout => tracing::warn!("reconciles in flight were cancelled; the next operator repeats them"),
    }
}

/// What fills [`KubeTaskCaches`].
struct KubeTaskWriters {
    tasks: CacheWriter<Item<<KubeTask as Frontend>::Object>>,
    batches: CacheWriter<Item<Batch>>,
    workspaces: CacheWriter<Item<WorkspaceConfig>>,
}

fn kubetask_stores() -> (KubeTaskCaches, KubeTaskWriters) {
    let ((tasks, tasks_writer), (batches, batches_writer)) = (cached(), cached());
    let (workspaces, workspaces_writer) = cached();
    let writers =
        KubeTaskWriters { tasks: tasks_writer, batches: batches_writer, workspaces: workspaces_writer };
    let (recent_batches, recent_workspaces) = (Recent::default(), Recent::default());
    (KubeTaskCaches { tasks, batches, recent_batches, workspaces, recent_workspaces }, writers)
}

/// What does not apply never ends, as what does.
async fn when(applies: bool, then: impl Future<Output = ()>) {
    if applies { then.await } else { std::future::pending().await }
}

/// Parts the queue of Tasks: each group has a controller of its own, since that knows its store alone. Where one group is
/// off, nobody reads its keys.
fn by_group(
    mut queue: UnboundedReceiver<TaskKey>,
) -> (impl Future<Output = ()>, [UnboundedReceiver<TaskKey>; 2]) {
    let ((first, firsts), (second, seconds)) = (unbounded_channel(), unbounded_channel());
    let route = async move {
        while let Some(key) = queue.recv().await {
            let to = match key.group {
                Group::KubeOpenCode => &first,
                Group::KubeTask => &second,
            };
            let _ = to.send(key);
        }
    };
    (route, [firsts, seconds])
}

/// What a group's Tasks are reconciled with.
struct Worker {
    context: Arc<Context>,
    lanes: Lanes,
    tasks: UnboundedSender<TaskKey>,
}

/// Reconciles a group's Tasks until `shutdown`.
async fn control<F: Frontend>(
    tasks: impl watches::TaskStream<F> + 'static,
    queue: UnboundedReceiver<TaskKey>,
    context: &Arc<Context>,
    queues: &Queues,
    shutdown: &CancellationToken,
) {
    let worker =
        Worker { context: Arc::clone(context), lanes: Lanes::default(), tasks: queues.tasks.clone() };
    let controller = Controller::for_stream(tasks, (**F::tasks(&context.caches)).clone())
        .with_config(Config::default().concurrency(CONCURRENCY))
        .reconcile_on(refs::<F>(queue))
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(reconcile::<F>, error_policy::<F>, Arc::new(worker))
        .for_each(|_| futures::future::ready(()));
    // kube's controller waits for the first list, which never comes where the definitions are missing
    let nothing_to_finish = async {
        shutdown.cancelled().await;
        if context.caches.has_tasks_of(F::GROUP) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = controller => {}
        () = nothing_to_finish => {}
    }
}

fn refs<F: Frontend>(queue: UnboundedReceiver<TaskKey>) -> impl Stream<Item = ObjectRef<Item<F::Object>>> {
    futures::stream::unfold(queue, |mut queue| async move {
        let key = queue.recv().await?;
        Some((ObjectRef::new(&key.name).within(&key.namespace), queue))
    })
}

async fn reconcile<F: Frontend>(
    task: Arc<Item<F::Object>>,
    worker: Arc<Worker>,
) -> Result<Action, ReconcileError> {
    let (context, key) = (&worker.context, TaskKey::of(F::GROUP, task.as_ref()));
    if !worker.lanes.enter(&key) {
        return Ok(Action::requeue(WAITS_FOR_PLACE));
    }
    let started = Instant::now();
    let result = context.reconcile::<F>(&task).await;
    context.metrics.reconciled(started.elapsed().as_secs_f64());
    for next in worker.lanes.leave(&key.namespace) {
        let _ = worker.tasks.send(next);
    }
    // of one that is to be launched, the launch says whether that fails
    if result.is_ok() && !context.launches.has(&key) {
        context.failures.forget(&TaskUid::of(task.as_ref()));
    }
    result
}

fn error_policy<F: Frontend>(
    task: Arc<Item<F::Object>>,
    error: &ReconcileError,
    worker: Arc<Worker>,
) -> Action {
    failed::<F>(&task, error, &worker.context).map_or_else(Action::await_change, Action::requeue)
}

/// Until a reconciliation that failed is repeated; `None`: when the Task changes.
fn failed<F: Frontend>(
    task: &Item<F::Object>,
    error: &ReconcileError,
    context: &Context,
) -> Option<Duration> {
    context.metrics.failed(error.label());
    if is_too_large(&error.0) {
        tracing::warn!(?task, %error, "nothing can be written to the Task until it is smaller");
        return None;
    }
    let pause = context.failures.next(&TaskUid::of(task)).min(MAX_PAUSE);
    tracing::warn!(?task, %error, ?pause, "reconcile failed, requeued");
    Some(pause)
}

/// Launches a Task whose turn has come; says when that is to be repeated.
async fn launch<F: Frontend>(context: &Context, key: &TaskKey) -> Option<Duration> {
    let task = F::tasks(&context.caches).get(&ObjectRef::new(&key.name).within(&key.namespace))?;
    let started = Instant::now();
    let result = context.launch::<F>(&task).await;
    context.metrics.reconciled(started.elapsed().as_secs_f64());
    match result {
        Ok(again) => {
            context.failures.forget(&TaskUid::of(task.as_ref()));
            again
        }
        Err(error) => failed::<F>(&task, &error, context),
    }
}

/// Processes the ledgers of the Agents in the queue, and those of all limited Agents now and then.
async fn process_ledgers(context: Arc<Context>, queue: UnboundedReceiver<AgentKey>) {
    let failures = Failures::starting_with(FIRST_PAUSE);
    let process = async |key: AgentKey| match context.admission.process(&key).await {
        Ok(()) => {
            failures.forget(&key);
            None
        }
        Err(error) => {
            let pause = failures.next(&key).min(MAX_PAUSE);
            tracing::warn!(agent = %key, error = words(&error), ?pause, "the Agent's ledger could not be written, requeued");
            Some(pause)
        }
    };
    let all = || context.caches.limited_agents();
    run_keyed(
        queue,
        LEDGER_RESYNC,
        LEDGER_CONCURRENCY,
        |_| false,
        |agent| Some(agent.namespace.as_str()),
        all,
        process,
    )
    .await;
}
