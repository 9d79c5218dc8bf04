//! Conditions of Tasks and Agents: their types and reasons, and the phase of a Task that is derived from them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::report::cut;
use crate::task::Phase;

/// Declares an enum whose variants are the words that users see.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vmeta])* $variant),+ }
        impl $name {
            /// Every value, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
            /// The word as it stands in the API.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }
        impl std::str::FromStr for $name {
            type Err = ();
            fn from_str(word: &str) -> Result<Self, ()> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word).ok_or(())
            }
        }
    };
}

words! {
    /// `type` of a condition of a Task or, the last two, of a server-mode Agent.
    ConditionType {
        /// the Task's references are resolved
        Accepted,
        /// the contexts are evaluated
        Contexts,
        /// waits for capacity, quota or an older Pod
        Queued,
        /// the Pod is made
        Ready,
        /// the Pod has been launched; False while it does not get on
        Started,
        /// how it ended
        Succeeded,
        /// stopped by the user
        Stopped,
        /// the Agent's server is there as planned
        ServerReady,
        /// the Agent's server answers
        ServerHealthy,
    }
}

words! {
    /// `reason` of a condition.
    Reason {
        /// references resolved
        Resolved,
        /// an optional context was left out
        OptionalSkipped,
        /// a higher layer took a path
        MountOverridden,
        /// reserved keys in podSpec.labels were ignored
        LabelsIgnored,
        /// waits for an object that may still come
        WaitingForDependency,
        /// the Agent runs as many Tasks as it may
        AgentAtCapacity,
        /// the Agent started as many Tasks as its quota allows
        QuotaExceeded,
        /// the namespace's ResourceQuota refused the Pod
        NamespaceQuotaExceeded,
        /// the Pod of an older Task of this name still ends
        WaitingForPreviousPod,
        /// its turn came
        CapacityAvailable,
        /// the Agent has no limits
        NoLimits,
        /// the Pod is recorded and its gate is off
        PodLaunched,
        /// an image cannot be pulled
        ImagePullFailed,
        /// the kubelet cannot make a container
        ContainerConfigError,
        /// no node takes the Pod
        Unschedulable,
        /// a volume cannot be mounted
        VolumeNotReady,
        /// an init container failed
        InitContainerFailed,
        /// the agent ended well
        Completed,
        /// the agent's container failed
        PodFailed,
        /// the agent's process ended well but reported an error
        AgentReportedError,
        /// the kubelet wanted to run the agent a second time
        AgentRestarted,
        /// out of memory
        OOMKilled,
        /// the node evicted the Pod
        Evicted,
        /// the Pod is gone and nobody knows how it ended
        PodLost,
        /// over `spec.timeout`
        Timeout,
        /// nothing started within `startTimeoutSeconds`
        StartTimeout,
        /// the stop annotation
        UserStopped,
        /// Agent missing, or its namespace not allowed
        AgentError,
        /// a context cannot be resolved
        ContextError,
        /// a plugin failed
        PluginError,
        /// the spec makes no sense
        InvalidConfig,
        /// a ConfigMap was refused
        ConfigMapCreationError,
        /// the Pod was refused
        PodCreationError,
        /// WorkspaceConfig missing
        WorkspaceConfigError,
        /// the server's Deployment is ready
        DeploymentReady,
        /// the server's Deployment is not ready
        DeploymentNotReady,
        /// a name of the server is held by an object of somebody else
        NameConflict,
        /// a server answers its probes
        DeploymentHealthy,
        /// no server answers its probes
        DeploymentUnhealthy,
    }
}

impl Reason {
    /// Whether a False condition with this reason ends the Task before it had a Pod that ran.
    pub fn is_error(self) -> bool {
        matches!(
            self,
            Self::AgentError
                | Self::ContextError
                | Self::PluginError
                | Self::InvalidConfig
                | Self::ConfigMapCreationError
                | Self::PodCreationError
                | Self::WorkspaceConfigError
        )
    }
}

/// `status` of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Is {
    /// `True`
    True,
    /// `False`
    False,
    /// `Unknown`
    Unknown,
}

impl Is {
    /// The word as it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// Longest message of a condition, in bytes: the API's own limit is 32 KiB, people read less.
const MAX_MESSAGE: usize = 4096;

/// Sets a condition, keeping `lastTransitionTime` while its status stays.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: ConditionType,
    is: Is,
    reason: Reason,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let message = cut(message, MAX_MESSAGE).to_owned();
    if let Some(known) = conditions.iter_mut().find(|c| c.type_ == type_.as_str()) {
        if known.status != is.as_str() {
            known.last_transition_time = Time(now);
            known.status = is.as_str().to_owned();
        }
        known.reason = reason.as_str().to_owned();
        known.message = message;
        known.observed_generation = generation;
        return;
    }
    conditions.push(Condition {
        type_: type_.as_str().to_owned(),
        status: is.as_str().to_owned(),
        reason: reason.as_str().to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: Time(now),
    });
}

/// The condition of a type, if it was ever set.
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|c| c.type_ == type_.as_str())
}

fn is_true(conditions: &[Condition], type_: ConditionType) -> bool {
    find(conditions, type_).is_some_and(|c| c.status == "True")
}

/// The phase that conditions stand for.
pub fn phase(conditions: &[Condition]) -> Phase {
    let failed = |c: &Condition| {
        c.status == "False"
            && (c.type_ == ConditionType::Succeeded.as_str() || c.reason.parse().is_ok_and(Reason::is_error))
    };
    if is_true(conditions, ConditionType::Stopped) || is_true(conditions, ConditionType::Succeeded) {
        Phase::Completed
    } else if conditions.iter().any(failed) {
        Phase::Failed
    } else if is_true(conditions, ConditionType::Ready) {
        Phase::Running
    } else if is_true(conditions, ConditionType::Queued) {
        Phase::Queued
    } else {
        Phase::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(set_these: &[(ConditionType, Is, Reason)]) -> Vec<Condition> {
        let mut conditions = Vec::new();
        for (type_, is, reason) in set_these {
            set(&mut conditions, *type_, *is, *reason, "", None, Timestamp::UNIX_EPOCH);
        }
        conditions
    }

    #[test]
    fn the_phase_follows_the_conditions() {
        use ConditionType::*;
        let launched = (Ready, Is::True, Reason::PodLaunched);
        for (given, expected) in [
            (vec![], Phase::Pending),
            (vec![(Accepted, Is::Unknown, Reason::WaitingForDependency)], Phase::Pending),
            (vec![(Queued, Is::True, Reason::AgentAtCapacity)], Phase::Queued),
            (vec![(Queued, Is::False, Reason::CapacityAvailable), launched], Phase::Running),
            (vec![launched, (Started, Is::False, Reason::ImagePullFailed)], Phase::Running),
            (vec![launched, (Succeeded, Is::True, Reason::Completed)], Phase::Completed),
            (vec![launched, (Succeeded, Is::False, Reason::PodFailed)], Phase::Failed),
            (vec![launched, (Stopped, Is::True, Reason::UserStopped)], Phase::Completed),
            (vec![(Accepted, Is::False, Reason::AgentError)], Phase::Failed),
        ] {
            assert_eq!(phase(&conditions(&given)), expected, "{given:?}");
        }
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        let later = Timestamp::from_second(60).unwrap();
        let queued = |conditions: &mut Vec<_>, is, now| {
            set(conditions, ConditionType::Queued, is, Reason::AgentAtCapacity, "3 before it", Some(1), now);
        };
        queued(&mut conditions, Is::True, Timestamp::UNIX_EPOCH);
        queued(&mut conditions, Is::True, later);
        assert_eq!(conditions[0].last_transition_time.0, Timestamp::UNIX_EPOCH);
        queued(&mut conditions, Is::False, later);
        assert_eq!((conditions.len(), conditions[0].last_transition_time.0), (1, later));
    }
}
