//! Conditions of Tasks and Agents: their types and reasons, and the phase of a Task that is derived from them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::report::cut;
use crate::task::Phase;

/// Declares an enum whose variants are the words that users see.
macro_rules! string_enum {
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

/// The `type`s of one kind's conditions.
pub trait ConditionType: Copy {
    /// The word as it stands in the API.
    fn as_str(self) -> &'static str;
}

macro_rules! condition_types {
    ($($name:ident),+) => {$(
        impl ConditionType for $name {
            fn as_str(self) -> &'static str { self.as_str() }
        }
    )+};
}
condition_types!(TaskCondition, AgentCondition, BatchCondition, PluginCondition);

string_enum! {
    /// `type` of a condition of a Task.
    TaskCondition {
        /// the Task's references are resolved
        Accepted,
        /// the contexts are evaluated
        Contexts,
        /// waits for capacity, quota or an older Pod
        Queued,
        /// the Pod is made
        Ready,
        /// the Pod has been launched; False while it does not start
        Started,
        /// how it ended
        Succeeded,
        /// stopped by the user
        Stopped,
        /// it is over, with the reason of its end
        Finished,
    }
}

string_enum! {
    /// `type` of a condition of an Agent.
    AgentCondition {
        /// a Task of it, with nothing but a prompt, could be launched
        Accepted,
        /// the Agent's server is there as planned
        ServerReady,
        /// the Agent's server answers
        ServerHealthy,
    }
}

string_enum! {
    /// `type` of a condition of a Batch.
    BatchCondition {
        /// the API server takes its Tasks
        TasksCreated,
        /// no Task was lost: False names those that were
        TasksIntact,
        /// all its indexes are over
        Finished,
    }
}

string_enum! {
    /// `type` of a condition of a Plugin: the way of its component, in this order.
    PluginCondition {
        /// the component's bytes are there
        Fetched,
        /// they are those that the Plugin names
        Verified,
        /// they are a plugin
        Compiled,
        /// a component of the Plugin serves, this one or the last good one
        Ready,
        /// its calls come to an end
        Healthy,
    }
}

string_enum! {
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
        /// the Agent does not say with which model it works
        ModelNotSet,
        /// waits for an object that may still come
        WaitingForDependency,
        /// the Agent runs as many Tasks as it may
        AgentAtCapacity,
        /// the Agent started as many Tasks as its quota allows
        QuotaExceeded,
        /// nobody starts while `spec.suspend` of the Agent is true
        AgentSuspended,
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
        /// somebody deleted the Pod while the agent worked
        PodDeleted,
        /// over `timeout`
        Timeout,
        /// the agent printed nothing for `idleTimeout`
        IdleTimeout,
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
        /// a component's bytes are there
        Fetched,
        /// there is no ConfigMap, or no component in it
        NotFound,
        /// the bytes cannot be had, or not be decompressed
        FetchFailed,
        /// the component is larger than its class allows
        TooLarge,
        /// a part of the component is missing
        PartMissing,
        /// the bytes are those that the Plugin names
        Verified,
        /// they are others
        DigestMismatch,
        /// grants, or a web server, without a digest
        DigestMissing,
        /// the component has no signature by the key that is named, or by none where one is required
        SignatureInvalid,
        /// the component is compiled
        Compiled,
        /// the bytes are no component that can be compiled
        Invalid,
        /// compiling takes more than the class allows
        TooExpensive,
        /// the component does not have the interface of its kind
        WrongWorld,
        /// the component was built for a newer version
        NeedsNewerHost,
        /// what the component says of itself cannot be used
        BadDescriptor,
        /// the component's schema cannot be used
        BadSchema,
        /// `spec.config` or `spec.names` do not fit the component
        SettingsInvalid,
        /// the plugin serves
        Ready,
        /// the component is being loaded
        Loading,
        /// another plugin has the name of a type
        NameTaken,
        /// no component of the Plugin serves
        Nothing,
        /// the plugin's calls come to an end
        Healthy,
        /// calls of the plugin broke one after the other, and it is not asked for a while
        Paused,
        /// the API server takes a Batch's Tasks again
        TasksCreated,
        /// the API server refuses a Batch's Tasks
        TaskCreationError,
        /// a Batch's Task was deleted before its end
        TaskDeleted,
        /// some of a Batch's Tasks failed
        TasksFailed,
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

string_enum! {
    /// `status` of a condition.
    ConditionStatus {
        /// it is so
        True,
        /// it is not so
        False,
        /// nobody knows yet
        Unknown,
    }
}

/// Longest message of a condition, in bytes: the API's own limit is 32 KiB, people read less.
const MAX_MESSAGE: usize = 4096;

/// Writes the conditions of one object.
#[derive(Debug)]
pub struct Conditions<'a> {
    list: &'a mut Vec<Condition>,
    observed_generation: Option<i64>,
    now: Timestamp,
}

impl<'a> Conditions<'a> {
    /// Writes into `list`, for an object of this `metadata.generation`.
    pub fn new(list: &'a mut Vec<Condition>, observed_generation: Option<i64>, now: Timestamp) -> Self {
        Self { list, observed_generation, now }
    }

    /// Sets a condition, keeping `lastTransitionTime` while its status stays. The message is cut at 4096 bytes.
    pub fn set(&mut self, type_: impl ConditionType, status: ConditionStatus, reason: Reason, message: &str) {
        let known = self.list.iter().position(|c| c.type_ == type_.as_str());
        let since = known
            .and_then(|i| self.list.get(i))
            .filter(|c| c.status == status.as_str())
            .map(|c| c.last_transition_time.clone());
        let condition = Condition {
            type_: type_.as_str().to_owned(),
            status: status.as_str().to_owned(),
            reason: reason.as_str().to_owned(),
            message: cut(message, MAX_MESSAGE).to_owned(),
            observed_generation: self.observed_generation,
            last_transition_time: since.unwrap_or(Time(self.now)),
        };
        match known.and_then(|i| self.list.get_mut(i)) {
            Some(known) => *known = condition,
            None => self.list.push(condition),
        }
    }
}

/// The condition of a type, if it was ever set.
pub fn find(conditions: &[Condition], type_: impl ConditionType) -> Option<&Condition> {
    conditions.iter().find(|c| c.type_ == type_.as_str())
}

fn is_true(conditions: &[Condition], type_: TaskCondition) -> bool {
    find(conditions, type_).is_some_and(|c| c.status == "True")
}

/// The phase that conditions stand for.
pub fn phase(conditions: &[Condition]) -> Phase {
    let failed = |c: &Condition| {
        c.status == "False"
            && (c.type_ == TaskCondition::Succeeded.as_str() || c.reason.parse().is_ok_and(Reason::is_error))
    };
    if is_true(conditions, TaskCondition::Stopped) || is_true(conditions, TaskCondition::Succeeded) {
        Phase::Completed
    } else if conditions.iter().any(failed) {
        Phase::Failed
    } else if is_true(conditions, TaskCondition::Ready) {
        Phase::Running
    } else if is_true(conditions, TaskCondition::Queued) {
        Phase::Queued
    } else {
        Phase::Pending
    }
}

#[cfg(test)]
mod tests;
