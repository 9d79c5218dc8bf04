//! Operators that ask for one lease, on an API server in memory that answers, hangs or loses answers, in virtual time.

use std::sync::Arc;

use http::Method;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::runtime::test_client::answered_by;

/// The one lease, and how requests of each operator end.
#[derive(Default)]
struct Server {
    lease: Option<Lease>,
    version: u64,
    line: Line,
}

/// Between the operator under test and the API server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Works,
    /// Requests do not arrive, and nobody hears of it.
    Hangs,
    /// Requests are done, and nobody hears of it.
    LosesAnswers,
}

#[derive(Clone, Default)]
struct World(Arc<Mutex<Server>>);

impl World {
    /// An operator whose line goes as the test says; the others' always works.
    fn operator(&self, identity: &str, on_the_line: bool) -> Leader {
        let world = self.clone();
        let client = answered_by(move |request| {
            let world = world.clone();
            async move {
                let line = if on_the_line { world.0.lock().line } else { Line::Works };
                if line == Line::Hangs {
                    return std::future::pending().await;
                }
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let answer = world.answer(&parts.method, &body);
                if line == Line::LosesAnswers {
                    return std::future::pending().await;
                }
                answer
            }
        });
        Leader::new(client, "system", identity)
    }

    fn answer(&self, method: &Method, body: &[u8]) -> (u16, String) {
        let mut server = self.0.lock();
        let refusal = |code: u16, reason: &str| {
            (
                code,
                json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason}),
            )
        };
        let (code, answer): (u16, Value) = if method == Method::GET {
            match &server.lease {
                Some(lease) => (200, serde_json::to_value(lease).unwrap()),
                None => refusal(404, "NotFound"),
            }
        } else {
            let lease: Lease = serde_json::from_slice(body).unwrap();
            let there = server.lease.as_ref().map(|lease| lease.metadata.resource_version.clone());
            match there {
                None if method == Method::PUT => refusal(404, "NotFound"),
                Some(_) if method == Method::POST => refusal(409, "AlreadyExists"),
                Some(version) if version != lease.metadata.resource_version => refusal(409, "Conflict"),
                _ => (200, serde_json::to_value(server.store(lease)).unwrap()),
            }
        };
        (code, answer.to_string())
    }

    fn line(&self, line: Line) {
        self.0.lock().line = line;
    }

    /// Somebody changes the lease as it is.
    fn change(&self, change: impl FnOnce(&mut Lease)) {
        let mut server = self.0.lock();
        let mut lease = server.lease.clone().unwrap();
        change(&mut lease);
        server.store(lease);
    }

    fn holder(&self) -> Option<String> {
        self.0.lock().lease.as_ref()?.spec.as_ref()?.holder_identity.clone()
    }
}

impl Server {
    fn store(&mut self, mut lease: Lease) -> &Lease {
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease.insert(lease)
    }
}

fn label(lease: &mut Lease) {
    lease.metadata.labels.get_or_insert_default().insert("team".into(), "platform".into());
}

fn held_by(holder: &str, renewed: Timestamp) -> Lease {
    Lease { spec: Some(taken(LeaseSpec::default(), holder, renewed)), ..Lease::default() }
}

/// Advances the clock until nothing happens any more at this moment.
async fn pass(seconds: f64) {
    sleep(Duration::from_secs_f64(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn the_holder_gives_up_before_another_begins_whatever_hangs() {
    for line in [Line::Hangs, Line::LosesAnswers] {
        // the line breaks at any moment between two renewals, and while one is on its way
        for tenths in 0..50 {
            let world = World::default();
            let (first, second) = (world.operator("first", true), world.operator("second", false));
            let mut held = first.acquire().await;
            let shutdown = CancellationToken::new();
            let works = async { (first.keep(&mut held, &shutdown).await, Instant::now()) };
            let waits = async { (second.acquire().await, Instant::now()) };
            let breaks = async {
                pass(f64::from(tenths) / 10.0).await;
                world.line(line);
            };
            let ((lost, gave_up), (_, began), ()) = futures::join!(works, waits, breaks);
            assert!(gave_up < began, "{line:?} after {tenths} tenths: {:?} too late", gave_up - began);
            assert_eq!(lost, Lost::NotRenewed, "{line:?} after {tenths} tenths");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_silence_costs_nobody_the_lease() {
    let world = World::default();
    let (first, second) = (world.operator("first", true), world.operator("second", false));
    let mut held = first.acquire().await;
    let shutdown = CancellationToken::new();
    let silences = async {
        for _ in 0..20 {
            pass(3.0).await;
            world.line(Line::Hangs);
            pass(4.0).await;
            world.line(Line::Works);
            pass(5.0).await;
        }
    };
    tokio::select! {
        () = silences => {}
        lost = first.keep(&mut held, &shutdown) => panic!("{lost:?}"),
        _ = second.acquire() => panic!("two lead"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_holder_is_waited_for_as_long_whatever_its_clock_said() {
    for ahead in [-3600, 0, 3600] {
        let world = World::default();
        let renewed = Timestamp::now() + jiff::SignedDuration::from_secs(ahead);
        world.0.lock().store(held_by("gone", renewed));
        let start = Instant::now();
        world.operator("second", false).acquire().await;
        assert_eq!(start.elapsed().as_secs(), 15, "{ahead} s ahead");
        assert_eq!(world.holder().as_deref(), Some("second"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_label_is_neither_a_loss_for_the_holder_nor_a_renewal_of_a_dead_one() {
    let world = World::default();
    let first = world.operator("first", true);
    let mut held = first.acquire().await;
    let shutdown = CancellationToken::new();
    let labels = async {
        for n in 0..100 {
            pass(0.7).await;
            world.change(|lease| {
                label(lease);
                lease.metadata.generation = Some(n);
            });
        }
    };
    let kept = tokio::select! {
        () = labels => true,
        _ = first.keep(&mut held, &shutdown) => false,
    };
    assert!(kept, "it is still its own");
    let start = Instant::now();
    let labels = async {
        loop {
            pass(0.7).await;
            world.change(label);
        }
    };
    let second = world.operator("second", false);
    tokio::select! {
        () = labels => {}
        _ = second.acquire() => {}
    }
    assert!(start.elapsed() < Duration::from_secs(18), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_deletes_stays_with_its_holder() {
    let world = World::default();
    let (first, second) = (world.operator("first", true), world.operator("second", false));
    let mut held = first.acquire().await;
    let shutdown = CancellationToken::new();
    let deletes = async {
        for _ in 0..20 {
            pass(3.3).await;
            world.0.lock().lease = None;
        }
    };
    tokio::select! {
        () = deletes => {}
        lost = first.keep(&mut held, &shutdown) => panic!("{lost:?}"),
        _ = second.acquire() => panic!("two lead"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_holder_says_who_took_the_lease_from_it() {
    for (holder, expected) in
        [("second", Lost::ToAnother("second".into())), (UNINSTALLER, Lost::Uninstalling)]
    {
        let world = World::default();
        let first = world.operator("first", false);
        let mut held = first.acquire().await;
        world.change(|lease| lease.spec = held_by(holder, Timestamp::now()).spec);
        assert_eq!(first.keep(&mut held, &CancellationToken::new()).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_released_at_once_also_where_somebody_labelled_it() {
    let world = World::default();
    let (first, second) = (world.operator("first", true), world.operator("second", false));
    let held = first.acquire().await;
    world.change(label);
    first.release(held).await;
    assert_eq!(world.holder(), None);
    let start = Instant::now();
    let held = second.acquire().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    first.release(held).await;
    assert_eq!(world.holder().as_deref(), Some("second"), "it is another's");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_an_api_server_that_does_not_answer() {
    let world = World::default();
    let first = world.operator("first", true);
    let held = first.acquire().await;
    world.line(Line::Hangs);
    let start = Instant::now();
    first.release(held).await;
    assert_eq!(start.elapsed(), ANSWER_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_the_lease_is_held_and_not_renewed() {
    let world = World::default();
    let first = world.operator("first", false);
    let mut held = first.acquire().await;
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let version = world.0.lock().version;
    assert_eq!(first.keep(&mut held, &shutdown).await, Lost::NotRenewed);
    assert_eq!(held.sent.elapsed(), RENEW_DEADLINE);
    assert_eq!(world.0.lock().version, version);
}
