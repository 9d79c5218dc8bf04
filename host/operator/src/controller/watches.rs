//! The five watches: each keeps its store slim and enqueues whom an event concerns.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::reflector;
use kube::runtime::reflector::store::Writer as StoreWriter;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource, ResourceExt};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::config::KubeOpenCodeConfig;
use kubeopencode_api::group::Group;
use kubeopencode_api::literals::{APP, APP_LABEL};
use kubeopencode_api::names::{AgentKey, TaskKey};
use kubeopencode_api::task::Task;

use super::first_list::FirstList;
use super::{Queues, changes};
use crate::cache::GuardedTask;
use crate::cache::pod_view::PodView;
use crate::cache::pods::Touched;
use crate::frontend::{Frontend, KubeOpenCode};
use crate::server::{SERVER_SELECTOR, Servers, server_agent};
use crate::task::reconcile::Context;

/// Tasks, slim: once launched or over, nobody needs their contexts any more.
pub(super) fn tasks(
    client: &Client,
    writer: StoreWriter<GuardedTask>,
    context: Arc<Context>,
) -> impl Stream<Item = Result<GuardedTask, watcher::Error>> + use<> {
    let all = Api::<GuardedTask>::all(client.clone());
    let slim = watcher(all, watcher::Config::default()).default_backoff().modify(|guarded| {
        guarded.meta_mut().managed_fields = None;
        if let Ok(task) = &mut guarded.0
            && (task.pod_uid().is_some() || task.is_terminal())
        {
            KubeOpenCode::slim(task);
        }
    });
    let mut first_list = FirstList::default();
    let events = reflector(writer, slim).inspect_ok(move |event| {
        first_list.apply(&context, event);
        if let Event::Delete(guarded) = event {
            changes::task_is_gone(&context, guarded);
        }
    });
    events.touched_objects()
}

/// Pods with our label; `listed` becomes true with the first whole list.
pub(super) async fn pods(
    client: &Client,
    context: Arc<Context>,
    queues: Arc<Queues>,
    listed: tokio::sync::watch::Sender<bool>,
) {
    let selector = watcher::Config::default().labels(&format!("{APP_LABEL}={APP}"));
    let stream =
        watcher(Api::<PodView>::all(client.clone()), selector).default_backoff().modify(PodView::slim);
    each(stream, "Pods", |event| {
        if let Event::Delete(pod) = &event {
            context.writer.pods.forget(pod.uid());
        }
        let ended = changes::ended_pod(&context.caches, &event);
        match context.caches.pods.apply(&event) {
            Touched::Nobody => {}
            Touched::Task(key) => drop(queues.tasks.send(key)),
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

/// Agents. A change of the spec concerns those who wait; the ledger's own writes change nothing for them.
pub(super) async fn agents(
    client: &Client,
    writer: StoreWriter<DeserializeGuard<Agent>>,
    context: Arc<Context>,
    queues: Arc<Queues>,
) {
    let all = Api::<DeserializeGuard<Agent>>::all(client.clone());
    let slim = watcher(all, watcher::Config::default())
        .default_backoff()
        .modify(|agent| agent.meta_mut().managed_fields = None);
    let mut generations = HashMap::<AgentKey, (Option<String>, Option<i64>)>::new();
    each(reflector(writer, slim), "Agents", |event| {
        let (agent, gone) = match &event {
            Event::Apply(agent) | Event::InitApply(agent) => (agent, false),
            Event::Delete(agent) => (agent, true),
            Event::Init | Event::InitDone => return,
        };
        let key = AgentKey::of(agent);
        let generation = (agent.uid(), agent.meta().generation);
        let changed = generations.insert(key.clone(), generation.clone()) != Some(generation);
        if gone {
            generations.remove(&key);
        }
        if changed || gone {
            for task in changes::tasks_waiting_for(&context.caches, &key) {
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
    writer: StoreWriter<Deployment>,
    servers: Arc<Servers>,
    queues: Arc<Queues>,
) {
    let of_servers = watcher::Config::default().labels(SERVER_SELECTOR);
    let slim = watcher(Api::<Deployment>::all(client.clone()), of_servers)
        .default_backoff()
        .modify(|deployment| deployment.metadata.managed_fields = None);
    each(reflector(writer, slim), "Deployments", |event| {
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

/// Settings. Deadlines move with them: all that is not over is reconciled.
pub(super) async fn configs(
    client: &Client,
    writer: StoreWriter<DeserializeGuard<KubeOpenCodeConfig>>,
    context: Arc<Context>,
    queues: Arc<Queues>,
) {
    let all = Api::<DeserializeGuard<KubeOpenCodeConfig>>::all(client.clone());
    let slim = watcher(all, watcher::Config::default())
        .default_backoff()
        .modify(|config| config.meta_mut().managed_fields = None);
    each(reflector(writer, slim), "KubeOpenCodeConfigs", |event| {
        if matches!(event, Event::Apply(_) | Event::Delete(_)) {
            context.writer.finished.notify_one();
            for agent in context.caches.agents.state() {
                drop(queues.servers.send(AgentKey::of(agent.as_ref())));
            }
            for guarded in context.caches.tasks.state() {
                if !guarded.0.as_ref().is_ok_and(Task::is_terminal) {
                    drop(queues.tasks.send(TaskKey::of(Group::KubeOpenCode, guarded.as_ref())));
                }
            }
        }
    })
    .await;
}

/// Hands over each event; after an error the watch starts anew, with growing pauses.
async fn each<K>(
    stream: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send,
    kind: &'static str,
    mut apply: impl FnMut(Event<K>) + Send,
) {
    futures::pin_mut!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => apply(event),
            Err(error) => tracing::warn!(%error, "the watch of {kind} failed and is restarted"),
        }
    }
}
