//! The names that users, dashboards and other tools rely on; docs/contract.md has them all. Add, never rename.
//!
//! What the two API groups name differently stands in [`group`](crate::group); the constants here that repeat a part of
//! it are those of [`Group::KubeOpenCode`].

use crate::group::{Group, GroupNames};
use crate::release::image;

const NAMES: &GroupNames = Group::KubeOpenCode.names();

/// API group of Task, Agent, KubeOpenCodeConfig and Plugin.
pub const GROUP: &str = NAMES.group;
/// The only served version of both groups.
pub const VERSION: &str = "v1alpha1";

/// Finalizer that a Task carries from its launch until its Pod is gone.
pub const FINALIZER: &str = NAMES.finalizer;
/// Scheduling gate that holds a Task's Pod back until the launch is recorded in the Task's status.
pub const LAUNCH_GATE: &str = "kubeopencode.io/launch";
/// Annotation on a Task; the value `true` stops it.
pub const STOP_ANNOTATION: &str = NAMES.stop_annotations[0];

/// Annotation on a Batch; while it is `true`, no further Task of it is made.
pub const PAUSE_ANNOTATION: &str = "kubetask.io/pause";

/// Label on a Task: the name of its Agent.
pub const AGENT_LABEL: &str = "kubeopencode.io/agent";
/// Annotation on a Task with the Agent of another namespace: that namespace, and how many ConfigMaps are made there, as
/// in `platform=2`. Written before anything is made.
pub const MADE_IN_ANNOTATION: &str = "kubeopencode.io/made-in";
/// Label on Pods and ConfigMaps of Tasks, with the value [`APP`].
pub const APP_LABEL: &str = "app";
/// Value of [`APP_LABEL`].
pub const APP: &str = NAMES.app;
/// Label: name of the Task, cut to 63 characters.
pub const TASK_LABEL: &str = NAMES.task_label;
/// Label: `metadata.uid` of the Task.
pub const TASK_UID_LABEL: &str = NAMES.task_uid_label;
/// Label: namespace of the Task. On Pods only where it is another one.
pub const TASK_NAMESPACE_LABEL: &str = NAMES.task_namespace_label;
/// Annotation on Pods: the Task's full name.
pub const TASK_NAME_ANNOTATION: &str = "kubeopencode.io/task-name";
/// Annotation on Pods: the name of the Agent that the Task runs with.
pub const AGENT_NAME_ANNOTATION: &str = "kubeopencode.io/agent-name";
/// Annotation on Pods and ConfigMaps: digest of the plan that they were made from.
pub const PLAN_ANNOTATION: &str = "kubeopencode.io/plan";
/// Annotation on the Deployment of a server: digest of the spec of its Pods, as it was planned.
pub const POD_SPEC_ANNOTATION: &str = "kubeopencode.io/pod-spec";

/// Label on a ConfigMap of the operator's namespace with a plugin's component; the value is the plugin's kind.
pub const PLUGIN_LABEL: &str = "kubeopencode.io/plugin";
/// Label on the ConfigMaps in which the operator keeps the last good component of a Plugin.
pub const PLUGIN_KEPT_LABEL: &str = "kubeopencode.io/plugin-kept";
/// Annotation on a ConfigMap with one part of a component: the name that all its parts have together.
pub const PLUGIN_NAME_ANNOTATION: &str = "kubeopencode.io/plugin-name";
/// Annotation on such a ConfigMap: which part it is, as in `2/3`.
pub const PLUGIN_PART_ANNOTATION: &str = "kubeopencode.io/plugin-part";
/// Annotation on a ConfigMap with a component: its SHA-256, decoded, in hex.
pub const SHA256_ANNOTATION: &str = "kubeopencode.io/sha256";
/// Annotation on a Plugin that the operator made: the ConfigMap that it was made for.
pub const MADE_FOR_ANNOTATION: &str = "kubeopencode.io/made-for";

/// Name of the Agent of a Task without `agentRef`, and of the KubeOpenCodeConfig that is read.
pub const DEFAULT_NAME: &str = "default";
/// Namespace of the operator when `POD_NAMESPACE` is not set.
pub const DEFAULT_OPERATOR_NAMESPACE: &str = "kubeopencode-system";
/// `Agent.spec.workspaceDir` when it is not set.
pub const DEFAULT_WORKSPACE_DIR: &str = "/workspace";
/// `Agent.spec.commandBuilder` when it is not set.
pub const DEFAULT_COMMAND_BUILDER: &str = "opencode";
/// `Agent.spec.serverConfig.port` when it is not set.
pub const DEFAULT_SERVER_PORT: u16 = 4096;
/// Domain of a cluster whose `resolv.conf` names none.
pub const DEFAULT_CLUSTER_DOMAIN: &str = "cluster.local";

/// Image that brings the agent's program (init container).
pub const DEFAULT_AGENT_IMAGE: &str = image(option_env!("KUBEOPENCODE_AGENT_IMAGE"), LATEST_AGENT_IMAGE);
/// Image that the agent runs in.
pub const DEFAULT_EXECUTOR_IMAGE: &str =
    image(option_env!("KUBEOPENCODE_EXECUTOR_IMAGE"), LATEST_EXECUTOR_IMAGE);
/// Image of a Pod that attaches to a server.
pub const DEFAULT_ATTACH_IMAGE: &str = image(option_env!("KUBEOPENCODE_ATTACH_IMAGE"), LATEST_ATTACH_IMAGE);
/// Image of the operator and of its init containers.
pub const DEFAULT_SYSTEM_IMAGE: &str = image(option_env!("KUBEOPENCODE_SYSTEM_IMAGE"), LATEST_SYSTEM_IMAGE);

/// `DEFAULT_AGENT_IMAGE` of a development build.
pub const LATEST_AGENT_IMAGE: &str = "quay.io/kubeopencode/kubeopencode-agent-opencode:latest";
/// `DEFAULT_EXECUTOR_IMAGE` of a development build.
pub const LATEST_EXECUTOR_IMAGE: &str = "quay.io/kubeopencode/kubeopencode-agent-devbox:latest";
/// `DEFAULT_ATTACH_IMAGE` of a development build.
pub const LATEST_ATTACH_IMAGE: &str = "quay.io/kubeopencode/kubeopencode-agent-attach:latest";
/// `DEFAULT_SYSTEM_IMAGE` of a development build.
pub const LATEST_SYSTEM_IMAGE: &str = "quay.io/kubeopencode/kubeopencode:latest";

/// kubectl's annotation for the container that it means when none is named.
pub const DEFAULT_CONTAINER_ANNOTATION: &str = "kubectl.kubernetes.io/default-container";
/// The container that runs the agent.
pub const AGENT_CONTAINER: &str = "agent";
/// Volume of the ConfigMaps that the operator makes for a Pod.
pub const CONTEXT_FILES_VOLUME: &str = "context-files";
/// The volumes of ConfigMap directories begin so.
pub const DIRECTORY_VOLUMES: &str = "dir-mount-";
/// Where the agent's program, its configuration and the result reader lie in the Pod.
pub const TOOLS_DIR: &str = "/tools";

/// Longest label value that Kubernetes takes, in characters.
pub const MAX_LABEL: usize = 63;
/// Longest object name that Kubernetes takes, in characters.
pub const MAX_NAME: usize = 253;

/// Environment variable with the password of an Agent's server, for the server and its clients.
pub const SERVER_PASSWORD: &str = "OPENCODE_SERVER_PASSWORD";
/// Environment variable with the name under which clients log in, where the Agent says so.
pub const SERVER_USERNAME: &str = "OPENCODE_SERVER_USERNAME";
