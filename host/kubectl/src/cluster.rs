//! The way to the API server: one client, with the rights of the user's kubeconfig.
//!
//! May touch: the kubeconfig, the variables that name a proxy, the API server. Must not touch: what is said about its answers.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Config, Resource};
use kubeopencode_api::task::Task;
use serde::de::DeserializeOwned;

use crate::args::Place;
use crate::error::{Asked, Failure, chain, may_be_done, may_pass};
use crate::proxy;

/// How long the API server may not answer before contact is lost. A rolling update of a control plane takes less.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the API server may take to say that it is there.
const ANSWER: Duration = Duration::from_secs(10);

/// How long a connection may be silent until it counts as dead. A watch that is well ends before, after 290 s.
const DEAD_AFTER: Duration = Duration::from_secs(300);

/// A cluster, and the namespace that is meant.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// The client.
    pub(crate) client: Client,
    /// The namespace.
    pub(crate) namespace: String,
}

impl Cluster {
    /// The one that the flags and the kubeconfig mean.
    ///
    /// # Errors
    /// When there is none, or the kubeconfig makes no sense.
    pub(crate) async fn connect(place: &Place) -> Result<Self, Failure> {
        let place = &place.given();
        let wrong = |error: &dyn std::error::Error| {
            let words = chain(error);
            Failure::Refused(format!(
                "no cluster: {words}: set KUBECONFIG, or name a file with --kubeconfig and a context of it with --context"
            ))
        };
        let read = kubeconfig(place);
        let proxy_url = read.as_ref().ok().map(|read| proxy::of_kubeconfig(read, place.context.as_deref()));
        let mut config = match (&place.kubeconfig, &place.context) {
            (None, None) => Config::infer().await.map_err(|error| wrong(&error))?,
            (_, context) => {
                let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
                let read = read.map_err(|error| wrong(&error))?;
                Config::from_custom_kubeconfig(read, &options).await.map_err(|error| wrong(&error))?
            }
        };
        // inside of a cluster there is no kubeconfig, and no proxy
        if let Some(proxy_url) = proxy_url {
            let proxy = proxy::to(&config.cluster_url, proxy_url, |name| std::env::var(name).ok());
            config.proxy_url = proxy.map_err(Failure::Refused)?;
        }
        // a request that may have made a Task is not sent a second time
        config.default_retry = false;
        config.read_timeout.get_or_insert(DEAD_AFTER);
        let namespace = place.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| wrong(&error))?;
        Ok(Self { client, namespace })
    }

    /// The Tasks of the namespace.
    pub(crate) fn tasks(&self) -> Api<Task> {
        self.of(&self.namespace)
    }

    /// Objects of a namespace.
    pub(crate) fn of<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// A Task of the namespace.
    ///
    /// # Errors
    /// When it is not there, or may not be read.
    pub(crate) async fn task(&self, name: &str) -> Result<Task, Failure> {
        let asked = Asked::task(&self.namespace, name);
        self.tasks().get(name).await.map_err(|error| asked.failed(&error))
    }

    /// Makes a Task.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub(crate) async fn make(&self, task: &Task) -> Result<Task, Failure> {
        let what = format!("a Task in namespace {}", self.namespace);
        let remedy = format!("make the namespace: kubectl create namespace {}", self.namespace);
        let made = self.tasks().create(&PostParams::default(), task).await;
        made.map_err(|error| {
            let failure = Asked { what, remedy }.failed(&error);
            if !may_be_done(&error) {
                return failure.before_the_start();
            }
            Failure::Lost(format!(
                "{failure}; whether the Task was made is not known: look with kubectl kubeopencode get -n {}",
                self.namespace
            ))
        })
    }

    /// Objects of a namespace, or of all.
    ///
    /// # Errors
    /// When they may not be listed.
    pub(crate) async fn list<K>(
        &self,
        namespace: Option<&str>,
        params: &ListParams,
    ) -> Result<Vec<K>, kube::Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api = match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        Ok(api.list(params).await?.items)
    }
}

fn kubeconfig(place: &Place) -> Result<Kubeconfig, KubeconfigError> {
    match &place.kubeconfig {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    }
}

/// The contexts of the kubeconfig; none where it cannot be read.
pub(crate) fn contexts(place: &Place) -> Vec<String> {
    let read = kubeconfig(place).map(|read| read.contexts).unwrap_or_default();
    read.into_iter().map(|context| context.name).collect()
}

/// Watches an object until `look` finds what it looks for; `None` is shown where it is gone.
///
/// # Errors
/// When the object may not be watched, or the API server does not answer for [`PATIENCE`].
pub(crate) async fn until<K, T>(
    api: &Api<K>,
    name: &str,
    asked: &Asked,
    mut look: impl FnMut(Option<&K>) -> Option<T>,
) -> Result<T, Failure>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut seen = std::pin::pin!(watcher::watch_object(api.clone(), name).default_backoff());
    let mut contact = Contact::default();
    loop {
        let object = next(&mut seen, &mut contact, api, asked).await?;
        if let Some(found) = look(object.as_ref()) {
            return Ok(found);
        }
    }
}

/// What a watch shows next. One that goes on where it broke off is silent until something changes: before its silence counts as
/// lost contact, the API server is asked whether it is there.
///
/// # Errors
/// When the objects may not be watched, or the API server does not answer for [`PATIENCE`].
pub(crate) async fn next<K, T>(
    seen: &mut (impl Stream<Item = watcher::Result<T>> + Unpin),
    contact: &mut Contact,
    api: &Api<K>,
    asked: &Asked,
) -> Result<T, Failure>
where
    K: Clone + Debug + DeserializeOwned,
{
    loop {
        let next = match contact.patience_left() {
            None => seen.next().await,
            Some(left) => match tokio::time::timeout(left, seen.next()).await {
                Ok(next) => next,
                Err(_) => {
                    if !answers(api).await {
                        return Err(contact.lost(asked));
                    }
                    *contact = Contact::default();
                    continue;
                }
            },
        };
        match next {
            Some(Ok(shown)) => {
                *contact = Contact::default();
                return Ok(shown);
            }
            Some(Err(error)) => contact.failed(asked, cause(error))?,
            None => return Err(contact.lost(asked)),
        }
    }
}

/// Whether the API server is there. That it refuses is an answer, too.
async fn answers<K: Clone + Debug + DeserializeOwned>(api: &Api<K>) -> bool {
    match tokio::time::timeout(ANSWER, api.list_metadata(&ListParams::default().limit(1))).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => !may_pass(&error),
        Err(_) => false,
    }
}

/// What a watch broke of.
fn cause(error: watcher::Error) -> kube::Error {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        watcher::Error::WatchError(status) => kube::Error::Api(status),
        other => kube::Error::Service(Box::new(other)),
    }
}

/// Whether the API server still answers.
#[derive(Debug, Default)]
pub(crate) struct Contact {
    /// Since when it does not, and what it was last.
    broken: Option<(Instant, String)>,
}

impl Contact {
    /// How long it may go on so; `None`: it answers.
    pub(crate) fn patience_left(&self) -> Option<Duration> {
        self.broken.as_ref().map(|(since, _)| PATIENCE.saturating_sub(since.elapsed()))
    }

    /// It did not answer, or refused.
    ///
    /// # Errors
    /// When that will not pass, or has been so for too long.
    pub(crate) fn failed(&mut self, asked: &Asked, error: kube::Error) -> Result<(), Failure> {
        if !may_pass(&error) {
            return Err(asked.failed(&error));
        }
        let since = self.broken.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        self.broken = Some((since, chain(&error)));
        match self.patience_left() {
            Some(Duration::ZERO) => Err(self.lost(asked)),
            _ => Ok(()),
        }
    }

    /// What is said when it is over.
    pub(crate) fn lost(&self, asked: &Asked) -> Failure {
        let why = self.broken.as_ref().map_or("the watch ended", |(_, why)| why.as_str());
        let Asked { what, .. } = asked;
        Failure::Lost(format!(
            "{what}: lost contact with the API server for {} s: {why}; it goes on without you: look at it again later",
            PATIENCE.as_secs()
        ))
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;

    use super::*;

    /// An API server that answers once, and then tells that it did.
    async fn api_server(code: u16) -> (Api<Task>, oneshot::Receiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
        config.default_retry = false;
        let body = match code {
            200 => json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": []}),
            code => json!({"kind": "Status", "status": "Failure", "message": "no", "code": code}),
        };
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.unwrap());
            }
            let body = body.to_string();
            let answer = format!(
                "HTTP/1.1 {code} Any\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            client.write_all(answer.as_bytes()).await.unwrap();
            tell.send(()).unwrap();
        });
        (Api::all(Client::try_from(config).unwrap()), told)
    }

    /// Of a watch that broke off so long ago that patience is at its end.
    fn at_its_end() -> Contact {
        Contact { broken: Some((Instant::now().checked_sub(PATIENCE).unwrap(), "reset".to_owned())) }
    }

    #[tokio::test]
    async fn a_watch_that_is_silent_since_it_broke_off_is_no_lost_contact() {
        for code in [200, 403] {
            let (api, was_asked) = api_server(code).await;
            let mut seen = std::pin::pin!(stream::once(async move {
                was_asked.await.unwrap();
                Ok::<_, watcher::Error>("a change")
            }));
            let mut contact = at_its_end();
            let shown = next(&mut seen, &mut contact, &api, &Asked::task("team", "fix")).await;
            assert_eq!(shown.unwrap(), "a change", "{code}");
            assert_eq!(contact.patience_left(), None, "{code}");
        }
    }

    #[tokio::test]
    async fn an_api_server_that_does_not_answer_is_lost_contact() {
        let (api, _was_asked) = api_server(503).await;
        let mut seen = std::pin::pin!(stream::pending::<watcher::Result<()>>());
        let lost = next(&mut seen, &mut at_its_end(), &api, &Asked::task("team", "fix")).await.unwrap_err();
        let words = "Task team/fix: lost contact with the API server for 60 s: reset; ";
        assert!(matches!(&lost, Failure::Lost(_)) && lost.to_string().starts_with(words), "{lost}");
    }
}
