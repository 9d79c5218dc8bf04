//! The leader lease: which of several operators works. Released on shutdown, so that the next one takes over at once.
//!
//! Correctness never depends on it: two operators at once only do some work twice.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio_util::sync::CancellationToken;

use crate::runtime::api_error::is_conflict;

/// Name of the lease, in the operator's namespace.
pub(crate) const NAME: &str = "kubeopencode.io";
/// After how long without renewal another one takes over, in seconds.
const DURATION: i32 = 15;
const RENEW: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(1);
/// How long an answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// Without a renewal for so long this operator stops, before another one may begin; client-go's `RenewDeadline`.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);

/// Who holds the lease while the operator is uninstalled.
const UNINSTALLER: &str = "uninstall";
/// For how long, in seconds: an operator that is installed again waits no longer than this.
const UNINSTALL_DURATION: i32 = 45;
/// By then whoever led has asked for a renewal, and has stopped its controllers.
pub(crate) const UNINSTALL_WAIT: Duration = Duration::from_secs(10);
/// Tries to take the lease from somebody who renews it at the same time.
const MAX_TRIES: usize = 5;

/// How a lease was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Another operator leads, or nobody answers who could say.
    ToAnother,
    /// The operator is being uninstalled.
    Uninstalling,
}

/// The lease, asked for by one operator.
pub(crate) struct Leader {
    api: Api<Lease>,
    identity: String,
}

impl Leader {
    /// Asks for the lease in this namespace, under this name.
    pub(crate) fn new(client: Client, namespace: &str, identity: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), identity: identity.to_owned() }
    }

    /// Waits until this operator leads.
    pub(crate) async fn acquire(&self) {
        loop {
            match self.take().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "the leader lease could not be asked for and is asked for again")
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Keeps the lease until it is lost; after `shutdown` it is only held.
    pub(crate) async fn keep(&self, shutdown: &CancellationToken) -> Lost {
        let mut renewed = tokio::time::Instant::now();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => std::future::pending().await,
                () = tokio::time::sleep(RENEW) => {}
            }
            match self.take().await {
                Ok(true) => renewed = tokio::time::Instant::now(),
                Ok(false) => {
                    let lease = self.api.get_opt(NAME).await.ok().flatten();
                    let uninstalling = lease.is_some_and(|lease| holder(&lease) == Some(UNINSTALLER));
                    return if uninstalling { Lost::Uninstalling } else { Lost::ToAnother };
                }
                Err(error) => {
                    tracing::warn!(%error, "the leader lease could not be renewed");
                    if renewed.elapsed() > RENEW_DEADLINE {
                        return Lost::ToAnother;
                    }
                }
            }
        }
    }

    /// Lets the next one lead at once.
    #[expect(clippy::disallowed_methods, reason = "the lease is the operator's own")]
    pub(crate) async fn release(&self) {
        let Ok(Some(mut lease)) = self.api.get_opt(NAME).await else { return };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return;
        }
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        if let Err(error) = self.api.replace(NAME, &PostParams::default(), &lease).await {
            tracing::warn!(%error, "the leader lease could not be released; the next operator waits {DURATION} s for it");
        }
    }

    /// Takes the lease from whoever has it, so that no operator works for a while; says whether there is one.
    ///
    /// # Errors
    /// When the API server does not answer.
    #[expect(clippy::disallowed_methods, reason = "the lease is the operator's own")]
    pub(crate) async fn take_for_uninstall(client: Client, namespace: &str) -> Result<bool, kube::Error> {
        let api = Api::<Lease>::namespaced(client, namespace);
        let mut last = None;
        for _ in 0..MAX_TRIES {
            let Some(mut lease) = api.get_opt(NAME).await? else { return Ok(false) };
            let spec = lease.spec.take().unwrap_or_default();
            let uninstalling = next(spec, UNINSTALLER, Timestamp::now());
            lease.spec = Some(LeaseSpec { lease_duration_seconds: Some(UNINSTALL_DURATION), ..uninstalling });
            match api.replace(NAME, &PostParams::default(), &lease).await {
                Ok(_) => return Ok(true),
                Err(error) if is_conflict(&error) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        last.map_or(Ok(false), Err)
    }

    /// One try to take or renew the lease: whether this operator has it now.
    async fn take(&self) -> Result<bool, kube::Error> {
        let late = |_| kube::Error::Service(format!("no answer within {ANSWER_TIMEOUT:?}").into());
        tokio::time::timeout(ANSWER_TIMEOUT, self.take_now()).await.map_err(late)?
    }

    #[expect(clippy::disallowed_methods, reason = "the lease is the operator's own")]
    async fn take_now(&self) -> Result<bool, kube::Error> {
        let now = Timestamp::now();
        let Some(mut lease) = self.api.get_opt(NAME).await? else {
            let metadata = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(next(LeaseSpec::default(), &self.identity, now)) };
            return taken(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.take().unwrap_or_default();
        if !is_free(&spec, &self.identity, now) {
            return Ok(false);
        }
        lease.spec = Some(next(spec, &self.identity, now));
        taken(self.api.replace(NAME, &PostParams::default(), &lease).await)
    }
}

fn taken(answer: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if is_conflict(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref()
}

/// Whether `identity` may take the lease.
fn is_free(spec: &LeaseSpec, identity: &str, now: Timestamp) -> bool {
    let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty());
    let duration = jiff::SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or(DURATION).into());
    let end = spec.renew_time.as_ref().and_then(|renewed| renewed.0.checked_add(duration).ok());
    holder.is_none_or(|holder| holder == identity) || end.is_none_or(|end| end < now)
}

/// The lease in the hands of `identity`.
fn next(spec: LeaseSpec, identity: &str, now: Timestamp) -> LeaseSpec {
    let same = spec.holder_identity.as_deref() == Some(identity);
    // as every other lease counts: changes of the holder, not its creation
    let handed_on = spec.holder_identity.is_some() && !same;
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(DURATION),
        acquire_time: if same { spec.acquire_time } else { Some(MicroTime(now)) },
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(spec.lease_transitions.unwrap_or(0) + i32::from(handed_on)),
        ..spec
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_when_it_is_free_or_ran_out() {
        let now = Timestamp::from_second(100).unwrap();
        let held = next(LeaseSpec::default(), "a", now);
        assert!(is_free(&LeaseSpec::default(), "b", now), "nobody has it");
        assert!(is_free(&held, "a", now), "renewal");
        assert!(!is_free(&held, "b", Timestamp::from_second(115).unwrap()));
        assert!(is_free(&held, "b", Timestamp::from_second(116).unwrap()));
        let handed_on = next(held, "b", Timestamp::from_second(116).unwrap());
        assert_eq!((handed_on.lease_transitions, handed_on.holder_identity.as_deref()), (Some(1), Some("b")));
    }
}
