//! The cluster under test: how to reach it, and what must be in it before the first test.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use kube::{Client, Config, ResourceExt};
use kubeopencode_api::names::short_hash;
use kubeopencode_evaluate::Catalog;
use kubeopencode_plugin_host::{HostOptions, Plugin, PluginHost};
use serde_json::json;
use tokio::sync::OnceCell;
use tower::ServiceBuilder;

use crate::audit::AuditLog;
use crate::exclusive::exclusive;
use crate::faults::FaultyLayer;
use crate::operator::Setup;
use crate::scope::ScopeLayer;

/// Who writes what tests apply.
pub const FIELD_MANAGER: &str = "kubeopencode-tests";
/// The node that Pods are bound to where no kubelet is.
pub const NODE: &str = "a-node-of-the-tests";

/// Says which definitions a control plane has.
const MARK: &str = "kubeopencode-tests-definitions";

/// The operator's user name on a control plane of the tests.
const OPERATOR: &str = "operator-under-test";
/// The operator's user name where the chart installed it.
const INSTALLED: &str = "system:serviceaccount:kubeopencode-system:kubeopencode";

/// A cluster that `make test` brought up.
#[derive(Debug, Clone)]
pub struct Cluster {
    admin: Config,
    /// The rights of an operator that the tests start themselves.
    operator: Option<Config>,
    /// The API server's own record.
    pub audit: AuditLog,
}

impl Cluster {
    /// The control plane that the environment names, with our CustomResourceDefinitions in it. It has no nodes.
    ///
    /// The process ends when the environment names none.
    pub async fn control_plane() -> Self {
        let [admin, operator, audit] = ["KUBECONFIG", "OPERATOR_KUBECONFIG", "AUDIT_LOG"]
            .map(|name| PathBuf::from(from_environment(&format!("KUBEOPENCODE_TEST_{name}"))));
        let operator = Some(config(&operator).await);
        let cluster = Self { admin: config(&admin).await, operator, audit: AuditLog::new(audit, OPERATOR) };
        static PREPARED: OnceCell<()> = OnceCell::const_new();
        PREPARED.get_or_init(|| async { prepare(&cluster.client()).await }).await;
        cluster
    }

    /// The whole cluster that the environment names: real nodes, and the chart is installed.
    ///
    /// The process ends when the environment names none.
    pub async fn whole() -> Self {
        let [admin, audit] = ["KUBECONFIG", "AUDIT_LOG"]
            .map(|name| PathBuf::from(from_environment(&format!("KUBEOPENCODE_E2E_{name}"))));
        Self { admin: config(&admin).await, operator: None, audit: AuditLog::new(audit, INSTALLED) }
    }

    /// A client with all rights. Belongs to the runtime that asks for it.
    pub fn client(&self) -> Client {
        Client::try_from(self.admin.clone()).unwrap()
    }

    /// The same with the operator's connections, for whoever is measured beside it.
    pub fn operators_kind_of_client(&self) -> Client {
        kubeopencode_operator::client(self.admin.clone()).unwrap()
    }

    /// How the API server answers a GET, whatever that is.
    pub async fn status_of(&self, path: &str) -> u16 {
        let mut config = self.admin.clone();
        config.default_retry = false;
        for _ in 0..3 {
            let client = Client::try_from(config.clone()).unwrap();
            let request = http::Request::get(path).body(kube::client::Body::empty()).unwrap();
            // the way to a Pod that has just started may lose a connection without a word
            if let Ok(answer) = tokio::time::timeout(Duration::from_secs(30), client.send(request)).await {
                return answer.unwrap().status().as_u16();
            }
        }
        panic!("GET {path} was not answered three times")
    }

    /// The operator's client: it sees these namespaces, as if they were all there is, and every request goes through
    /// its faults.
    pub fn operator_client(&self, namespaces: &[String], setup: &Setup) -> Client {
        let mut config = self.operator.clone().expect("on a whole cluster the chart's operator works");
        config.default_retry = false;
        if let Some(user) = &setup.user {
            config.headers.push((HeaderName::from_static("impersonate-user"), user.parse().unwrap()));
        }
        let layers = ServiceBuilder::new()
            .layer(FaultyLayer(setup.faults.clone()))
            .layer(ScopeLayer::new(namespaces))
            .into_inner();
        ClientBuilder::try_from(config).unwrap().with_layer(&layers).build()
    }
}

/// What `make test` hands over. Without it the process ends, in one sentence: a test that cannot run must not pass.
pub fn from_environment(name: &str) -> OsString {
    std::env::var_os(name).unwrap_or_else(|| {
        // not by a macro, whose text libtest would keep to itself
        writeln!(std::io::stderr(), "{name} is not set: these tests want a cluster, which `make api`, `make e2e`, `make test` and `make bench` bring up.").ok();
        std::process::exit(1)
    })
}

async fn config(kubeconfig: &PathBuf) -> Config {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
}

/// The definitions as the chart installs them, and a node to bind Pods to. Each test may be a process of its own: what
/// stands in the cluster already is not sent again.
async fn prepare(client: &Client) {
    let crds = kubeopencode_api::crd::all().unwrap();
    let digest = short_hash(&serde_json::to_string(&crds).unwrap());
    let marks = Api::<ConfigMap>::namespaced(client.clone(), "default");
    let marked = marks.get_opt(MARK).await.unwrap().and_then(|mark| mark.data);
    if marked.is_some_and(|data| data.get(MARK) == Some(&digest)) {
        return;
    }
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let apply = PatchParams::apply(FIELD_MANAGER).force();
    for crd in crds {
        let name = crd.name_any();
        definitions.patch(&name, &apply, &Patch::Apply(&crd)).await.unwrap();
        let established = await_condition(definitions.clone(), &name, is_crd_established());
        tokio::time::timeout(Duration::from_secs(30), established)
            .await
            .expect("the API server takes the CRD")
            .unwrap();
    }
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
    Api::<Node>::all(client.clone()).patch(NODE, &apply, &Patch::Apply(&node)).await.unwrap();
    let mark =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": MARK}, "data": {MARK: digest}});
    marks.patch(MARK, &apply, &Patch::Apply(&mark)).await.unwrap();
}

/// What loads plugins, and those that come with the program.
#[derive(Debug)]
pub struct Plugins {
    /// What loads them.
    pub host: Arc<PluginHost>,
    built_in: Vec<Arc<Plugin>>,
}

impl Plugins {
    /// The catalog of one operator: each begins with the built-in plugins.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::new(Catalog::new(self.built_in.clone()))
    }
}

/// The plugins, compiled once for all tests and runs: whoever comes first compiles them into a folder, the others wait
/// for that.
pub async fn plugin_host(worker: &str) -> Arc<Plugins> {
    static HOST: OnceCell<Arc<Plugins>> = OnceCell::const_new();
    let worker = PathBuf::from(worker);
    let make = async || {
        let cache_dir = worker.with_file_name("plugin-cache-of-tests");
        let _alone = exclusive(worker.with_file_name("plugin-cache-of-tests.lock")).await;
        let options = HostOptions { cache_dir, worker };
        let load = || {
            let host = PluginHost::new(options).unwrap();
            let built_in = host.load_built_in().unwrap();
            Plugins { host: Arc::new(host), built_in }
        };
        Arc::new(tokio::task::spawn_blocking(load).await.unwrap())
    };
    Arc::clone(HOST.get_or_init(make).await)
}
