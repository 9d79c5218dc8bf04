//! What a Plugin says of itself: conditions, and what serves. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kubeopencode_api::condition::{ConditionStatus, Conditions, PluginCondition, Reason, find};
use kubeopencode_api::plugin::Kind;
use kubeopencode_api::plugin_object::{PluginStatus, ServedDigest, ServedType};
use kubeopencode_evaluate::Pause;
use kubeopencode_plugin_host::LoadError;
use serde_json::{Value, json};

/// Components that `history` names.
const HISTORY: usize = 5;
/// Bytes of a schema that the status holds: a Plugin with 16 types stays far below what etcd takes.
const MAX_SCHEMA: usize = 16 << 10;

/// Why a component does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Where on its way it stopped.
    pub(super) stage: PluginCondition,
    pub(super) reason: Reason,
    pub(super) message: String,
    /// Another try may do better, without a change of anything.
    pub(super) may_pass: bool,
}

impl Problem {
    fn at(stage: PluginCondition, reason: Reason, message: impl Into<String>) -> Self {
        Self { stage, reason, message: message.into(), may_pass: false }
    }

    /// The bytes are not there.
    pub(super) fn fetched(reason: Reason, message: impl Into<String>) -> Self {
        Self::at(PluginCondition::Fetched, reason, message)
    }

    /// They are not those that are meant.
    pub(super) fn verified(reason: Reason, message: impl Into<String>) -> Self {
        Self::at(PluginCondition::Verified, reason, message)
    }

    /// They are no plugin.
    pub(super) fn compiled(reason: Reason, message: impl Into<String>) -> Self {
        Self::at(PluginCondition::Compiled, reason, message)
    }

    /// Somebody else has its name.
    pub(super) fn name_taken(message: impl Into<String>) -> Self {
        Self::at(PluginCondition::Ready, Reason::NameTaken, message)
    }

    /// The same where the component before it serves on.
    pub(super) fn beside(self, serves: bool) -> Self {
        match self.stage {
            PluginCondition::Ready if serves => Self { stage: PluginCondition::Compiled, ..self },
            _ => self,
        }
    }

    /// The same while it is not known, for another reason, what serves.
    pub(super) fn unsettled(&self, why: &Self) -> Self {
        let message = format!("{}; the new one does not serve: {}", why.message, self.message);
        Self { message, ..why.clone() }
    }

    /// It may pass by itself.
    pub(super) fn passing(self) -> Self {
        Self { may_pass: true, ..self }
    }
}

impl From<&LoadError> for Problem {
    fn from(error: &LoadError) -> Self {
        let reason = match error {
            LoadError::TooLarge { .. } => return Self::fetched(Reason::TooLarge, error.to_string()),
            LoadError::Host(_) => Reason::Loading,
            LoadError::TooExpensive { .. } => Reason::TooExpensive,
            LoadError::WrongWorld { .. }
            | LoadError::Imports(_)
            | LoadError::OtherWasi(_)
            | LoadError::OtherInterface { .. } => Reason::WrongWorld,
            LoadError::NewerInterface(_) | LoadError::MissingFeature(_) => Reason::NeedsNewerHost,
            LoadError::Describe(_) | LoadError::Descriptor(_) => Reason::BadDescriptor,
            LoadError::Schema(_) | LoadError::SettingsSchema(_) => Reason::BadSchema,
            LoadError::Empty
            | LoadError::Precompiled
            | LoadError::CoreModule
            | LoadError::NotWasm
            | LoadError::Invalid(_) => Reason::Invalid,
        };
        Self { may_pass: error.may_pass(), ..Self::compiled(reason, error.to_string()) }
    }
}

/// A component that serves.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Served {
    pub(super) kind: Kind,
    pub(super) digest: String,
    /// That of the OCI artifact that it came from.
    pub(super) image: Option<String>,
    /// That of the key that signed it, where a signature was looked at.
    pub(super) signed_by: Option<String>,
    pub(super) version: String,
    pub(super) interface: String,
    pub(super) types: Vec<ServedType>,
    pub(super) bytes: usize,
    pub(super) millis: u64,
}

impl Served {
    fn names(&self) -> String {
        let names: Vec<_> = self.types.iter().map(|type_| type_.name.as_str()).collect();
        names.join(", ")
    }

    fn words(&self) -> String {
        format!("{} {}", self.kind.as_str().replace('-', " "), self.names())
    }
}

/// A schema as the status holds it.
pub(super) fn shown_schema(schema: &Value) -> Option<Value> {
    (schema.to_string().len() <= MAX_SCHEMA).then(|| schema.clone())
}

/// What was found out about a Plugin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Findings<'a> {
    /// Digest of the component that was last seen.
    pub(super) wanted: Option<&'a str>,
    /// Why that one does not serve.
    pub(super) problem: Option<&'a Problem>,
    /// What serves.
    pub(super) serving: Option<&'a Served>,
    /// The namespaces for which that is not asked.
    pub(super) pauses: &'a [(String, Pause)],
    /// When another try is made, if without a change of anything.
    pub(super) next_try: Option<Timestamp>,
}

/// What the Plugin says then.
pub(super) fn status(
    before: &PluginStatus,
    generation: Option<i64>,
    findings: Findings<'_>,
    now: Timestamp,
) -> PluginStatus {
    let Findings { wanted, problem, serving, pauses, next_try } = findings;
    // while it is not known what comes of a change, what serves has the settings and the grants from before it
    let generation = match problem {
        Some(problem) if problem.reason == Reason::Loading && serving.is_some() => before.observed_generation,
        _ => generation,
    };
    let mut conditions = before.conditions.clone();
    conditions.retain(|condition| {
        let stage = PluginCondition::ALL.iter().find(|stage| stage.as_str() == condition.type_);
        // what it did not reach this time, it does not say
        stage.is_some_and(|stage| match stage {
            PluginCondition::Ready => true,
            PluginCondition::Healthy => serving.is_some(),
            stage => problem.is_none_or(|at| *stage <= at.stage),
        })
    });
    let mut set = Conditions::new(&mut conditions, generation, now);
    for (stage, reason, words) in [
        (PluginCondition::Fetched, Reason::Fetched, "The component is there"),
        (PluginCondition::Verified, Reason::Verified, "The component is the one that is meant"),
        (PluginCondition::Compiled, Reason::Compiled, "The component is a plugin"),
    ] {
        match problem {
            Some(problem) if problem.stage < stage => {}
            Some(problem) if problem.stage == stage => {
                let is = if problem.reason == Reason::Loading {
                    ConditionStatus::Unknown
                } else {
                    ConditionStatus::False
                };
                set.set(stage, is, problem.reason, &problem.message);
            }
            _ => set.set(stage, ConditionStatus::True, reason, words),
        }
    }
    let (is, reason, words) = ready(problem, serving);
    set.set(PluginCondition::Ready, is, reason, &words);
    if serving.is_some() {
        let (is, reason, words) = healthy(pauses);
        set.set(PluginCondition::Healthy, is, reason, &words);
    }
    conditions.sort_by_key(|condition| {
        PluginCondition::ALL.iter().position(|stage| stage.as_str() == condition.type_)
    });
    let is_loading = problem.is_some_and(|problem| problem.reason == Reason::Loading);
    let component = match serving {
        // what served before a restart: whoever dies now leaves it to the next one, who looks for it where the new one is bad
        None if is_loading => before.clone(),
        _ => of_component(before, serving),
    };
    PluginStatus {
        observed_generation: generation,
        wanted: wanted.map(str::to_owned).or_else(|| before.wanted.clone()),
        next_try: next_try.map(Time),
        history: history(before, serving, now),
        conditions,
        ..component
    }
}

/// What is said of the component that serves, and nothing else.
fn of_component(before: &PluginStatus, serving: Option<&Served>) -> PluginStatus {
    PluginStatus {
        types: serving.map(|served| served.types.clone()).unwrap_or_default(),
        type_names: serving.map(Served::names),
        digest: serving.map(|served| served.digest.clone()),
        image: serving.and_then(|served| served.image.clone()),
        signed_by: serving.and_then(|served| served.signed_by.clone()),
        version: serving.map(|served| served.version.clone()),
        interface: serving.map(|served| served.interface.clone()),
        size_bytes: serving.map(|served| i64::try_from(served.bytes).unwrap_or(i64::MAX)),
        // of the same component, the one who compiled it knows
        compile_millis: serving.map(|served| match before.compile_millis {
            Some(known) if before.digest.as_deref() == Some(&served.digest) => known,
            _ => i64::try_from(served.millis).unwrap_or(i64::MAX),
        }),
        ..PluginStatus::default()
    }
}

fn ready(problem: Option<&Problem>, serving: Option<&Served>) -> (ConditionStatus, Reason, String) {
    match (serving, problem) {
        (Some(served), None) => (ConditionStatus::True, Reason::Ready, format!("Serves {}", served.words())),
        (Some(served), Some(_)) => {
            let words = format!("Serves {} from the last good component, {}", served.words(), served.digest);
            (ConditionStatus::True, Reason::Ready, words)
        }
        (None, Some(problem)) if problem.stage == PluginCondition::Ready => {
            (ConditionStatus::False, problem.reason, problem.message.clone())
        }
        (None, Some(problem)) if problem.reason != Reason::Loading => {
            let words = format!("Nothing serves: {}", problem.message);
            (ConditionStatus::False, Reason::Nothing, words)
        }
        (None, _) => (ConditionStatus::Unknown, Reason::Loading, "The component is being loaded".to_owned()),
    }
}

/// Whether the calls of what serves come to an end.
fn healthy(pauses: &[(String, Pause)]) -> (ConditionStatus, Reason, String) {
    let words = |(namespace, pause): &(String, Pause)| format!("In namespace {namespace} {pause}");
    match pauses {
        [] => (ConditionStatus::True, Reason::Healthy, "Its calls come to an end".to_owned()),
        [only] => (ConditionStatus::False, Reason::Paused, words(only)),
        [first, others @ ..] => {
            let words = format!("{} (and {} other namespaces)", words(first), others.len());
            (ConditionStatus::False, Reason::Paused, words)
        }
    }
}

fn history(before: &PluginStatus, serving: Option<&Served>, now: Timestamp) -> Vec<ServedDigest> {
    let mut history = before.history.clone();
    if let Some(served) = serving
        && history.first().is_none_or(|newest| newest.digest != served.digest)
    {
        let digest = served.digest.clone();
        history.insert(0, ServedDigest { digest, version: Some(served.version.clone()), time: Time(now) });
        history.truncate(HISTORY);
    }
    history
}

/// The merge patch that makes one status of the other: what is no more is taken away.
///
/// # Errors
/// When it is no JSON.
pub(super) fn patch(before: &PluginStatus, after: &PluginStatus) -> Result<Value, serde_json::Error> {
    let (before, mut after) = (serde_json::to_value(before)?, serde_json::to_value(after)?);
    if let (Some(before), Some(after)) = (before.as_object(), after.as_object_mut()) {
        for key in before.keys().filter(|key| !after.contains_key(*key)).cloned().collect::<Vec<_>>() {
            after.insert(key, json!(null));
        }
    }
    Ok(after)
}

/// Why a component does not serve, if so: the first condition that is False of those on its way.
pub(super) fn first_false(status: &PluginStatus) -> Option<&Condition> {
    let healthy = PluginCondition::Healthy.as_str();
    status.conditions.iter().find(|condition| condition.status == "False" && condition.type_ != healthy)
}

/// Why what serves is not asked, if so.
pub(super) fn paused(status: &PluginStatus) -> Option<&Condition> {
    find(&status.conditions, PluginCondition::Healthy).filter(|condition| condition.status == "False")
}

/// How a Plugin stands, in the words of the metric.
pub(super) fn state(status: &PluginStatus) -> &'static str {
    let ready = find(&status.conditions, PluginCondition::Ready).map(|condition| condition.status.as_str());
    match (ready, first_false(status)) {
        (Some("True"), _) if paused(status).is_some() => "paused",
        (Some("True"), None) => "ready",
        (Some("True"), Some(_)) => "stale",
        (Some("False"), _) => "refused",
        _ => "loading",
    }
}

/// The states, each of which the metric always has.
pub(super) const STATES: [&str; 5] = ["ready", "paused", "stale", "refused", "loading"];

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::plugins) fn served(digest: &str) -> Served {
        let types = vec![ServedType { name: "Jira".into(), ..ServedType::default() }];
        let (digest, version) = (format!("sha256:{digest}"), "1".to_owned());
        Served {
            kind: Kind::ContextType,
            digest,
            image: None,
            signed_by: None,
            version,
            interface: "kubeopencode:plugin@1.1.0".to_owned(),
            types,
            bytes: 7,
            millis: 160,
        }
    }

    pub(in crate::plugins) fn after(
        before: &PluginStatus,
        problem: Option<&Problem>,
        serving: Option<&Served>,
        second: i64,
    ) -> PluginStatus {
        let wanted = serving.map(|served| served.digest.as_str());
        status(
            before,
            Some(1),
            Findings { wanted, problem, serving, pauses: &[], next_try: None },
            Timestamp::from_second(second).unwrap(),
        )
    }

    fn said(status: &PluginStatus) -> Vec<String> {
        status.conditions.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason)).collect()
    }

    /// The status of one whose component serves, with these pauses.
    pub(in crate::plugins) fn with_pauses(
        before: &PluginStatus,
        problem: Option<&Problem>,
        pauses: &[(String, Pause)],
    ) -> PluginStatus {
        let served = served("a");
        let wanted = Some(served.digest.as_str());
        let findings = Findings { wanted, problem, serving: Some(&served), pauses, next_try: None };
        status(before, Some(1), findings, Timestamp::UNIX_EPOCH)
    }

    pub(in crate::plugins) fn pause(namespace: &str, broken: u32) -> (String, Pause) {
        let until = Timestamp::from_second(10).unwrap();
        let last = "the plugin was stopped: it ran for more than 5 s".into();
        (namespace.to_owned(), Pause { until, broken, last })
    }

    #[test]
    fn one_that_serves_says_what() {
        let good = after(&PluginStatus::default(), None, Some(&served("a")), 0);
        assert_eq!(
            said(&good),
            [
                "Fetched=True Fetched",
                "Verified=True Verified",
                "Compiled=True Compiled",
                "Ready=True Ready",
                "Healthy=True Healthy"
            ]
        );
        assert_eq!((good.type_names.as_deref(), good.digest.as_deref()), (Some("Jira"), Some("sha256:a")));
        assert_eq!(good.interface.as_deref(), Some("kubeopencode:plugin@1.1.0"));
        assert_eq!(state(&good), "ready");
        let again = Served { millis: 0, ..served("a") };
        assert_eq!(after(&good, None, Some(&again), 9), good, "the same again is no write");
    }

    #[test]
    fn of_what_serves_all_is_said_and_of_a_large_schema_nothing() {
        let image = Some("sha256:artifact".to_owned());
        let signed = Served { image, signed_by: Some("sha256:key".to_owned()), ..served("a") };
        let at = Timestamp::from_second(30).unwrap();
        let serving = Some(&signed);
        let findings = Findings { wanted: None, problem: None, serving, pauses: &[], next_try: Some(at) };
        let good = status(&PluginStatus::default(), Some(1), findings, Timestamp::UNIX_EPOCH);
        assert_eq!(
            (&good.types, &good.image, &good.signed_by),
            (&signed.types, &signed.image, &signed.signed_by)
        );
        assert_eq!((good.size_bytes, good.compile_millis), (Some(7), Some(160)));
        assert_eq!(good.next_try, Some(Time(at)));
        let next = after(&good, None, Some(&Served { millis: 900, ..served("b") }), 1);
        assert_eq!(next.compile_millis, Some(900), "it is another one's time");
        let schema = |length: usize| json!({"title": "x".repeat(length)});
        assert_eq!(shown_schema(&schema(1)), Some(schema(1)));
        assert_eq!(shown_schema(&schema(MAX_SCHEMA)), None);
    }

    #[test]
    fn the_last_good_one_serves_and_the_condition_says_why_not_the_new_one() {
        let good = after(&PluginStatus::default(), None, Some(&served("a")), 0);
        let problem = Problem::compiled(Reason::Invalid, "why");
        let stale = after(&good, Some(&problem), Some(&served("a")), 1);
        assert_eq!(
            said(&stale),
            [
                "Fetched=True Fetched",
                "Verified=True Verified",
                "Compiled=False Invalid",
                "Ready=True Ready",
                "Healthy=True Healthy"
            ]
        );
        assert_eq!(state(&stale), "stale");
        let next = after(&stale, None, Some(&served("b")), 2);
        assert_eq!(
            next.history.iter().map(|h| h.digest.as_str()).collect::<Vec<_>>(),
            ["sha256:b", "sha256:a"]
        );
    }

    #[test]
    fn one_that_is_paused_says_where_and_why() {
        let good = after(&PluginStatus::default(), None, Some(&served("a")), 0);
        let paused = with_pauses(&good, None, &[pause("team", 3)]);
        assert_eq!(said(&paused)[3..], ["Ready=True Ready", "Healthy=False Paused"]);
        assert_eq!(state(&paused), "paused");
        let words = "In namespace team 3 calls in a row broke, so it is not asked before 1970-01-01T00:00:10Z; the last one: \
                     the plugin was stopped: it ran for more than 5 s";
        assert_eq!(paused.conditions[4].message, words);
        let longer = with_pauses(&paused, None, &[pause("team", 4), pause("other", 3)]);
        assert!(longer.conditions[4].message.ends_with("(and 1 other namespaces)"), "{longer:?}");
        assert_eq!(with_pauses(&longer, None, &[]), good, "it is well again");
    }

    #[test]
    fn what_served_before_a_restart_is_named_until_it_is_known_what_serves_now() {
        let good = after(&PluginStatus::default(), None, Some(&served("a")), 0);
        let loading = Problem::compiled(Reason::Loading, "The component is being loaded");
        let started = after(&good, Some(&loading), None, 1);
        assert_eq!(said(&started)[2..], ["Compiled=Unknown Loading", "Ready=Unknown Loading"]);
        assert_eq!(
            (&started.digest, &started.types, &started.type_names),
            (&good.digest, &good.types, &good.type_names)
        );
        let why = Problem::compiled(Reason::Invalid, "it is no plugin");
        let unread = Problem::fetched(Reason::Loading, "the last good one cannot be read").passing();
        let unknown = why.unsettled(&unread);
        let unsettled = after(&started, Some(&unknown), None, 2);
        assert_eq!(unsettled.digest, good.digest);
        let words = "the last good one cannot be read; the new one does not serve: it is no plugin";
        assert_eq!(unsettled.conditions[0].message, words);
        let bad = after(&unsettled, Some(&why), None, 3);
        assert_eq!((bad.digest, bad.types), (None, Vec::new()), "nothing serves");
    }

    #[test]
    fn what_was_not_reached_is_not_said_and_what_is_gone_is_taken_away() {
        let good = after(&PluginStatus::default(), None, Some(&served("a")), 0);
        let problem = Problem::fetched(Reason::NotFound, "there is no ConfigMap jira");
        let gone = after(&good, Some(&problem), None, 1);
        assert_eq!(said(&gone), ["Fetched=False NotFound", "Ready=False Nothing"]);
        assert_eq!(gone.conditions[1].message, "Nothing serves: there is no ConfigMap jira");
        assert_eq!(state(&gone), "refused");
        let patch = patch(&good, &gone).unwrap();
        assert_eq!(
            (&patch["digest"], &patch["types"], &patch["wanted"]),
            (&json!(null), &json!(null), &json!("sha256:a"))
        );
        let taken = |serves| Problem::name_taken("somebody has it").beside(serves);
        assert_eq!(said(&after(&gone, Some(&taken(false)), None, 2))[3], "Ready=False NameTaken");
        let beside = after(&good, Some(&taken(true)), Some(&served("a")), 2);
        assert_eq!(said(&beside)[2..4], ["Compiled=False NameTaken", "Ready=True Ready"], "it serves on");
    }

    #[test]
    fn a_change_is_observed_when_it_is_known_what_comes_of_it() {
        let (a, loading) = (served("a"), Problem::compiled(Reason::Loading, "The component is being loaded"));
        let of = |before: &PluginStatus, generation, problem, serving| {
            let findings = Findings { wanted: None, problem, serving, pauses: &[], next_try: None };
            status(before, Some(generation), findings, Timestamp::UNIX_EPOCH)
        };
        let first = of(&PluginStatus::default(), 1, Some(&loading), None);
        assert_eq!(first.observed_generation, Some(1), "nothing of another generation serves");
        let good = of(&first, 1, None, Some(&a));
        let changed = of(&good, 2, Some(&loading), Some(&a));
        assert_eq!(changed.observed_generation, Some(1), "it serves with the settings from before");
        assert_eq!(changed.conditions[2].observed_generation, Some(1));
        assert_eq!(of(&changed, 2, None, Some(&a)).observed_generation, Some(2));
        let invalid = Problem::compiled(Reason::Invalid, "why");
        assert_eq!(of(&changed, 2, Some(&invalid), Some(&a)).observed_generation, Some(2), "that came of it");
    }

    #[test]
    fn a_machine_that_fails_is_not_the_plugins_fault() {
        let problem = Problem::from(&LoadError::Host("the compile worker was killed".into()));
        assert!(problem.may_pass);
        let loading = after(&PluginStatus::default(), Some(&problem), None, 0);
        assert_eq!(said(&loading)[2..], ["Compiled=Unknown Loading", "Ready=Unknown Loading"]);
        for may_pass in [true, false] {
            let error =
                LoadError::TooExpensive { what: "256 MiB of memory".into(), class: "default", may_pass };
            let problem = Problem::from(&error);
            assert_eq!((problem.reason, problem.may_pass), (Reason::TooExpensive, may_pass));
        }
    }
}
