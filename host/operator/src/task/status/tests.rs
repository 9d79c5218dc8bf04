//! What a Task's status says after each thing that happens to it.

use super::*;
use crate::cache::item::Item;
use crate::frontend::{Frontend, KubeOpenCode};
use kubeopencode_api::report::Usage;
use kubeopencode_api::task::{Task, TaskResult};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn seen(task: &Item<Task>) -> TaskRef<'_> {
    KubeOpenCode::task_ref(task).unwrap()
}

fn task(status: Option<TaskStatus>) -> Item<Task> {
    let mut task = Task { status, ..Task::default() };
    task.metadata.resource_version = Some("7".into());
    task.metadata.generation = Some(1);
    task.into()
}

fn agent() -> Runner {
    Runner::Agent(AgentKey::new("team", "default"))
}

fn launched(status: Option<TaskStatus>, limited: bool) -> TaskStatus {
    launched_with(status, limited, &[])
}

fn launched_with(status: Option<TaskStatus>, limited: bool, notices: &[(Reason, String)]) -> TaskStatus {
    let pod = ObjectKey::new("team", "fix-pod");
    let launch =
        LaunchRecord { pod: &pod, pod_uid: "a", runner: &agent(), limited, plugins: vec![], notices };
    StatusBuilder::of(seen(&task(status)), at(10)).launched(&launch)
}

fn condition(status: &TaskStatus, type_: TaskCondition) -> (String, String, String) {
    let c = find(&status.conditions, type_).unwrap();
    (c.status.clone(), c.reason.clone(), c.message.clone())
}

#[test]
fn a_queued_task_says_for_what_it_waits_and_then_that_its_turn_came() {
    let blocked = Blocked {
        reason: Reason::AgentAtCapacity,
        message: "Waiting for agent \"default\" capacity (max: 1)".into(),
    };
    let queued = StatusBuilder::of(seen(&task(None)), at(0)).queued(&blocked, Some(4));
    assert_eq!((queued.phase, queued.queue_position), (Some(Phase::Queued), Some(4)));
    assert_eq!(queued.reason.as_deref(), Some("AgentAtCapacity"));
    let running = launched(Some(queued), true);
    assert_eq!((running.phase, running.queue_position), (Some(Phase::Running), None));
    let expected =
        ("False".into(), "CapacityAvailable".into(), "Agent \"default\" capacity now available".into());
    assert_eq!(condition(&running, TaskCondition::Queued), expected);
    let queued = StatusBuilder::of(seen(&task(None)), at(0)).queued(&blocked, Some(4));
    for (before, limited) in [(Some(queued), false), (None, true)] {
        assert_eq!(condition(&launched(before, limited), TaskCondition::Queued).1, "CapacityAvailable");
    }
}

#[test]
fn each_phase_has_its_event() {
    let told = |phase, reason: Reason| {
        let status = TaskStatus {
            phase: Some(phase),
            reason: Some(reason.to_string()),
            message: Some("why".into()),
            ..TaskStatus::default()
        };
        event(&status).map(|note| (note.type_, note.reason, note.note))
    };
    let normal = |word, note: &str| Some((EventType::Normal, word, note.to_owned()));
    let warning = |word, note: &str| Some((EventType::Warning, word, note.to_owned()));
    for (phase, reason, expected) in [
        (Phase::Pending, Reason::WaitingForDependency, None),
        (Phase::Queued, Reason::AgentAtCapacity, normal("Queued", "why")),
        (Phase::Queued, Reason::QuotaExceeded, normal("QuotaExceeded", "why")),
        (Phase::Running, Reason::PodLaunched, normal("PodCreated", "why")),
        (Phase::Completed, Reason::Completed, normal("Completed", "why")),
        (Phase::Completed, Reason::UserStopped, normal("Stopped", "why")),
        (Phase::Failed, Reason::Timeout, warning("Timeout", "why")),
        (Phase::Failed, Reason::PluginError, warning("PluginFailed", "why")),
        (Phase::Failed, Reason::PodCreationError, warning("PodCreationFailed", "why")),
        (Phase::Failed, Reason::PodFailed, warning("Failed", "PodFailed: why")),
    ] {
        assert_eq!(told(phase, reason), expected, "{phase:?} {reason}");
    }
}

#[test]
fn a_duration_is_written_as_in_go() {
    for (seconds, text) in [
        (-5, "0s"),
        (0, "0s"),
        (59, "59s"),
        (60, "1m0s"),
        (3599, "59m59s"),
        (3600, "1h0m0s"),
        (93_784, "26h3m4s"),
    ] {
        assert_eq!(duration_text(SignedDuration::from_secs(seconds)), text);
    }
}

#[test]
fn a_queued_task_that_then_waits_for_something_else_says_so() {
    let blocked = Blocked { reason: Reason::AgentAtCapacity, message: "capacity".into() };
    let queued = || task(Some(StatusBuilder::of(seen(&task(None)), at(0)).queued(&blocked, Some(1))));
    for status in [
        StatusBuilder::of(seen(&queued()), at(1)).waiting("ConfigMap c not found"),
        StatusBuilder::of(seen(&queued()), at(1)).held_up(Reason::PodCreationError, "ConfigMap c not found"),
    ] {
        assert_eq!(status.message.as_deref(), Some("ConfigMap c not found"), "{status:?}");
        assert_eq!((status.phase, status.queue_position), (Some(Phase::Queued), None), "it never goes back");
    }
}

#[test]
fn a_task_that_waits_on_says_nothing_new() {
    let waits = |before: Option<TaskStatus>, second| {
        StatusBuilder::of(seen(&task(before)), at(second)).waiting("ConfigMap c not found")
    };
    let first = waits(None, 0);
    assert_eq!(waits(Some(first.clone()), 9), first, "the same again is no write");
}

#[test]
fn a_task_that_is_held_up_no_more_says_so_and_each_reason_has_its_own_time() {
    let held_up = |before: Option<TaskStatus>, second, reason| {
        StatusBuilder::of(seen(&task(before)), at(second)).held_up(reason, "why")
    };
    let since =
        |status: &TaskStatus| find(&status.conditions, TaskCondition::Ready).unwrap().last_transition_time.0;
    let troubled = held_up(None, 0, Reason::WaitingForDependency);
    assert_eq!((troubled.phase, since(&troubled)), (Some(Phase::Pending), at(0)));
    let refused = held_up(Some(troubled), 90, Reason::PodCreationError);
    assert_eq!(since(&refused), at(90), "its minute begins now");
    let refused = held_up(Some(refused), 95, Reason::PodCreationError);
    assert_eq!(since(&refused), at(90));
    let awaits = |before: TaskStatus, second| {
        let words = format!("500 : failed calling webhook{AWAITS_WEBHOOK}");
        StatusBuilder::of(seen(&task(Some(before))), at(second)).held_up(Reason::PodCreationError, &words)
    };
    let outage = awaits(awaits(refused, 120), 900);
    assert_eq!(since(&outage), at(120), "a webhook that does not answer is no refusal");
    let refused = held_up(Some(outage), 1000, Reason::PodCreationError);
    assert_eq!(since(&refused), at(1000), "its minute begins when the webhook answers");
    let blocked = Blocked { reason: Reason::AgentAtCapacity, message: "capacity".into() };
    let before = task(Some(refused));
    for (status, words) in [
        (StatusBuilder::of(seen(&before), at(1010)).queued(&blocked, None), "capacity"),
        (
            StatusBuilder::of(seen(&before), at(1010)).waiting("ConfigMap c not found"),
            "ConfigMap c not found",
        ),
    ] {
        assert_eq!(status.message.as_deref(), Some(words), "{status:?}");
    }
}

#[test]
fn a_status_that_has_to_fit_keeps_what_is_relied_on() {
    let long = "x".repeat(4096);
    let mut over = StatusBuilder::of(seen(&task(Some(launched(None, false)))), at(100))
        .ended(&TaskOutcome::failed(Reason::PodFailed, long));
    over.plugins = vec![UsedPlugin::default(); 64];
    (over.result, over.usage) = (Some(TaskResult::default()), Some(Usage::default()));
    let short = shortened(&over);
    assert!(short.result.is_none() && short.usage.is_none(), "{short:?}");
    assert_eq!((short.phase, &short.pod_uid), (Some(Phase::Failed), &over.pod_uid));
    assert_eq!(short.reason.as_deref(), Some("PodFailed"));
    let bytes = |status: &TaskStatus| serde_json::to_vec(status).unwrap().len();
    assert!(bytes(&short) < 2048 && bytes(&short) < bytes(&launched(None, false)) + 512, "{short:?}");
}

#[test]
fn an_unlimited_agent_says_so() {
    let expected =
        ("False".into(), "NoLimits".into(), "Agent \"default\" has no capacity or quota limits".into());
    assert_eq!(condition(&launched(None, false), TaskCondition::Queued), expected);
}

#[test]
fn the_end_has_a_time_a_duration_and_the_reason_of_its_pod() {
    let over = StatusBuilder::of(seen(&task(Some(launched(None, false)))), at(100))
        .ended(&TaskOutcome::failed(Reason::OOMKilled, "out of memory"));
    assert_eq!(
        (over.phase, over.reason.as_deref(), over.message.as_deref()),
        (Some(Phase::Failed), Some("OOMKilled"), Some("out of memory"))
    );
    assert_eq!(over.duration.as_deref(), Some("1m30s"));
}

#[test]
fn a_stopped_task_is_completed_and_says_by_whom() {
    let over = StatusBuilder::of(seen(&task(None)), at(0)).stopped("kubeopencode.io/stop");
    assert_eq!((over.phase, over.reason.as_deref()), (Some(Phase::Completed), Some("UserStopped")));
    assert_eq!(over.message.as_deref(), Some("Task stopped by user via kubeopencode.io/stop annotation"));
}

#[test]
fn what_is_no_longer_true_is_cleared_by_the_patch() {
    let blocked = Blocked { reason: Reason::AgentAtCapacity, message: String::new() };
    let before = task(Some(StatusBuilder::of(seen(&task(None)), at(0)).queued(&blocked, Some(1))));
    let patch = patch(seen(&before), &launched(before.get().unwrap().status.clone(), true)).unwrap();
    assert_eq!(patch["metadata"]["resourceVersion"], "7");
    assert_eq!(patch["status"]["queuePosition"], Value::Null);
    assert_eq!(patch["status"]["podUID"], "a");
}

#[test]
fn a_pod_that_gets_on_again_takes_the_problem_back() {
    let problem = StartProblem { reason: Reason::ImagePullFailed, message: "no such image".into() };
    let stuck =
        StatusBuilder::of(seen(&task(Some(launched(None, false)))), at(20)).in_progress(Some(&problem), &[]);
    assert_eq!((stuck.phase, stuck.reason.as_deref()), (Some(Phase::Running), Some("ImagePullFailed")));
    let well = StatusBuilder::of(seen(&task(Some(stuck))), at(30)).in_progress(None, &[]);
    assert_eq!(well.reason.as_deref(), Some("PodLaunched"));
}

#[test]
fn a_start_is_unknown_until_the_agent_runs_and_its_time_stays() {
    let is = |status: &TaskStatus| condition(status, TaskCondition::Started).0;
    let first = launched(None, false);
    assert_eq!((is(&first).as_str(), first.agent_started.is_none()), ("Unknown", true));
    let problem = StartProblem { reason: Reason::ImagePullFailed, message: "no such image".into() };
    let stuck = StatusBuilder::of(seen(&task(Some(first))), at(20)).in_progress(Some(&problem), &[]);
    let well = StatusBuilder::of(seen(&task(Some(stuck))), at(30)).in_progress(None, &[]);
    assert_eq!(is(&well), "Unknown");
    let runs = StatusBuilder::of(seen(&task(Some(well))), at(40)).agent_started(Some(at(39)));
    let runs = runs.in_progress(None, &[]);
    assert_eq!((is(&runs).as_str(), &runs.agent_started), ("True", &Some(Time(at(39)))));
    let over = StatusBuilder::of(seen(&task(Some(runs))), at(50))
        .agent_started(Some(at(50)))
        .stopped("kubeopencode.io/stop");
    assert_eq!((is(&over).as_str(), over.agent_started), ("True", Some(Time(at(39)))));
}

#[test]
fn at_the_end_every_condition_is_true_to_it() {
    let blocked = Blocked { reason: Reason::AgentAtCapacity, message: "capacity".into() };
    let queued = StatusBuilder::of(seen(&task(None)), at(0)).queued(&blocked, Some(1));
    let waiting = StatusBuilder::of(seen(&task(None)), at(0)).waiting("ConfigMap c not found");
    let refusal = |condition, reason| Refusal { condition, reason, message: "why".into() };
    let no_context = refusal(TaskCondition::Contexts, Reason::ContextError);
    let no_agent = refusal(TaskCondition::Accepted, Reason::AgentError);
    let of = |status: TaskStatus| task(Some(status));
    let end = |item: &Item<Task>| StatusBuilder::of(seen(item), at(100));
    let timeout = TaskOutcome::failed(Reason::StartTimeout, "why");
    for (over, reason, expected) in [
        (
            end(&of(queued.clone())).stopped("kubeopencode.io/stop"),
            "UserStopped",
            vec![("Accepted", "True"), ("Queued", "False")],
        ),
        (
            end(&of(waiting.clone())).stopped("kubeopencode.io/stop"),
            "UserStopped",
            vec![("Accepted", "False")],
        ),
        (
            end(&of(waiting)).refused(&no_context),
            "ContextError",
            vec![("Accepted", "False"), ("Contexts", "False"), ("Ready", "False")],
        ),
        (
            end(&of(queued)).refused(&no_agent),
            "AgentError",
            vec![("Accepted", "False"), ("Queued", "False"), ("Ready", "False")],
        ),
        (
            end(&of(launched(None, false))).ended(&timeout),
            "StartTimeout",
            vec![("Ready", "True"), ("Started", "False"), ("Succeeded", "False")],
        ),
    ] {
        let find = |type_: &str| over.conditions.iter().find(|c| c.type_ == type_).unwrap();
        for (type_, is) in expected {
            assert_eq!(find(type_).status, is, "{type_} at {reason}");
            assert!(is == "True" || find(type_).reason == reason, "{:?}", find(type_));
        }
        assert!(over.conditions.iter().all(|c| c.status != "Unknown"), "{over:?}");
        let finished = find("Finished");
        assert_eq!((finished.status.as_str(), finished.reason.as_str()), ("True", reason));
        assert_eq!((Some(&finished.message), over.reason.as_deref()), (over.message.as_ref(), Some(reason)));
    }
}

#[test]
fn what_was_left_out_is_added_once_to_what_the_condition_says() {
    let skipped = ["init container \"git-init-0\" left out".to_owned()];
    let running =
        StatusBuilder::of(seen(&task(Some(launched(None, false)))), at(20)).in_progress(None, &skipped);
    let again = StatusBuilder::of(seen(&task(Some(running.clone()))), at(30)).in_progress(None, &skipped);
    let expected = ("True".into(), "OptionalSkipped".into(), skipped[0].clone());
    assert_eq!(condition(&running, TaskCondition::Contexts), expected);
    assert_eq!(condition(&running, TaskCondition::Ready).2, "Pod \"team/fix-pod\" has been launched");
    assert_eq!(again, running);
}

#[test]
fn every_notice_stays_and_a_warning_hides_no_reason() {
    let warning = (Reason::Resolved, "the repository is read without TLS".to_owned());
    let notices = [warning.clone(), (Reason::OptionalSkipped, "spec.contexts[1]: gone".to_owned())];
    let both = launched_with(None, false, &notices);
    let words = "the repository is read without TLS; spec.contexts[1]: gone";
    assert_eq!(
        condition(&both, TaskCondition::Contexts),
        ("True".into(), "OptionalSkipped".into(), words.into())
    );
    // what an init container leaves out later is added
    let later = ["init container \"git-init-0\" left out".to_owned()];
    let warned = launched_with(None, false, &[warning]);
    let added = StatusBuilder::of(seen(&task(Some(warned))), at(20)).in_progress(None, &later);
    let words = "the repository is read without TLS; init container \"git-init-0\" left out";
    assert_eq!(
        condition(&added, TaskCondition::Contexts),
        ("True".into(), "OptionalSkipped".into(), words.into())
    );
}
