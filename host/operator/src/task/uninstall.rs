//! Before the operator is uninstalled: its controllers are stopped and its finalizers go, so that no Task and no
//! namespace waits for it for ever.

use futures::TryStreamExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::{ObjectList, Request};
use kube::{Client, ResourceExt};
use kubeopencode_api::group::Group;
use kubeopencode_api::names::TaskKey;
use serde_json::json;

use crate::cache::task_view::TaskView;
use crate::runtime::api_error::{is_conflict, is_not_found, is_refused};
use crate::runtime::lease::{Leader, UNINSTALL_WAIT};

/// Tasks read in one page.
const PAGE: u32 = 500;
/// Tries for a Task that others change at the same time.
const MAX_TRIES: usize = 5;

/// Which Tasks the finalizer is taken off.
#[derive(Clone, Debug)]
pub struct Release<'a> {
    /// The groups. One whose definitions are not installed has no Tasks.
    pub groups: &'a [Group],
    /// Only those in these namespaces; none: in all.
    pub only_in: &'a [String],
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Tasks that had a finalizer.
    pub tasks: usize,
    /// Other namespaces than the operator's own that are refused: they may be gone, and the rights in them with them.
    pub refused: Vec<String>,
}

/// Takes the operator's finalizers off Tasks and says how many had one. The controllers of the operator in `namespace` are
/// stopped meanwhile, and until 45 seconds later: they would add a new one with each launch.
///
/// # Errors
/// When the API server does not answer.
pub async fn release_finalizers(
    client: &Client,
    namespace: &str,
    of: Release<'_>,
) -> Result<Released, kube::Error> {
    if Leader::take_for_uninstall(client.clone(), namespace).await? {
        tokio::time::sleep(UNINSTALL_WAIT).await;
    }
    let mut released = Released::default();
    let places = if of.only_in.is_empty() { vec![None] } else { of.only_in.iter().map(Some).collect() };
    for place in places {
        for group in of.groups {
            match (release_group(client, namespace, *group, place).await, place) {
                (Ok(tasks), _) => released.tasks += tasks,
                (Err(error), _) if is_not_found(&error) => {}
                (Err(error), Some(place)) if is_refused(&error) && place != namespace => {
                    released.refused.push(place.clone());
                    break;
                }
                (Err(error), _) => return Err(error),
            }
        }
    }
    Ok(released)
}

#[expect(clippy::disallowed_methods, reason = "a list of metadata, as far as it can be read at any depth")]
async fn release_group(
    client: &Client,
    namespace: &str,
    group: Group,
    only_in: Option<&String>,
) -> Result<usize, kube::Error> {
    let all: Api<TaskView> = match only_in {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &group),
        None => Api::all_with(client.clone(), &group),
    };
    let ours = group.names().finalizer;
    let mut released = 0;
    let mut params = ListParams::default().limit(PAGE);
    loop {
        Leader::take_for_uninstall(client.clone(), namespace).await?;
        let page = Request::new(all.resource_url()).list_metadata(&params);
        let page: ObjectList<TaskView> = client.request(page.map_err(kube::Error::BuildRequest)?).await?;
        let next = page.metadata.continue_.clone().filter(|token| !token.is_empty());
        let held = page.items.into_iter().filter(|task| task.finalizers().iter().any(|f| f == ours));
        let keys = held.map(|task| Ok::<_, kube::Error>(TaskKey::of(group, &task)));
        let count = futures::stream::iter(keys)
            .try_fold(0, |count, key| async move { release(client, &key).await.map(|()| count + 1) });
        released += count.await?;
        let Some(token) = next else { return Ok(released) };
        params = params.continue_token(&token);
    }
}

#[expect(clippy::disallowed_methods, reason = "the finalizer, while no operator leads")]
async fn release(client: &Client, TaskKey { group, namespace, name }: &TaskKey) -> Result<(), kube::Error> {
    let api = Api::<TaskView>::namespaced_with(client.clone(), namespace, group);
    let ours = group.names().finalizer;
    let mut last = None;
    for _ in 0..MAX_TRIES {
        let task = match api.get(name).await {
            Ok(task) => task,
            Err(error) if is_not_found(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let finalizers: Vec<_> = task.finalizers().iter().filter(|f| *f != ours).collect();
        let patch =
            json!({"metadata": {"resourceVersion": task.resource_version(), "finalizers": finalizers}});
        match api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => return Ok(()),
            Err(error) if is_not_found(&error) => return Ok(()),
            Err(error) if is_conflict(&error) => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    last.map_or(Ok(()), Err)
}
