//! The Pods of a Task as the API server has them: asked for by their names, in the namespaces that they can be in. A
//! search by label would read all Pods there are.

use std::collections::BTreeSet;

use kube::Client;
use kube::api::Api;
use kubeopencode_api::names::{Naming, ObjectKey, TaskKey, TaskNames, TaskUid};

use crate::cache::pod_view::PodView;

/// Where the Pods of a Task may be.
#[derive(Debug)]
pub(crate) struct PodNames(BTreeSet<(String, String)>);

impl PodNames {
    /// None.
    pub(crate) fn none() -> Self {
        Self(BTreeSet::new())
    }

    /// And those that a launch gives to a Pod in this namespace.
    pub(crate) fn launched_in(mut self, namespace: &str, task: &TaskKey, uid: &TaskUid) -> Self {
        let names =
            [Naming::Plain, Naming::WithUid].map(|naming| TaskNames::new(task, uid, namespace, naming).pod());
        self.0.extend(names.map(|name| (namespace.to_owned(), name)));
        self
    }

    /// And these.
    pub(crate) fn and(mut self, pods: impl IntoIterator<Item = ObjectKey>) -> Self {
        self.0.extend(pods.into_iter().map(|pod| (pod.namespace, pod.name)));
        self
    }

    /// Those of them that there are and that were made for the Task.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(crate) async fn get(&self, client: &Client, task: &TaskUid) -> Result<Vec<PodView>, kube::Error> {
        let mut found = Vec::new();
        for (namespace, name) in &self.0 {
            let pod = Api::<PodView>::namespaced(client.clone(), namespace).get_opt(name).await?;
            found.extend(pod.filter(|pod| pod.task_uid().as_ref() == Some(task)));
        }
        Ok(found)
    }
}
