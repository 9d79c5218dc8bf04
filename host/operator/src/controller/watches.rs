//! The watches, five and three for `kubetask.io`, and the changes of the plugins: each keeps its store slim and enqueues
//! whom an event concerns.

use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use kube::core::NamespaceResourceScope;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::config::KubeOpenCodeConfig;
use kubeopencode_api::group::Group;
use kubeopencode_api::kubetask::batch::Batch;
use kubeopencode_api::kubetask::workspace_config::WorkspaceConfig;
use kubeopencode_api::literals::APP_LABEL;
use kubeopencode_api::names::{AgentKey, ObjectKey, TaskKey};
use kubeopencode_api::task::Task;
use tokio::sync::broadcast::error::RecvError;

use super::changes::ChangedSettings;
use super::first_list::FirstList;
use super::unknown_fields::UnknownFields;
use super::{Queues, changes};
use crate::batch::Batches;
use crate::cache::Caches;
use crate::cache::changed::Changed;
use crate::cache::item::{Item, Kind};
use crate::cache::listed::CacheWriter;
use crate::cache::pod_view::PodView;
use crate::cache::pods::Touched;
use crate::frontend::{
    Frontend, KubeOpenCode, KubeTask, batches_that_go_on, is_over, slim_agent, slim_workspace,
};
use crate::runtime::health::Health;
use crate::server::{SERVER_SELECTOR, Servers, server_agent, slim_deployment};
use crate::task::reconcile::Context;

/// The kinds as logs and the metric of the watches have them.
pub(super) const KINDS: [&str; 5] = [TASK, AGENT, CONFIG, POD, DEPLOYMENT];
/// Those of `kubetask.io`, whose definitions may be missing.
pub(super) const KUBETASK_KINDS: [&str; 3] = [KUBETASK_TASK, BATCH, WORKSPACE_CONFIG];
const TASK: &str = "Task";
const AGENT: &str = "Agent";
const CONFIG: &str = "KubeOpenCodeConfig";
const POD: &str = "Pod";
const DEPLOYMENT: &str = "Deployment";
const KUBETASK_TASK: &str = "kubetask.io Task";
const BATCH: &str = "Batch";
const WORKSPACE_CONFIG: &str = "WorkspaceConfig";

/// A group's Tasks as a stream of those that changed.
pub(super) trait TaskStream<F: Frontend>:
    Stream<Item = Result<Item<F::Object>, watcher::Error>> + Send
{
}

impl<F: Frontend, S> TaskStream<F> for S where S: Stream<Item = Result<Item<F::Object>, watcher::Error>> + Send
{}

/// Tasks of `kubeopencode.io`, slim: once launched or over, nobody needs their contexts any more.
pub(super) fn tasks(
    client: &Client,
    health: &Health,
    writer: CacheWriter<Item<Task>>,
    context: Arc<Context>,
    queues: Arc<Queues>,
) -> impl TaskStream<KubeOpenCode> + use<> {
    let all = health.watch::<Item<Task>>(TASK, client, watcher::Config::default());
    let (mut first_list, of) = (FirstList::default(), Arc::clone(&context));
    slim_tasks::<KubeOpenCode>(all, writer, context, queues, move |event| first_list.apply(&of, event))
}

/// The same of `kubetask.io`. No Agent has to know who was there before the operator.
pub(super) fn kubetask_tasks(
    client: &Client,
    health: &Health,
    writer: CacheWriter<Item<<KubeTask as Frontend>::Object>>,
    context: Arc<Context>,
    queues: Arc<Queues>,
) -> impl TaskStream<KubeTask> + use<> {
    let all = health.watch(KUBETASK_TASK, client, watcher::Config::default());
    let (of, batches) = (Arc::clone(&context), Arc::clone(&queues));
    slim_tasks::<KubeTask>(all, writer, context, queues, move |event| match event {
        Event::InitDone => {
            of.writer.tasks(KubeTask::GROUP).forget_all();
            of.admission.leave_namespaces();
            enqueue_batches(&of.caches, &batches);
        }
        Event::Apply(item) | Event::Delete(item) => {
            if let Some((task, owner)) = KubeTask::task_ref(item).and_then(|task| Some((task, task.batch()?)))
            {
                drop(batches.batches.send(ObjectKey::new(task.namespace(), &owner.name)));
            }
        }
        Event::Init | Event::InitApply(_) => {}
    })
}

fn slim_tasks<F: Frontend>(
    all: impl Stream<Item = Result<Event<Item<F::Object>>, watcher::Error>> + Send,
    writer: CacheWriter<Item<F::Object>>,
    context: Arc<Context>,
    queues: Arc<Queues>,
    mut see: impl FnMut(&Event<Item<F::Object>>) + Send,
) -> impl TaskStream<F> {
    let (mut unknown, stops) = (UnknownFields::default(), Arc::clone(&context));
    let slim = all.modify(move |item| {
        unknown.tell(item);
        changes::tell_of_ignored_stop::<F>(&stops, item);
        let is_launched =
            F::task_ref(item).is_some_and(|task| task.pod_uid().is_some() || task.is_terminal());
        if is_launched || item.is_large() {
            F::slim(item);
        }
        if is_launched {
            // the launch alone looks for one
            item.meta_mut().labels = None;
        }
    });
    let launching = Arc::clone(&context);
    let events = writer.reflect(slim).inspect_ok(move |event| {
        see(event);
        if let Event::Delete(item) = event {
            changes::task_is_gone::<F>(&context, item);
        }
    });
    // while a list comes in, the cache shows the one before: whoever looked then would see what was
    events.try_filter_map(move |event| {
        let touched = match event {
            Event::Apply(item) if launching.defers::<F>(&item) => None,
            Event::Apply(item) | Event::Delete(item) => Some(item),
            Event::InitDone => {
                // whoever is to be launched stands behind nobody who runs
                enqueue_all::<F>(&launching.caches, &queues, |item| !launching.is_for_launch::<F>(item));
                None
            }
            Event::Init | Event::InitApply(_) => None,
        };
        std::future::ready(Ok(touched))
    })
}

/// Enqueues the group's Tasks that `are` so.
fn enqueue_all<F: Frontend>(caches: &Caches, queues: &Queues, are: impl Fn(&Item<F::Object>) -> bool) {
    for item in F::tasks(caches).state().iter().filter(|item| are(item)) {
        drop(queues.tasks.send(TaskKey::of(F::GROUP, item.as_ref())));
    }
}

fn enqueue_batches(caches: &Caches, queues: &Queues) {
    for batch in batches_that_go_on(&caches.kubetask.batches) {
        drop(queues.batches.send(batch));
    }
}

/// Pods of these groups' Tasks; `listed` becomes true with the first whole list.
pub(super) async fn pods(
    client: &Client,
    health: &Health,
    groups: &[Group],
    context: Arc<Context>,
    queues: Arc<Queues>,
    listed: tokio::sync::watch::Sender<bool>,
) {
    let selector = watcher::Config::default().labels(&pods_of(groups));
    let stream = health.watch(POD, client, selector).modify(PodView::slim);
    each(stream, |event| {
        if let Event::Delete(pod) = &event {
            context.writer.pods.forget(pod.uid());
        }
        let ended = changes::ended_pod(&context.caches, &event);
        match context.caches.pods.apply(&event, |pod| changes::may_ask_for(&context.caches, pod)) {
            Touched::Tasks(keys) => {
                let keys = keys.into_iter().filter(|key| !context.launches.defer(key));
                keys.for_each(|key| drop(queues.tasks.send(key)));
            }
            Touched::Everybody => {
                context.writer.pods.forget_all();
                context.admission.pods_were_listed();
                listed.send_replace(true);
                // a Pod may have come, ended or gone while nobody watched: whoever waits for that must find it out
                for task in changes::tasks_with_a_pod_to_follow(&context.caches) {
                    drop(queues.tasks.send(task));
                }
                context.caches.limited_agents().into_iter().for_each(|agent| drop(queues.agents.send(agent)));
            }
        }
        if let Some(pod) = ended {
            changes::pod_has_ended(&context, &queues, pod);
        }
    })
    .await;
}

/// The objects of a kind; what of them is not known, or cannot be read, is logged.
fn told<K>(
    client: &Client,
    health: &Health,
    kind: &'static str,
) -> impl Stream<Item = Result<Event<Item<K>>, watcher::Error>> + Send + use<K>
where
    K: Kind<Scope = NamespaceResourceScope> + Send + Sync + 'static,
{
    let mut unknown = UnknownFields::default();
    health
        .watch::<Item<K>>(kind, client, watcher::Config::default())
        .modify(move |object| unknown.tell(object))
}

/// Agents. A change of the spec concerns those who wait, and the timeouts of those who run; the ledger's own writes change
/// nothing for them.
pub(super) async fn agents(
    client: &Client,
    health: &Health,
    writer: CacheWriter<Item<Agent>>,
    context: Arc<Context>,
    queues: Arc<Queues>,
) {
    let all = told::<Agent>(client, health, AGENT).modify(slim_agent);
    let mut changed = Changed::default();
    each(writer.reflect(all), |event| {
        for ObjectKey { namespace, name } in changed.by(&event) {
            let key = AgentKey::new(namespace, name);
            for task in changes::tasks_of_agent(&context.caches, &key) {
                drop(queues.tasks.send(task));
            }
            drop(queues.servers.send(key.clone()));
            drop(queues.agents.send(key));
        }
    })
    .await;
}

/// The Deployments of servers: their Agents' status says how they stand.
pub(super) async fn deployments(
    client: &Client,
    health: &Health,
    writer: CacheWriter<Deployment>,
    servers: Arc<Servers>,
    queues: Arc<Queues>,
) {
    let of_servers = watcher::Config::default().labels(SERVER_SELECTOR);
    let all = health.watch::<Deployment>(DEPLOYMENT, client, of_servers);
    each(writer.reflect(all.modify(slim_deployment)), |event| {
        let agents = match &event {
            Event::Apply(deployment) | Event::Delete(deployment) => {
                server_agent(deployment).into_iter().collect()
            }
            // any may have changed or gone while nobody watched
            Event::InitDone => servers.agents_with_server(),
            Event::Init | Event::InitApply(_) => Vec::new(),
        };
        agents.into_iter().for_each(|agent| drop(queues.servers.send(agent)));
    })
    .await;
}

/// Settings. Deadlines move with them: all that they hold for and that is not over is reconciled.
pub(super) async fn configs(
    client: &Client,
    health: &Health,
    writer: CacheWriter<Item<KubeOpenCodeConfig>>,
    context: Arc<Context>,
    queues: Arc<Queues>,
) {
    let all = told::<KubeOpenCodeConfig>(client, health, CONFIG).modify(Item::keep_ours);
    let mut changed = Changed::default();
    each(writer.reflect(all), |event| {
        let changed = ChangedSettings::of(changed.by(&event), &context.caches.operator_namespace);
        let Some(settings) = changed else { return };
        context.writer.finished.notify_one();
        let agents = context.caches.agents.state();
        let agents = agents.iter().map(|agent| AgentKey::of(agent.as_ref()));
        let agents = agents.filter(|agent| settings.hold_in(&agent.namespace));
        agents.for_each(|agent| drop(queues.servers.send(agent)));
        enqueue_all::<KubeOpenCode>(&context.caches, &queues, |item| settings.concern::<KubeOpenCode>(item));
        enqueue_all::<KubeTask>(&context.caches, &queues, |item| settings.concern::<KubeTask>(item));
    })
    .await;
}

/// WorkspaceConfigs: whoever waits for one goes on, and a change holds for those that are launched later.
pub(super) async fn workspaces(
    client: &Client,
    health: &Health,
    writer: CacheWriter<Item<WorkspaceConfig>>,
    context: Arc<Context>,
    queues: Arc<Queues>,
) {
    let all = told::<WorkspaceConfig>(client, health, WORKSPACE_CONFIG).modify(slim_workspace);
    let mut changed = Changed::default();
    each(writer.reflect(all), |event| {
        let keys = changed.by(&event).into_iter();
        let tasks = keys.flat_map(|key| changes::tasks_of_workspace(&context.caches, &key));
        tasks.for_each(|task| drop(queues.tasks.send(task)));
    })
    .await;
}

/// Batches, whose contexts are their Tasks'. The Tasks of one that is over may be cleaned up.
pub(super) async fn batches(
    client: &Client,
    health: &Health,
    writer: CacheWriter<Item<Batch>>,
    context: Arc<Context>,
    (batches, queues): (Arc<Batches>, Arc<Queues>),
) {
    let all = told::<Batch>(client, health, BATCH).modify(slim_batch);
    let mut changed = Changed::default();
    each(writer.reflect(all), |event| {
        match &event {
            Event::Apply(batch) | Event::Delete(batch) => {
                if is_over(batch) {
                    context.writer.finished.notify_one();
                }
                drop(queues.batches.send(ObjectKey::of(batch)));
            }
            Event::InitDone => {
                batches.were_listed();
                enqueue_batches(&context.caches, &queues);
            }
            Event::Init | Event::InitApply(_) => {}
        }
        let keys = changed.by(&event).into_iter();
        let tasks = keys.flat_map(|key| changes::tasks_of_batch(&context.caches, &key));
        tasks.for_each(|task| drop(queues.tasks.send(task)));
    })
    .await;
}

/// Plugins came, went or changed: whoever waits for one of their types, and whoever uses it.
pub(super) async fn plugins(context: Arc<Context>, servers: Arc<Servers>, queues: Arc<Queues>) {
    let mut all_changes = context.catalog.changes();
    loop {
        let change = match all_changes.recv().await {
            Ok(change) => Some(change),
            Err(RecvError::Lagged(_)) => None,
            Err(RecvError::Closed) => return std::future::pending().await,
        };
        let types = change.as_ref().map(|change| change.types.as_slice());
        for task in changes::tasks_that_wait_for_plugins(&context.caches, types) {
            drop(queues.tasks.send(task));
        }
        for agent in servers.agents_that_use(types) {
            drop(queues.servers.send(agent));
        }
    }
}

/// The Pods that these groups' Tasks have.
fn pods_of(groups: &[Group]) -> String {
    let apps: Vec<_> = groups.iter().map(|group| group.names().app).collect();
    match apps.as_slice() {
        [app] => format!("{APP_LABEL}={app}"),
        apps => format!("{APP_LABEL} in ({})", apps.join(",")),
    }
}

/// Of a large Batch it is kept how many Tasks it has, and not what they are to do: one of a megabyte may take forty times that
/// in memory, and every user may have as many as he likes.
fn slim_batch(item: &mut Item<Batch>) {
    if item.is_large() {
        item.slim(|batch| {
            batch.spec.common_context = Vec::new();
            batch.spec.variable_contexts.iter_mut().for_each(|contexts| *contexts = Vec::new());
        });
    }
}

/// Hands over each event. Of errors [`Health`] has told.
async fn each<K>(
    stream: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send,
    mut apply: impl FnMut(Event<K>) + Send,
) {
    futures::pin_mut!(stream);
    while let Some(event) = stream.next().await {
        if let Ok(event) = event {
            apply(event);
        }
    }
}
