//! One watch on an API server in memory, in virtual time.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::Body as AnswerBody;
use futures::{FutureExt, stream};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tower::BoxError;

use super::*;
use crate::runtime::test_client::answered_by;

const KINDS: [&str; 2] = ["Task", "Pod"];

/// How the API server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    /// No Pods; a watch shows nothing and ends after 290 s.
    Nothing,
    Forbidden,
    /// Of a list of three objects the last is none, and its end does not come.
    Unreadable,
    Never,
}

fn event(what: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": what, "object": object}))
}

/// The bookmark behind the last object of a list that comes as a watch.
fn end_of_list() -> String {
    let metadata = json!({"resourceVersion": "7", "annotations": {"k8s.io/initial-events-end": "true"}});
    event("BOOKMARK", &json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata}))
}

struct Server {
    answers: Mutex<Answers>,
    /// A part of the paths that are forbidden all the same.
    forbidden: Mutex<Option<&'static str>>,
    requests: AtomicU32,
}

impl Server {
    fn new(answers: Answers) -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::new(answers),
            forbidden: Mutex::default(),
            requests: AtomicU32::default(),
        })
    }

    fn client(self: &Arc<Self>) -> Client {
        let server = Arc::clone(self);
        answered_by(move |request| {
            let is_watch = resumes_watch(request.uri());
            let forbidden = server.forbidden.lock().is_some_and(|part| request.uri().path().contains(part));
            let answers = if forbidden { Answers::Forbidden } else { *server.answers.lock() };
            server.requests.fetch_add(1, Ordering::Relaxed);
            let (code, body) = match answers {
                Answers::Nothing => {
                    let first = if is_watch { String::new() } else { end_of_list() };
                    let quiet = tokio::time::sleep(Duration::from_secs(290)).map(|()| String::new());
                    let lines = stream::once(std::future::ready(first)).chain(stream::once(quiet));
                    (200, AnswerBody::from_stream(lines.map(Ok::<_, BoxError>)))
                }
                Answers::Unreadable => {
                    let pod = |name| json!({"metadata": {"name": name, "resourceVersion": "6"}});
                    let lines = [pod("a"), pod("b"), json!("a secret prompt")];
                    (200, lines.map(|object| event("ADDED", &object)).concat().into())
                }
                Answers::Forbidden => {
                    let words = "pods is forbidden: User \"operator\" cannot list resource \"pods\"";
                    let status = json!({
                        "kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": words,
                    });
                    (403, status.to_string().into())
                }
                Answers::Never => (0, AnswerBody::empty()),
            };
            async move {
                if code == 0 {
                    return std::future::pending().await;
                }
                (code, body)
            }
        })
    }

    fn answers(&self, answers: Answers) {
        *self.answers.lock() = answers;
    }
}

/// Watches Pods; whoever leads watches nothing else here.
fn leads(server: &Arc<Server>) -> (Health, Leading, impl Future<Output = ()>) {
    let health = Health::new(Arc::default(), &[]);
    let leading = health.leads(&KINDS, &["Batch"]);
    *health.state.lock() = State::Leading(vec![Watch::new("Pod", Instant::now())]);
    let events = health.watch::<Pod>("Pod", &server.client(), watcher::Config::default());
    (health, leading, events.for_each(|_| std::future::ready(())))
}

async fn pass(seconds: u64, watching: &mut (impl Future<Output = ()> + Unpin)) {
    let time = tokio::time::sleep(Duration::from_secs(seconds));
    tokio::select! { () = time => {}, () = watching => panic!("the watch ended") }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_lives_on() {
    let server = Server::new(Answers::Nothing);
    let (health, _leading, watching) = leads(&server);
    let mut watching = Box::pin(watching);
    assert!(health.unready().is_some());
    for _ in 0..60 {
        pass(60, &mut watching).await;
        assert_eq!((health.unready(), health.dead()), (None, None));
    }
    let last = health.metrics.text();
    let last = last.lines().find(|line| line.contains("kind=\"Pod\"")).unwrap();
    assert!(!last.ends_with(" 0"), "{last}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_refused_is_asked_for_seldom_and_named_until_it_works() {
    let server = Server::new(Answers::Forbidden);
    let (health, _leading, watching) = leads(&server);
    let mut watching = Box::pin(watching);
    pass(599, &mut watching).await;
    let why = "watch: 403 Forbidden: pods is forbidden: User \"operator\" cannot list resource \"pods\"";
    assert_eq!(health.unready().unwrap(), format!("the first list of Pods is not complete: {why}"));
    assert_eq!(health.dead(), None, "it may be a passing trouble");
    let requests = server.requests.load(Ordering::Relaxed);
    assert!((10..40).contains(&requests), "{requests} requests in ten minutes");
    pass(3, &mut watching).await;
    assert_eq!(health.dead().unwrap(), format!("the watch of Pods has shown nothing for 602 s: {why}"));
    server.answers(Answers::Nothing);
    pass(61, &mut watching).await;
    assert_eq!((health.unready(), health.dead()), (None, None));
}

#[tokio::test(start_paused = true)]
async fn what_is_always_watched_counts_in_a_stand_by_too_once_it_has_worked() {
    let server = Server::new(Answers::Forbidden);
    let health = Health::new(Arc::default(), &[]);
    health.always_watches(&["Pod"]);
    health.stands_by();
    let events = health.watch_in::<Pod>("default", "Pod", &server.client(), watcher::Config::default());
    let mut watching = Box::pin(events.for_each(|_| std::future::ready(())));
    pass(700, &mut watching).await;
    assert_eq!((health.unready(), health.dead()), (None, None), "a restart would not mend that");
    server.answers(Answers::Nothing);
    pass(61, &mut watching).await;
    server.answers(Answers::Forbidden);
    pass(1000, &mut watching).await;
    let dead = health.dead().unwrap();
    assert!(dead.starts_with("the watch of Pods has shown nothing for "), "{dead}");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_be_read_to_its_end_is_no_good_sign_and_is_not_quoted() {
    let server = Server::new(Answers::Unreadable);
    let (health, _leading, watching) = leads(&server);
    pass(601, &mut Box::pin(watching)).await;
    let dead = health.dead().unwrap();
    assert!(dead.ends_with("watch: an event cannot be read"), "{dead}");
    assert!(!dead.contains("secret"), "{dead}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_nobody_answers_is_dead_after_ten_minutes() {
    let server = Server::new(Answers::Nothing);
    let (health, _leading, watching) = leads(&server);
    let mut watching = Box::pin(watching);
    pass(10, &mut watching).await;
    server.answers(Answers::Never);
    pass(585, &mut watching).await;
    assert_eq!((health.unready(), health.dead()), (None, None));
    pass(10, &mut watching).await;
    assert_eq!(health.dead().unwrap(), "the watch of Pods has shown nothing for 605 s");
}

/// What a stream shows within some seconds, in short.
async fn shown(
    events: &mut (impl Stream<Item = Result<Event<Pod>, watcher::Error>> + Unpin),
    seconds: u64,
) -> Vec<&'static str> {
    let words = events.map(|event| match event.unwrap() {
        Event::Init => "Init",
        Event::InitApply(_) => "InitApply",
        Event::InitDone => "InitDone",
        Event::Apply(_) | Event::Delete(_) => "change",
    });
    words.take_until(tokio::time::sleep(Duration::from_secs(seconds))).collect().await
}

#[tokio::test(start_paused = true)]
async fn of_several_namespaces_the_list_is_one_and_one_that_is_refused_comes_later() {
    let server = Server::new(Answers::Nothing);
    *server.forbidden.lock() = Some("/namespaces/b/");
    let health = Health::new(Arc::default(), &["a".into(), "b".into()]);
    let _leading = health.leads(&["Pod"], &[]);
    let mut events = Box::pin(health.watch::<Pod>("Pod", &server.client(), watcher::Config::default()));
    assert_eq!(shown(&mut events, 700).await, ["Init", "InitDone"]);
    assert_eq!((health.unready(), health.dead()), (None, None), "the other one works");
    *server.forbidden.lock() = None;
    assert_eq!(shown(&mut events, 61).await, ["Init", "InitDone"]);
    *server.forbidden.lock() = Some("/namespaces/b/");
    assert_eq!(shown(&mut events, 1000).await, [""; 0]);
    assert_eq!((health.unready(), health.dead()), (None, None), "a restart would not mend that");
    *server.forbidden.lock() = Some("/namespaces/");
    assert_eq!(shown(&mut events, 1000).await, [""; 0]);
    let dead = health.dead().unwrap();
    assert!(dead.contains("the watch of Pods in namespace a") && dead.contains("in namespace b"), "{dead}");
}

#[tokio::test(start_paused = true)]
async fn whoever_stands_by_is_ready_has_no_watches_and_does_not_age() {
    let health = Health::new(Arc::default(), &[]);
    assert_eq!(health.unready().unwrap(), "the operator starts");
    health.stands_by();
    assert_eq!(health.unready(), None);
    let leading = health.leads(&KINDS, &["Batch"]);
    let unready = health.unready().unwrap();
    assert_eq!(unready.lines().count(), 2, "{unready}");
    assert!(health.metrics.text().contains("{kind=\"Task\"} 0"), "a watch that never worked has a series");
    drop(leading);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((health.unready(), health.dead()), (None, None));
    assert!(!health.metrics.text().contains("{kind="), "{}", health.metrics.text());
}

#[tokio::test(start_paused = true)]
async fn the_alert_that_nobody_leads_asks_for_what_no_stand_by_has() {
    let alerts = include_str!("../../../../../deploy/chart/files/alerts.yaml");
    let (_, no_leader) = alerts.split_once("alert: KubeOpenCodeNoLeader\n").unwrap();
    let (_, expression) = no_leader.split_once("expr: absent(").unwrap();
    let (series, _) = expression.split_once(')').unwrap();
    let health = Health::new(Arc::default(), &[]);
    health.always_watches(&["Plugin"]);
    health.stands_by();
    assert!(!health.metrics.text().contains(series), "it never fires: {series}");
    let _leading = health.leads(&KINDS, &[]);
    assert!(health.metrics.text().contains(series), "it always fires: {series}");
}
