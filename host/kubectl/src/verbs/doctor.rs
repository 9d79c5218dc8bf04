//! `doctor`: whether everything is there that a Task needs, as far as the user's rights show it.
//!
//! May touch: what it reads; of Secrets their metadata alone. Must not touch: what is wrong, which `findings` says.

mod findings;

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ResourceQuota, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, ListParams};
use kube::{Resource, ResourceExt};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::group::Group;
use kubeopencode_api::plugin_object::Plugin;
use serde::de::DeserializeOwned;

use self::findings::{Facts, Mark, Named, Seen, findings, names, print as lines};
use crate::args::{Doctor, Place};
use crate::cluster::Cluster;
use crate::error::{Asked, Failure};
use crate::output::{Style, print};

/// How the operator's Deployment is labelled: docs/contract.md.
const OPERATOR: &str = "app.kubernetes.io/name=kubeopencode,app.kubernetes.io/component=controller";

/// Prints what it finds.
///
/// # Errors
/// When something is wrong, or the API server does not answer.
pub(crate) async fn main(flags: Doctor, place: &Place) -> Result<(), Failure> {
    let cluster = Cluster::connect(place).await?;
    let found = findings(&look(&cluster, flags.operators()).await?);
    print(lines(&found, Style::of_stdout()))?;
    match found.iter().filter(|one| one.mark == Mark::Bad).count() {
        0 => Ok(()),
        1 => Err(Failure::Failed("1 thing is wrong: the line with an x says what to do".to_owned())),
        wrong => {
            Err(Failure::Failed(format!("{wrong} things are wrong: the lines with an x say what to do")))
        }
    }
}

async fn look(cluster: &Cluster, operator_namespace: &str) -> Result<Facts, Failure> {
    let of_operator = ListParams::default().labels(OPERATOR);
    let agents = all::<Agent>(cluster, "Agents", &cluster.namespace, &ListParams::default()).await?;
    let mut named = BTreeMap::new();
    for one in names(agents.as_deref().unwrap_or_default()) {
        let there = is_there(cluster, &one).await?;
        named.insert(one, there);
    }
    let plugins = Api::<Plugin>::all(cluster.client.clone()).list(&ListParams::default()).await;
    // a cluster without custom plugins has no definition of them
    let plugins = match plugins {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        listed => Asked::all("Plugins", None).seen(listed.map(|list| list.items))?,
    };
    Ok(Facts {
        namespace: cluster.namespace.clone(),
        operator_namespace: operator_namespace.to_owned(),
        kinds: kinds(cluster).await?,
        operators: all::<Deployment>(cluster, "Deployments", operator_namespace, &of_operator).await?,
        agents,
        named,
        policies: all::<NetworkPolicy>(
            cluster,
            "NetworkPolicies",
            &cluster.namespace,
            &ListParams::default(),
        )
        .await?,
        quotas: all::<ResourceQuota>(cluster, "ResourceQuotas", &cluster.namespace, &ListParams::default())
            .await?,
        plugins,
    })
}

/// What the API server serves of our group, which everybody may ask who may log in.
async fn kinds(cluster: &Cluster) -> Result<Seen<Vec<String>>, Failure> {
    let version = Group::KubeOpenCode.api_version();
    let served = match cluster.client.list_api_group_resources(&version).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Ok(Vec::new())),
        served => served.map(|served| served.resources),
    };
    let asked = Asked { what: "definitions".to_owned(), remedy: "install the chart".to_owned() };
    let served = asked.seen(served)?;
    let is_kind = |name: &String| !name.contains('/');
    Ok(served.map(|served| served.into_iter().map(|resource| resource.name).filter(is_kind).collect()))
}

async fn all<K>(
    cluster: &Cluster,
    kind: &str,
    namespace: &str,
    params: &ListParams,
) -> Result<Seen<Vec<K>>, Failure>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    Asked::all(kind, Some(namespace)).seen(cluster.list(Some(namespace), params).await)
}

/// Whether an object is there; of a Secret the API server sends nothing but its metadata.
async fn is_there(cluster: &Cluster, named: &Named) -> Result<Seen<bool>, Failure> {
    let name = &named.name;
    let found = match named.kind {
        "Secret" => cluster
            .of::<Secret>(&cluster.namespace)
            .get_metadata_opt(name)
            .await
            .map(|it| it.map(|it| it.name_any())),
        _ => cluster
            .of::<ServiceAccount>(&cluster.namespace)
            .get_metadata_opt(name)
            .await
            .map(|it| it.map(|it| it.name_any())),
    };
    Asked::object(named.kind, &cluster.namespace, name).seen(found.map(|found| found.is_some()))
}
