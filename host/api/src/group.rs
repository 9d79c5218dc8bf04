//! The two API groups, and every name in which they differ: add, never rename.
//!
//! What only Agents have, and what the operator itself puts on a Pod (its gate, the plan's digest, full names), is the
//! same for both and stands in [`literals`](crate::literals).
//!
//! May touch: text. Must not touch: an object, what a group does with its names.

use crate::literals::VERSION;

/// An API group that has Tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// Task, Agent, KubeOpenCodeConfig and Plugin.
    KubeOpenCode,
    /// Task, Batch and WorkspaceConfig.
    KubeTask,
}

/// The names of one group.
#[derive(Debug, PartialEq, Eq)]
pub struct GroupNames {
    /// The group itself, as in `apiVersion` and in front of its own keys.
    pub group: &'static str,
    /// Value of the label [`APP_LABEL`](crate::literals::APP_LABEL).
    pub app: &'static str,
    /// Finalizer that a Task carries from its launch until its Pod is gone.
    pub finalizer: &'static str,
    /// Annotations on a Task; the value `true` of any of them stops it.
    pub stop_annotations: &'static [&'static str],
    /// Label: name of the Task, cut to 63 characters.
    pub task_label: &'static str,
    /// Label: `metadata.uid` of the Task.
    pub task_uid_label: &'static str,
    /// Label: namespace of the Task. On Pods only where it is another one.
    pub task_namespace_label: &'static str,
    /// End of a Pod's name, after the Task's name and a dash.
    pub pod_ending: &'static str,
    /// End of a context ConfigMap's name, after the Task's name and a dash.
    pub context_ending: &'static str,
}

const KUBEOPENCODE: GroupNames = GroupNames {
    group: "kubeopencode.io",
    app: "kubeopencode",
    finalizer: "kubeopencode.io/task-cleanup",
    stop_annotations: &["kubeopencode.io/stop"],
    task_label: "kubeopencode.io/task",
    task_uid_label: "kubeopencode.io/task-uid",
    task_namespace_label: "kubeopencode.io/task-namespace",
    pod_ending: "pod",
    context_ending: "context",
};

const KUBETASK: GroupNames = GroupNames {
    group: "kubetask.io",
    app: "kubetask",
    finalizer: "kubetask.io/task-cleanup",
    stop_annotations: &["kubetask.io/stop", "kubeopencode.io/stop"],
    task_label: "kubetask.io/task",
    task_uid_label: "kubetask.io/task-uid",
    task_namespace_label: "kubetask.io/task-namespace",
    pod_ending: "kt-pod",
    context_ending: "kt-context",
};

impl Group {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::KubeOpenCode, Self::KubeTask];

    /// The names of this group.
    pub const fn names(self) -> &'static GroupNames {
        match self {
            Self::KubeOpenCode => &KUBEOPENCODE,
            Self::KubeTask => &KUBETASK,
        }
    }

    /// `apiVersion` of its objects.
    pub fn api_version(self) -> String {
        format!("{}/{VERSION}", self.names().group)
    }
}

#[cfg(test)]
mod tests {
    use kube::Resource;

    use super::*;

    #[test]
    fn the_kinds_are_of_the_groups() {
        let versions = [
            (crate::task::Task::api_version(&()), Group::KubeOpenCode),
            (crate::agent::Agent::api_version(&()), Group::KubeOpenCode),
            (crate::config::KubeOpenCodeConfig::api_version(&()), Group::KubeOpenCode),
            (crate::plugin_object::Plugin::api_version(&()), Group::KubeOpenCode),
            (crate::kubetask::task::Task::api_version(&()), Group::KubeTask),
            (crate::kubetask::batch::Batch::api_version(&()), Group::KubeTask),
            (crate::kubetask::workspace_config::WorkspaceConfig::api_version(&()), Group::KubeTask),
        ];
        for (version, group) in versions {
            assert_eq!(version, group.api_version());
        }
    }

    #[test]
    fn a_groups_keys_are_its_own() {
        for group in Group::ALL {
            let names = group.names();
            let own = [names.finalizer, names.task_label, names.task_uid_label, names.task_namespace_label];
            for key in own.into_iter().chain(names.stop_annotations.first().copied()) {
                assert_eq!(key.split_once('/').unwrap().0, names.group, "{key}");
            }
        }
        let [first, second] = Group::ALL.map(Group::names);
        assert_ne!((first.app, first.pod_ending), (second.app, second.pod_ending));
        // what stops a Task of the first group stops one of the second as well, and not the other way round
        assert!(second.stop_annotations.contains(&first.stop_annotations[0]));
        assert_eq!(first.stop_annotations.len(), 1);
    }
}
