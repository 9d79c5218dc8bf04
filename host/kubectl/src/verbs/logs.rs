//! `logs`: what the agent wrote, or its init containers while they run.
//!
//! May touch: one Pod and its log, stdout. Must not touch: which container that is, which `source` says.

mod source;

use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use kubeopencode_api::task::{Phase, Task};

use self::source::{Lines, Step};
use crate::args::{Logs, Place};
use crate::cluster::{Cluster, Contact, until};
use crate::error::{Asked, Failure};
use crate::output::{Progress, print, remark};
use crate::task::{state, status};
use crate::verbs::then;

/// Between two looks at a log that broke off.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a log that is followed may be silent until it is asked for again: agents think for minutes, and what stands between
/// here and there may have forgotten the connection without a word.
const LOG_SILENCE: Duration = Duration::from_secs(60);

/// Prints the log of a Task.
///
/// # Errors
/// When there is none, in words that say why.
pub(crate) async fn main(flags: Logs, place: &Place) -> Result<(), Failure> {
    let cluster = Cluster::connect(place).await?;
    let mut task = cluster.task(&flags.task).await?;
    if flags.follow {
        task = then::launched(&cluster, &task).await?;
    }
    let log = Log::of(&cluster, &task)?;
    if flags.follow {
        let end = then::end(&cluster, &task);
        log.follow(&flags, end).await.map(drop)
    } else {
        log.once(&flags).await
    }
}

/// Prints the log of a Task until the end of the Task. Where it cannot be read, that is said, and the end waited for.
///
/// # Errors
/// When the end is not known.
pub(crate) async fn to_the_end(cluster: &Cluster, task: &Task) -> Result<Task, Failure> {
    let task = then::launched(cluster, task).await?;
    if let Ok(log) = Log::of(cluster, &task) {
        let all = Logs { task: String::new(), follow: true, container: None, tail: None, timestamps: false };
        match log.follow(&all, then::end(cluster, &task)).await {
            Ok(Some(over)) => return Ok(over),
            Ok(None) => {}
            Err(failure @ (Failure::BrokenPipe | Failure::Output(_))) => return Err(failure),
            // the end is waited for all the same, and tells whether contact is lost
            Err(failure) => remark(&format!("the log cannot be read: {failure}")),
        }
    }
    then::over(cluster, &task).await
}

/// The Pod of a Task.
struct Log {
    pods: Api<Pod>,
    asked: Asked,
    name: String,
    uid: Option<String>,
}

impl Log {
    fn of(cluster: &Cluster, task: &Task) -> Result<Self, Failure> {
        let (of, key) = (status(task), task.key());
        let launched = task.phase() == Phase::Running || task.is_terminal();
        let (true, Some(name)) = (launched, of.pod_name) else {
            return Err(Failure::Failed(format!("Task {key} has no Pod, and no log: {}", state(task))));
        };
        let namespace = of.pod_namespace.unwrap_or(key.namespace);
        let asked = Asked {
            what: format!("Pod {namespace}/{name} of Task {}/{}", cluster.namespace, key.name),
            remedy: "its log went with it; stopPolicy: KeepPod of KubeOpenCodeConfig keeps those of Tasks that are stopped".to_owned(),
        };
        Ok(Self { pods: cluster.of(&namespace), asked, name, uid: of.pod_uid })
    }

    async fn pod(&self) -> Result<Pod, Failure> {
        let pod = self.pods.get(&self.name).await.map_err(|error| self.asked.failed(&error))?;
        if self.is_it(&pod) { Ok(pod) } else { Err(self.is_another()) }
    }

    fn is_it(&self, pod: &Pod) -> bool {
        self.uid.is_none() || pod.metadata.uid == self.uid
    }

    fn is_another(&self) -> Failure {
        Failure::Failed(format!(
            "{} is gone, and another Pod has its name: its log went with it",
            self.asked.what
        ))
    }

    fn named<'a>(&self, pod: &Pod, flags: &'a Logs) -> Result<Option<&'a str>, Failure> {
        let Some(wanted) = flags.container.as_deref() else { return Ok(None) };
        let names = source::names(pod);
        if names.contains(&wanted) {
            return Ok(Some(wanted));
        }
        let what = &self.asked.what;
        Err(Failure::Failed(format!("{what} has no container {wanted}: it has {}", names.join(", "))))
    }

    async fn once(&self, flags: &Logs) -> Result<(), Failure> {
        let pod = self.pod().await?;
        let container = match self.named(&pod, flags)? {
            Some(named) => named.to_owned(),
            None => source::now(&pod)
                .map_err(|why| Failure::Failed(format!("{} has no log: {why}", self.asked.what)))?,
        };
        let params = LogParams { tail_lines: flags.tail.map(i64::from), ..LogParams::default() };
        let mut lines = Lines::new(flags.timestamps, flags.tail.is_some());
        self.copy(&container, &mut lines, params).await.map_err(|broke| match broke {
            Broke::Open(error) => self.asked.failed(&error),
            Broke::Read(error) => self.asked.failed(&kube::Error::ReadEvents(error)),
            Broke::Output(failure) => failure,
        })
    }

    /// Container after container, until the agent's ends or the Task is over or deleted; gives the Task where it was over first.
    async fn follow(
        &self,
        flags: &Logs,
        end: impl Future<Output = Result<Option<Task>, Failure>>,
    ) -> Result<Option<Task>, Failure> {
        let pod = self.pod().await?;
        let only = self.named(&pod, flags)?;
        let mut done = if only.is_some() { Vec::new() } else { source::missed(&pod) };
        let (mut end, mut ended) = (std::pin::pin!(end), None);
        loop {
            let mut progress = Progress::new();
            let step = match ended {
                // nothing more will change: what is there is read
                Some(_) => match self.pod().await {
                    Ok(pod) => source::next(&pod, only, &done),
                    Err(_) => Step::Over,
                },
                None => {
                    let step = until(&self.pods, &self.name, &self.asked, |pod: Option<&Pod>| match pod {
                        Some(pod) if self.is_it(pod) => match source::next(pod, only, &done) {
                            Step::Wait(why) => {
                                progress.say(&why);
                                None
                            }
                            step => Some(step),
                        },
                        _ => Some(Step::Over),
                    });
                    tokio::select! {
                        step = step => step?,
                        task = &mut end => {
                            ended = Some(task?);
                            continue;
                        }
                    }
                }
            };
            progress.clear();
            let Step::Read(container) = step else { return Ok(ended.flatten()) };
            self.read(&container, flags).await?;
            done.push(container);
        }
    }

    /// A log to its end, however often the connection breaks.
    async fn read(&self, container: &str, flags: &Logs) -> Result<(), Failure> {
        let mut lines = Lines::new(flags.timestamps, flags.tail.is_some());
        let (mut contact, mut known) = (Contact::default(), Known::default());
        loop {
            let since = lines.again();
            let tail = flags.tail.map(i64::from).filter(|_| since.is_none());
            let params =
                LogParams { follow: true, tail_lines: tail, since_time: since, ..LogParams::default() };
            let before = lines.last;
            let look = self.copy(container, &mut lines, params).await;
            let (is_open, is_whole) = (!matches!(look, Err(Broke::Open(_))), look.is_ok());
            match known.next(look)? {
                Next::Over => return Ok(()),
                Next::Again => contact = Contact::default(),
                Next::Unanswered(error) => contact.failed(&self.asked, error)?,
            }
            let had_ended = match self.pods.get(&self.name).await {
                Ok(pod) if self.is_it(&pod) => source::has_ended(&pod, container),
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
                Err(error) => {
                    contact.failed(&self.asked, error)?;
                    false
                }
            };
            if before == lines.last && !(had_ended && is_whole) {
                tokio::time::sleep(PAUSE).await;
            }
            known = Known { was_open: known.was_open || is_open, was_whole: is_whole, had_ended };
        }
    }

    async fn copy(&self, container: &str, lines: &mut Lines, params: LogParams) -> Result<(), Broke> {
        let params = LogParams { container: Some(container.to_owned()), timestamps: true, ..params };
        let log = self.pods.log_stream(&self.name, &params).await.map_err(Broke::Open)?;
        let (mut log, mut line) = (std::pin::pin!(log), Vec::new());
        let patience = patience(&params);
        loop {
            if next_line(&mut log, &mut line, patience).await.map_err(Broke::Read)? == 0 {
                return Ok(());
            }
            if let Some(text) = lines.read(&line) {
                print(text).map_err(Broke::Output)?;
            }
        }
    }
}

/// How long a log may be silent. Of one that begins near its end and has said nothing yet nobody knows since when it would have to
/// be asked for again.
fn patience(params: &LogParams) -> Option<Duration> {
    (params.follow && params.tail_lines.is_none()).then_some(LOG_SILENCE)
}

/// What broke while a log was copied.
#[derive(Debug)]
enum Broke {
    /// The API server did not give it.
    Open(kube::Error),
    /// The connection, after the API server had begun to give it.
    Read(std::io::Error),
    /// What is printed goes nowhere.
    Output(Failure),
}

/// What is known of a log before it is looked at once more.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The API server gave it before.
    was_open: bool,
    /// The last look came to its end.
    was_whole: bool,
    /// When the last look was over the container had ended.
    had_ended: bool,
}

/// What follows from a look at a log.
#[derive(Debug)]
enum Next {
    /// It was read to its end.
    Over,
    /// There may be more, and the API server answers.
    Again,
    /// The API server did not give it this time.
    Unanswered(kube::Error),
}

impl Known {
    /// Who was given a part of the log is in contact, however that broke off, and has not seen its end.
    fn next(self, look: Result<(), Broke>) -> Result<Next, Failure> {
        match look {
            Ok(()) if self.had_ended => Ok(Next::Over),
            Ok(()) | Err(Broke::Read(_)) => Ok(Next::Again),
            Err(Broke::Open(_)) if self.had_ended && self.was_whole => Ok(Next::Over),
            // the Pod went after its log had ended
            Err(Broke::Open(kube::Error::Api(status))) if status.code == 404 && self.was_open => {
                Ok(Next::Over)
            }
            Err(Broke::Open(error)) => Ok(Next::Unanswered(error)),
            Err(Broke::Output(failure)) => Err(failure),
        }
    }
}

/// Reads the next line, and gives its length; 0: the log ended, or was silent for longer than one waits.
async fn next_line(
    log: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
    patience: Option<Duration>,
) -> std::io::Result<usize> {
    line.clear();
    let read = log.read_until(b'\n', line);
    match patience {
        None => read.await,
        Some(patience) => tokio::time::timeout(patience, read).await.unwrap_or(Ok(0)),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures::io::BufReader;
    use futures::{AsyncRead, AsyncReadExt};

    use super::*;

    /// A connection that nobody tells of its end.
    struct Silent;

    impl AsyncRead for Silent {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<std::io::Result<usize>> {
            Poll::Pending
        }
    }

    fn refused(code: u16) -> Broke {
        let status = serde_json::from_value(serde_json::json!({"code": code})).unwrap();
        Broke::Open(kube::Error::Api(status))
    }

    fn reset() -> Broke {
        Broke::Read(std::io::ErrorKind::ConnectionReset.into())
    }

    #[test]
    fn a_log_that_breaks_off_is_read_on_and_no_lost_contact() {
        let new = Known::default();
        let open = Known { was_open: true, ..new };
        let broken = Known { had_ended: true, ..open };
        let read = Known { was_whole: true, ..broken };
        for known in [new, open, broken, read] {
            assert!(matches!(known.next(Err(reset())), Ok(Next::Again)), "{known:?}");
        }
        assert!(matches!(open.next(Ok(())), Ok(Next::Again)));
        // the container ended while the connection was broken: what it wrote last is still to come
        assert!(matches!(broken.next(Err(refused(503))), Ok(Next::Unanswered(_))));
        assert!(matches!(broken.next(Ok(())), Ok(Next::Over)));
        assert!(matches!(read.next(Ok(())), Ok(Next::Over)));
        assert!(matches!(read.next(Err(refused(503))), Ok(Next::Over)));
    }

    #[test]
    fn the_log_of_a_pod_that_is_gone_is_over_for_whoever_had_it() {
        let new = Known::default();
        assert!(matches!(new.next(Err(refused(404))), Ok(Next::Unanswered(_))));
        assert!(matches!(Known { was_open: true, ..new }.next(Err(refused(404))), Ok(Next::Over)));
        let unread = Err(Broke::Output(Failure::BrokenPipe));
        assert!(matches!(new.next(unread), Err(Failure::BrokenPipe)));
    }

    #[test]
    fn who_waits_for_the_first_line_after_the_last_ones_loses_none() {
        let of = |follow, tail_lines| patience(&LogParams { follow, tail_lines, ..LogParams::default() });
        assert_eq!((of(true, None), of(true, Some(0)), of(false, None)), (Some(LOG_SILENCE), None, None));
    }

    #[tokio::test]
    async fn a_log_that_says_nothing_is_asked_for_again() {
        let mut log = BufReader::new((&b"one\nnot all of a li"[..]).chain(Silent));
        let (mut line, patience) = (Vec::new(), Some(Duration::from_millis(10)));
        assert_eq!(next_line(&mut log, &mut line, patience).await.unwrap(), 4);
        assert_eq!(line, b"one\n");
        assert_eq!(next_line(&mut log, &mut line, patience).await.unwrap(), 0);
    }
}
