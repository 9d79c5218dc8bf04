//! The five watches: each keeps its store slim and enqueues whom an event concerns.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::reflector;
use kube::runtime::reflector::store::Writer as StoreWriter;
use kube::runtime::watcher::{self, Event};
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
use crate::runtime::health::Health;
use crate::server::{SERVER_SELECTOR, Servers, server_agent};
use crate::task::reconcile::Context;

/// Tasks, slim: once launched or over, nobody needs their contexts any more.
pub(super) fn tasks(
    client: &Client,
    health: &Health,
    writer: StoreWriter<GuardedTask>,
    context: Arc<Context>,
) -> impl Stream<Item = Result<GuardedTask, watcher::Error>> + use<> {
    let all = health.watch::<GuardedTask>("Task", client, watcher::Config::default());
    let slim = all.modify(|guarded| {
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
    health: &Health,
    context: Arc<Context>,
    queues: Arc<Queues>,
    listed: tokio::sync::watch::Sender<bool>,
) {
    let selector = watcher::Config::default().labels(&format!("{APP_LABEL}={APP}"));
    let stream = health.watch("Pod", client, selector).modify(PodView::slim);
    each(stream, |event| {
        if let Event::Delete(pod) = &event {
            context.writer.pods.forget(pod.uid());
        }
        match context.caches.pods.apply(&event) {
            Touched::Nobody => {}
            Touched::Task(key) => drop(queues.tasks.send(key)),
            Touched::Everybody => {
                context.writer.pods.forget_all();
                listed.send_replace(true);
                // a Pod may have come, ended or gone while nobody watched: whoever waits for that must find it out
                for task in changes::tasks_with_a_pod_to_follow(&context.caches) {
                    drop(queues.tasks.send(task));
                }
                context.caches.limited_agents().into_iter().for_each(|agent| drop(queues.agents.send(agent)));
            }
        }
    })
    .await;
}

/// Agents. A change of the spec concerns those who wait; the ledger's own writes change nothing for them.
pub(super) async fn agents(
    client: &Client,
    health: &Health,
    writer: StoreWriter<DeserializeGuard<Agent>>,
    context: Arc<Context>,
    queues: Arc<Queues>,
) {
    let all = health.watch::<DeserializeGuard<Agent>>("Agent", client, watcher::Config::default());
    let slim = all.modify(|agent| agent.meta_mut().managed_fields = None);
    let mut generations = HashMap::<AgentKey, (Option<String>, Option<i64>)>::new();
    each(reflector(writer, slim), |event| {
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
    health: &Health,
    writer: StoreWriter<Deployment>,
    servers: Arc<Servers>,
    queues: Arc<Queues>,
) {
    let of_servers = watcher::Config::default().labels(SERVER_SELECTOR);
    let all = health.watch::<Deployment>("Deployment", client, of_servers);
    let slim = all.modify(|deployment| deployment.metadata.managed_fields = None);
    each(reflector(writer, slim), |event| {
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
    health: &Health,
    writer: StoreWriter<DeserializeGuard<KubeOpenCodeConfig>>,
    context: Arc<Context>,
    queues: Arc<Queues>,
) {
    let all = health.watch::<DeserializeGuard<KubeOpenCodeConfig>>(
        "KubeOpenCodeConfig",
        client,
        watcher::Config::default(),
    );
    let slim = all.modify(|config| config.meta_mut().managed_fields = None);
    each(reflector(writer, slim), |event| {
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
