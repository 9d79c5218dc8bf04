//! The Pods of a Task as the API server has them: asked for by their names, in the namespaces that they can be in. A
//! search by label would read all Pods there are.

use kube::Client;
use kube::api::Api;

use crate::cache::pod_places::PodPlaces;
use crate::cache::pod_view::PodView;

/// Those Pods of the Task that there are at its places, whatever became of their labels.
///
/// # Errors
/// When the API server does not answer.
pub(crate) async fn live_pods(client: &Client, places: &PodPlaces) -> Result<Vec<PodView>, kube::Error> {
    let mut found = Vec::new();
    for (namespace, name) in places.to_ask() {
        let pod = Api::<PodView>::namespaced(client.clone(), namespace).get_opt(name).await?;
        found.extend(pod.filter(|pod| places.hold(pod)));
    }
    found.iter_mut().for_each(PodView::slim);
    Ok(found)
}
