//! The leader lease: which of several operators works. Released on shutdown, so that the next one takes over at once.
//!
//! Who may hold it is decided in [`election`]; here are the requests, each within a time limit. Correctness never
//! depends on the lease: two operators at once only do some work twice.

mod election;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::runtime::api_error::{is_conflict, is_not_found, words};
pub(crate) use election::Lost;
use election::{DURATION, RENEW_DEADLINE, Seen, UNINSTALLER, released, renewed, taken, works_until};

/// Name of the lease, in the operator's namespace.
pub(crate) const NAME: &str = "kubeopencode.io";
/// How often the holder renews it; client-go's `RetryPeriod`.
const RENEW: Duration = Duration::from_secs(2);
/// Until a candidate looks again, and until a renewal that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long an answer is waited for: a renewal that hangs is tried again before its deadline.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// How long the operator stays away that is uninstalled, in seconds: one that is installed again waits no longer.
const UNINSTALL_DURATION: i32 = 45;
/// By then whoever led has given up, also if it does not hear of the uninstaller.
pub(crate) const UNINSTALL_WAIT: Duration = RENEW_DEADLINE;
/// Tries to write a lease that others write at the same time.
const MAX_TRIES: usize = 5;

/// The lease, asked for by one operator.
pub(crate) struct Leader {
    api: Api<Lease>,
    identity: String,
}

/// The lease in this operator's hands.
#[derive(Debug)]
pub(crate) struct Held {
    lease: Lease,
    /// When the write was sent that the API server confirmed.
    sent: Instant,
}

impl Leader {
    /// Asks for the lease in this namespace, under this name.
    pub(crate) fn new(client: Client, namespace: &str, identity: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), identity: identity.to_owned() }
    }

    /// Waits until this operator leads, and logs once for whom it waits.
    pub(crate) async fn acquire(&self) -> Held {
        let (mut seen, mut told) = (Seen::default(), None);
        loop {
            match in_time(self.try_acquire(&mut seen)).await {
                Ok(Some(held)) => return held,
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(
                        error = words(&error),
                        "the leader lease could not be asked for and is asked for again"
                    )
                }
            }
            let holder = seen.held_by_another(&self.identity, Instant::now()).map(str::to_owned);
            if let Some(holder) = &holder
                && told.as_ref() != Some(holder)
            {
                tracing::info!(holder, "standing by: another operator leads");
                told = Some(holder.clone());
            }
            sleep(RETRY).await;
        }
    }

    /// Keeps the lease until it is lost, at the latest [`RENEW_DEADLINE`] after the last renewal that was confirmed was
    /// sent. After `shutdown` it is not renewed any more.
    pub(crate) async fn keep(&self, held: &mut Held, shutdown: &CancellationToken) -> Lost {
        let mut pause = RENEW;
        loop {
            let lease = held.lease.clone();
            let renewal = async {
                tokio::select! {
                    () = shutdown.cancelled() => std::future::pending().await,
                    () = sleep(pause) => {}
                }
                in_time(self.renew(lease)).await
            };
            let Ok(answer) = timeout_at(works_until(held.sent), renewal).await else {
                return Lost::NotRenewed;
            };
            pause = match answer {
                Ok(Ok(renewed)) => {
                    *held = renewed;
                    RENEW
                }
                Ok(Err(lost)) => return lost,
                Err(error) => {
                    tracing::warn!(
                        error = words(&error),
                        "the leader lease could not be renewed and is renewed again"
                    );
                    RETRY
                }
            };
        }
    }

    /// Lets the next one lead at once.
    pub(crate) async fn release(&self, held: Held) {
        let change =
            |record: Option<LeaseSpec>| record.and_then(|record| released(record, &self.identity)).ok_or(());
        if let Err(error) = in_time(write(&self.api, Some(held.lease), change)).await {
            tracing::warn!(
                error = words(&error),
                "the leader lease could not be released; the next operator waits {DURATION} s for it"
            );
        }
    }

    /// Takes the lease from whoever has it, so that no operator works for a while; says whether there is one.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(crate) async fn take_for_uninstall(client: Client, namespace: &str) -> Result<bool, kube::Error> {
        let api = Api::<Lease>::namespaced(client, namespace);
        let Some(lease) = api.get_opt(NAME).await? else { return Ok(false) };
        let change = |record: Option<LeaseSpec>| {
            let uninstalling = taken(record.ok_or(())?, UNINSTALLER, Timestamp::now());
            Ok(LeaseSpec { lease_duration_seconds: Some(UNINSTALL_DURATION), ..uninstalling })
        };
        let written: Result<Held, ()> = write(&api, Some(lease), change).await?;
        Ok(written.is_ok())
    }

    /// One look at the lease, which is taken where it is free.
    async fn try_acquire(&self, seen: &mut Seen) -> Result<Option<Held>, kube::Error> {
        let lease = self.api.get_opt(NAME).await?;
        if let Some(lease) = &lease {
            seen.read(lease.spec.as_ref().unwrap_or(&LeaseSpec::default()), Instant::now());
        }
        if seen.held_by_another(&self.identity, Instant::now()).is_some() {
            return Ok(None);
        }
        let record = lease.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let sent = Instant::now();
        match put(&self.api, lease, taken(record, &self.identity, Timestamp::now())).await {
            Ok(lease) => Ok(Some(Held { lease, sent })),
            // somebody else wrote it first: the next look says who
            Err(error) if is_conflict(&error) || is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn renew(&self, lease: Lease) -> Result<Result<Held, Lost>, kube::Error> {
        let change =
            |record: Option<LeaseSpec>| renewed(record.unwrap_or_default(), &self.identity, Timestamp::now());
        write(&self.api, Some(lease), change).await
    }
}

/// Writes what `change` makes of the lease. Where somebody else wrote it meanwhile, who need not have taken it, it is read
/// and changed again.
async fn write<E>(
    api: &Api<Lease>,
    mut lease: Option<Lease>,
    change: impl Fn(Option<LeaseSpec>) -> Result<LeaseSpec, E>,
) -> Result<Result<Held, E>, kube::Error> {
    let mut tries = 1;
    loop {
        let record = match change(lease.as_ref().map(|lease| lease.spec.clone().unwrap_or_default())) {
            Ok(record) => record,
            Err(refused) => return Ok(Err(refused)),
        };
        let sent = Instant::now();
        match put(api, lease, record).await {
            Ok(lease) => return Ok(Ok(Held { lease, sent })),
            Err(error) if tries < MAX_TRIES && (is_conflict(&error) || is_not_found(&error)) => {
                tries += 1;
                lease = api.get_opt(NAME).await?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Writes a record into the lease as it was read, or makes the lease.
#[expect(clippy::disallowed_methods, reason = "the lease is the operator's own")]
async fn put(api: &Api<Lease>, lease: Option<Lease>, record: LeaseSpec) -> Result<Lease, kube::Error> {
    match lease {
        Some(lease) => {
            let lease = Lease { spec: Some(record), ..lease };
            api.replace(NAME, &PostParams::default(), &lease).await
        }
        None => {
            let metadata = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
            api.create(&PostParams::default(), &Lease { metadata, spec: Some(record) }).await
        }
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    let late = |_| kube::Error::Service(format!("no answer within {ANSWER_TIMEOUT:?}").into());
    timeout(ANSWER_TIMEOUT, answer).await.map_err(late)?
}
