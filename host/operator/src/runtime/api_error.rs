//! What an error of the API server means. Pure.

use std::time::Duration;

use kube::Error;
use kube::core::Status;
use kube::runtime::watcher;

/// How long a refusal that may be a passing one (a Role in upgrade looks the same) is retried.
pub(crate) const REFUSAL_TIMEOUT: Duration = Duration::from_secs(60);

/// What a failed create means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CreateError {
    /// 409: something of this name is there; read it and decide.
    Exists,
    /// The object as it is will never be taken.
    Invalid(String),
    /// The namespace's ResourceQuota has no room.
    NoRoom(String),
    /// The namespace is being deleted.
    Terminating(String),
    /// The Pod's ServiceAccount does not exist (yet).
    NoServiceAccount(String),
    /// Refused for now, perhaps for good.
    Refused(String),
    /// Nobody knows whether it was done: read before deciding.
    Unknown,
}

/// Reads the answer to a create.
pub(crate) fn classify_create_error(error: &Error) -> CreateError {
    let Error::Api(status) = error else { return CreateError::Unknown };
    let message = status.message.clone();
    match status.code {
        409 if is_terminating(status) => CreateError::Terminating(message),
        409 => CreateError::Exists,
        _ if let Some(remedy) = remedy(status) => CreateError::Invalid(format!("{message}; {remedy}")),
        422 => CreateError::Invalid(message),
        _ if is_too_large(error) => CreateError::Invalid(message),
        403 if message.contains("exceeded quota") => CreateError::NoRoom(message),
        403 if is_terminating(status) => CreateError::Terminating(message),
        403 if message.contains("error looking up service account") => CreateError::NoServiceAccount(message),
        404 => CreateError::Terminating(message),
        400 | 403 => CreateError::Refused(message),
        _ => CreateError::Unknown,
    }
}

/// What mends a refusal of a Pod that asking again does not: a policy of the namespace wants of every Pod what this one does
/// not have.
fn remedy(status: &Status) -> Option<&'static str> {
    let says = |words: &str| status.message.contains(words);
    match status.code {
        // of a ResourceQuota, where a container says nothing of a resource that it limits
        403 if says("failed quota") && says("must specify") => Some(
            "set them in spec.podSpec.resources of the Agent, or in spec.defaults.resources of KubeOpenCodeConfig, for every \
             container",
        ),
        403 | 422 if says("fsGroup") => Some(
            "the namespace gives out groups: set spec.podSpec.podSecurityContext of the Agent, or \
             spec.defaults.podSecurityContext of KubeOpenCodeConfig, to {}",
        ),
        _ => None,
    }
}

fn is_terminating(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
        || status.message.contains("because it is being terminated")
}

/// Whether the API server said that there is no such object.
pub(crate) fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 404)
}

/// Whether the operator has no right to what it asked for, or may not have it.
pub(crate) fn is_refused(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 403)
}

/// Whether the object changed since it was read, or a precondition did not hold.
pub(crate) fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 409)
}

/// Whether the object is not the one that the write was meant for, or the API server's rules forbid the write.
pub(crate) fn is_invalid(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 422)
}

/// Whether the object changed or went since the write was decided on: it is decided anew on what is there now.
pub(crate) fn is_outdated(error: &Error) -> bool {
    is_conflict(error) || is_invalid(error) || is_not_found(error)
}

/// Whether the object does not fit into etcd. The API server says so with three codes: 413 for a request over 3 MiB; 500 and
/// 422 for what etcd, or its client, refuses.
pub(crate) fn is_too_large(error: &Error) -> bool {
    let Error::Api(status) = error else { return false };
    let words =
        ["request is too large", "trying to send message larger than max", "Request entity too large"];
    status.code == 413
        || (matches!(status.code, 422 | 500) && words.iter().any(|words| status.message.contains(words)))
}

/// Whether the API server has to ask a webhook that does not answer. Nothing was done then, and nobody knows when it will be.
pub(crate) fn is_failed_webhook(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 500 && status.message.contains("failed calling webhook"))
}

/// Whether the API server fails, and not the object or the request.
pub(crate) fn is_failing(error: &Error) -> bool {
    matches!(error, Error::Api(status) if (500..=599).contains(&status.code)) && !is_too_large(error)
}

/// Bytes of an answer's words that a log needs: whoever answered need not be an API server.
const MAX_WORDS: usize = 300;

/// Why a watch failed, for a log, in such words.
pub(crate) fn watch_failure(error: &watcher::Error) -> String {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(error) => format!("list: {}", words(error)),
        WatchStartFailed(error) | WatchFailed(error) => format!("watch: {}", words(error)),
        WatchError(status) => format!("watch: {}", of_status(status)),
        NoResourceVersion => error.to_string(),
    }
}

/// Whether a watch failed because there is no such kind of object: its definition is not installed.
pub(crate) fn is_missing_kind(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    matches!(error, InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) if is_not_found(error))
}

/// Whether a watch failed because the API server refuses it.
pub(crate) fn is_refused_watch(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    matches!(error, InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) if is_refused(error))
}

/// What went wrong, in words for a log or a status: never with what an object says, which words of serde can quote, and
/// without the whole Status that kube prints behind its message.
pub(crate) fn words(error: &Error) -> String {
    match error {
        Error::Api(status) => of_status(status),
        Error::SerdeError(error) => {
            let (line, column) = (error.line(), error.column());
            format!("the answer cannot be read: {:?} error at line {line}, column {column}", error.classify())
        }
        other => other.to_string(),
    }
}

fn of_status(status: &Status) -> String {
    let words = status.message.trim();
    // kube takes an event that it cannot read for a Status, of which no field is required
    if status.code == 0 && words.is_empty() {
        return "an event cannot be read".to_owned();
    }
    let end = words.floor_char_boundary(MAX_WORDS);
    let more = if end < words.len() { "..." } else { "" };
    format!("{} {}: {}{more}", status.code, status.reason, &words[..end])
}

/// The label of `kubeopencode_reconcile_errors_total`.
pub(crate) fn label(error: &Error) -> &'static str {
    match error {
        error if is_too_large(error) => "too_large",
        Error::Api(status) => match status.code {
            403 => "forbidden",
            404 => "not_found",
            409 => "conflict",
            422 => "invalid",
            429 => "too_many_requests",
            500..=599 => "server_error",
            _ => "api",
        },
        _ => "connection",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16, message: &str) -> Error {
        Error::Api(Box::new(Status { code, message: message.into(), ..Status::default() }))
    }

    #[test]
    fn every_answer_has_its_meaning() {
        for (code, message, expected) in [
            (409, "pods \"fix-pod\" already exists", CreateError::Exists),
            (422, "Pod \"fix-pod\" is invalid: spec", CreateError::Invalid("Pod \"fix-pod\" is invalid: spec".into())),
            (
                403,
                "pods \"fix-pod\" is forbidden: exceeded quota: small, requested: pods=1",
                CreateError::NoRoom("pods \"fix-pod\" is forbidden: exceeded quota: small, requested: pods=1".into()),
            ),
            (
                403,
                "unable to create new content in namespace team because it is being terminated",
                CreateError::Terminating("unable to create new content in namespace team because it is being terminated".into()),
            ),
            (
                403,
                "pods \"p\" is forbidden: error looking up service account team/agent: serviceaccount \"agent\" not found",
                CreateError::NoServiceAccount(
                    "pods \"p\" is forbidden: error looking up service account team/agent: serviceaccount \"agent\" not found".into(),
                ),
            ),
            (
                403,
                "pods \"p\" is forbidden: failed quota: limits: must specify limits.cpu for: agent",
                CreateError::Invalid(
                    "pods \"p\" is forbidden: failed quota: limits: must specify limits.cpu for: agent; set them in \
                     spec.podSpec.resources of the Agent, or in spec.defaults.resources of KubeOpenCodeConfig, for every \
                     container"
                        .into(),
                ),
            ),
            (
                403,
                "unable to validate against any security context constraint: .spec.securityContext.fsGroup: Invalid value",
                CreateError::Invalid(
                    "unable to validate against any security context constraint: .spec.securityContext.fsGroup: Invalid \
                     value; the namespace gives out groups: set spec.podSpec.podSecurityContext of the Agent, or \
                     spec.defaults.podSecurityContext of KubeOpenCodeConfig, to {}"
                        .into(),
                ),
            ),
            (403, "cannot create resource", CreateError::Refused("cannot create resource".into())),
            (413, "too large", CreateError::Invalid("too large".into())),
            (
                500,
                "etcdserver: request is too large",
                CreateError::Invalid("etcdserver: request is too large".into()),
            ),
            (
                500,
                "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2482895 vs. 2097152)",
                CreateError::Invalid(
                    "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2482895 vs. 2097152)".into(),
                ),
            ),
            (
                409,
                "namespace team is not ready because it is being terminated",
                CreateError::Terminating("namespace team is not ready because it is being terminated".into()),
            ),
            (404, "namespaces \"team\" not found", CreateError::Terminating("namespaces \"team\" not found".into())),
            (403, "failed quota of nobody", CreateError::Refused("failed quota of nobody".into())),
            (429, "later", CreateError::Unknown),
            (503, "down", CreateError::Unknown),
        ] {
            assert_eq!(classify_create_error(&api(code, message)), expected, "{code} {message}");
        }
        let lost = Error::Service("connection reset".into());
        assert_eq!(classify_create_error(&lost), CreateError::Unknown);
    }

    #[test]
    fn a_namespace_that_goes_is_known_by_its_cause() {
        let refusal = |cause: &str| -> Error {
            let status =
                serde_json::json!({"code": 403, "message": "no", "details": {"causes": [{"reason": cause}]}});
            Error::Api(Box::new(serde_json::from_value(status).unwrap()))
        };
        let goes = refusal("NamespaceTerminating");
        assert_eq!(classify_create_error(&goes), CreateError::Terminating("no".into()));
        assert_eq!(classify_create_error(&refusal("Other")), CreateError::Refused("no".into()));
    }

    #[test]
    fn each_code_is_told_from_the_others() {
        for (code, words) in [
            (400, "api"),
            (403, "forbidden"),
            (404, "not_found"),
            (409, "conflict"),
            (413, "too_large"),
            (422, "invalid"),
            (429, "too_many_requests"),
            (500, "server_error"),
            (599, "server_error"),
            (600, "api"),
        ] {
            let error = api(code, "");
            assert_eq!(label(&error), words);
            let is = [is_refused, is_not_found, is_conflict, is_invalid, is_too_large].map(|is| is(&error));
            assert_eq!(is, [403, 404, 409, 422, 413].map(|one| one == code), "{code}");
            assert_eq!(is_outdated(&error), [404, 409, 422].contains(&code), "{code}");
            assert_eq!(is_failing(&error), (500..600).contains(&code), "{code}");
            let missing = is_missing_kind(&watcher::Error::WatchFailed(error));
            assert_eq!(missing, code == 404, "{code}");
        }
        assert_eq!(label(&Error::Service("connection reset".into())), "connection");
        for code in [422, 500] {
            let too_large = api(code, "etcdserver: request is too large");
            assert!(is_too_large(&too_large) && !is_failing(&too_large), "{code}");
        }
        assert!(
            !is_too_large(&api(503, "etcdserver: request is too large")),
            "that is somebody's on the way"
        );
    }

    #[test]
    fn a_webhook_that_does_not_answer_is_told_from_an_answer_that_is_lost() {
        let words =
            "Internal error occurred: failed calling webhook \"a.example.com\": context deadline exceeded";
        let failed = api(500, words);
        assert!(is_failed_webhook(&failed));
        assert_eq!(
            classify_create_error(&failed),
            CreateError::Unknown,
            "it is asked again with growing pauses"
        );
        assert!(!is_failed_webhook(&api(500, "etcdserver: request timed out")));
        assert!(!is_failed_webhook(&Error::Service("connection reset".into())));
    }

    #[test]
    fn a_failed_watch_says_why_and_not_what_an_object_says() {
        let Error::Api(mut status) = api(403, "tasks.kubeopencode.io is forbidden") else { unreachable!() };
        status.reason = "Forbidden".into();
        let refused = watcher::Error::InitialListFailed(Error::Api(status.clone()));
        assert!(is_refused_watch(&refused) && !is_missing_kind(&refused));
        assert_eq!(watch_failure(&refused), "list: 403 Forbidden: tasks.kubeopencode.io is forbidden");
        let expired = watcher::Error::WatchError(status.clone());
        assert_eq!(watch_failure(&expired), "watch: 403 Forbidden: tasks.kubeopencode.io is forbidden");
        status.message = "é".repeat(MAX_WORDS);
        let long = watch_failure(&watcher::Error::WatchError(status));
        assert!(long.ends_with("é...") && long.len() < MAX_WORDS + 40, "{long}");
        let prompt = serde_json::from_str::<u8>("\"my secret prompt\"").unwrap_err();
        assert!(prompt.to_string().contains("my secret prompt"));
        let unreadable = watcher::Error::WatchFailed(Error::SerdeError(prompt));
        assert_eq!(
            watch_failure(&unreadable),
            "watch: the answer cannot be read: Data error at line 1, column 18"
        );
        let no_event = watcher::Error::WatchFailed(api(0, ""));
        assert!(!is_refused_watch(&no_event));
        assert_eq!(watch_failure(&no_event), "watch: an event cannot be read");
        let refused = words(&api(403, "leases is forbidden"));
        assert_eq!(refused, "403 : leases is forbidden", "once, and nothing of the Status behind it");
        assert_eq!(words(&api(503, "")), "503 : ", "an answer without words is one that was read");
        let lost = watcher::Error::WatchStartFailed(Error::Service("connection reset".into()));
        assert_eq!(watch_failure(&lost), "watch: ServiceError: connection reset");
    }
}
