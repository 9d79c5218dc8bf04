//! What ends a command: words for a person, and an exit code for a script.
//!
//! May touch: errors of the API server, which it puts into words. Must not touch: a client.

use std::process::ExitCode;

use kube::core::Status;

/// Killed by SIGPIPE, as a shell says it: who reads our output went, as `head` does.
const BROKEN_PIPE: u8 = 128 + 13;

/// Why a command ends badly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was asked for did not come out well: a Task that failed, an object that is not there, a right that is missing.
    #[error("{0}")]
    Failed(String),
    /// Nothing was started: the command line, the API server or the operator does not take it.
    #[error("{0}")]
    Refused(String),
    /// The API server does not answer, or the Task is gone: how it ends is not known here.
    #[error("{0}")]
    Lost(String),
    /// Nobody reads what is printed.
    #[error("nobody reads the output")]
    BrokenPipe,
    /// The output cannot be written.
    #[error("writing the output: {0}")]
    Output(std::io::Error),
}

impl Failure {
    /// What the program ends with: docs/kubectl.md has the table.
    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Self::Failed(_) | Self::Output(_) => ExitCode::FAILURE,
            Self::Refused(_) => ExitCode::from(2),
            Self::Lost(_) => ExitCode::from(3),
            Self::BrokenPipe => ExitCode::from(BROKEN_PIPE),
        }
    }

    /// The same words, where they mean that nothing was started.
    pub(crate) fn before_the_start(self) -> Self {
        match self {
            Self::Failed(words) => Self::Refused(words),
            other => other,
        }
    }

    /// The same, where a Task was made: what keeps one from waiting for it does not end it.
    pub(crate) fn after_the_start(self) -> Self {
        match self {
            Self::Failed(words) => {
                Self::Lost(format!("{words}; the Task goes on, and how it ends is not known here"))
            }
            other => other,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Output(error),
        }
    }
}

/// What was asked of the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Kind and place, as in `Task team/fix`.
    pub(crate) what: String,
    /// What helps who does not find it.
    pub(crate) remedy: String,
}

impl Asked {
    /// About a Task.
    pub(crate) fn task(namespace: &str, name: &str) -> Self {
        Self {
            what: format!("Task {namespace}/{name}"),
            remedy: format!("kubectl kubeopencode get -n {namespace} lists those that there are"),
        }
    }

    /// About all objects of a kind in a namespace, or everywhere.
    pub(crate) fn all(kind: &str, namespace: Option<&str>) -> Self {
        let place =
            namespace.map_or("all namespaces".to_owned(), |namespace| format!("namespace {namespace}"));
        Self {
            what: format!("{kind} of {place}"),
            remedy: "kubectl get namespaces lists those that there are".to_owned(),
        }
    }

    /// About another object.
    pub(crate) fn object(kind: &str, namespace: &str, name: &str) -> Self {
        let what = format!("{kind} {namespace}/{name}");
        Self { what, remedy: format!("look who deleted it: kubectl get events -n {namespace}") }
    }

    /// What the API server, or the way to it, said no to.
    pub(crate) fn failed(&self, error: &kube::Error) -> Failure {
        match error {
            kube::Error::Api(status) => Failure::Failed(self.refusal(status)),
            kube::Error::SerdeError(error) => Failure::Failed(format!(
                "{} cannot be read: {error}: this program may be older than the operator, take one of its version",
                self.what
            )),
            kube::Error::Auth(error) => Failure::Failed(format!(
                "logging in failed: {}: look at the user of your kubeconfig's context",
                chain(error)
            )),
            other => Failure::Lost(format!(
                "{}: the API server does not answer: {}: look at the address with kubectl cluster-info",
                self.what,
                chain(other)
            )),
        }
    }

    /// What was read, or in words why it may not be.
    ///
    /// # Errors
    /// When nobody answers.
    pub(crate) fn seen<T>(&self, read: Result<T, kube::Error>) -> Result<Result<T, String>, Failure> {
        match read.map_err(|error| self.failed(&error)) {
            Ok(read) => Ok(Ok(read)),
            Err(Failure::Failed(words)) => Ok(Err(words)),
            Err(other) => Err(other),
        }
    }

    fn refusal(&self, status: &Status) -> String {
        let Self { what, remedy } = self;
        let message = status.message.trim();
        match status.code {
            401 => format!(
                "{what}: the API server does not know you ({message}): log in again, and look at the user of your kubeconfig's context"
            ),
            403 if message.contains(" cannot ") => {
                format!("{what}: you lack a right: {message}: ask who administers the namespace for it")
            }
            404 if status.details.as_ref().is_none_or(|details| details.name.is_empty()) => format!(
                "{what}: the cluster does not have this kind ({message}): install KubeOpenCode, or choose another cluster with --context"
            ),
            404 => format!("{what} not found: {remedy}"),
            _ => format!("{what}: {message}"),
        }
    }
}

/// Whether trying again may help.
pub(crate) fn may_pass(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => !matches!(status.code, 400..=409 | 411..=428),
        kube::Error::Auth(_) | kube::Error::SerdeError(_) => false,
        _ => true,
    }
}

/// Whether what was asked for may have been done, though nobody said so: the API server did not answer, what stands before it
/// answered, or the answer cannot be read.
pub(crate) fn may_be_done(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code >= 500,
        kube::Error::Auth(_) => false,
        _ => true,
    }
}

/// An error with what caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !words.contains(&said) {
            words = format!("{words}: {said}");
        }
        cause = next.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, message: &str, name: &str) -> String {
        let status = serde_json::json!({"code": code, "message": message, "details": {"name": name}});
        let error = kube::Error::Api(serde_json::from_value(status).unwrap());
        Asked::task("team", "fix").failed(&error).to_string()
    }

    #[test]
    fn a_refusal_names_the_object_and_the_remedy() {
        let forbidden = "tasks.kubeopencode.io \"fix\" is forbidden: User \"jane\" cannot get resource \"tasks\" in API group \"kubeopencode.io\" in the namespace \"team\"";
        insta::assert_snapshot!(
            [
                refused(404, "tasks.kubeopencode.io \"fix\" not found", "fix"),
                refused(404, "404 page not found\n", ""),
                refused(403, forbidden, "fix"),
                refused(403, "tasks.kubeopencode.io \"fix\" is forbidden: exceeded quota: small", "fix"),
                refused(401, "Unauthorized", ""),
                refused(
                    422,
                    "Task.kubeopencode.io \"fix\" is invalid: spec.timeout: Invalid value: \"5\"",
                    "fix"
                ),
            ]
            .join("\n")
        );
    }

    #[test]
    fn what_no_second_try_mends_is_told_at_once() {
        let of =
            |code: u16| kube::Error::Api(serde_json::from_value(serde_json::json!({"code": code})).unwrap());
        for code in [400, 401, 403, 404, 409, 422] {
            assert!(!may_pass(&of(code)), "{code}");
        }
        for code in [410, 429, 500, 503, 504] {
            assert!(may_pass(&of(code)), "{code}");
        }
    }

    #[test]
    fn what_may_have_been_done_is_not_called_refused() {
        let of =
            |code: u16| kube::Error::Api(serde_json::from_value(serde_json::json!({"code": code})).unwrap());
        for code in [400, 401, 403, 404, 409, 422, 429] {
            assert!(!may_be_done(&of(code)), "{code}");
        }
        for code in [500, 502, 503, 504] {
            assert!(may_be_done(&of(code)), "{code}");
        }
        let unreadable = serde_json::from_str::<Status>("made").unwrap_err();
        assert!(may_be_done(&kube::Error::SerdeError(unreadable)));
    }

    #[test]
    fn each_end_has_its_code() {
        let words = String::new;
        let code = |failure: Failure| format!("{:?}", failure.code());
        let expected = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(code(Failure::Failed(words())), expected(1));
        assert_eq!(code(Failure::Refused(words())), expected(2));
        assert_eq!(code(Failure::Lost(words())), expected(3));
        assert_eq!(code(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()), expected(141));
    }
}
