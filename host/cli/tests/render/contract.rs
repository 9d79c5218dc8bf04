//! Given these YAML files, these objects are made: a fixture for every row of docs/contract.md.
//!
//! | contract, section and row | fixture |
//! |---|---|
//! | 4 Pod: restartPolicy, ServiceAccount, one container, workingDir, security defaults, fsGroup, owner | `quickstart` |
//! | 4 podSpec: labels, annotations, scheduling, runtimeClassName, resources, env, volumes, pull Secrets, the rest | `pod_options` |
//! | 4 proxy, caBundle, defaults; those of an Agent's own; imagePullPolicy | `network` |
//! | 4 podSecurityContext given at all | `restricted` |
//! | 4 `opencode-init`: both images; agentImage alone; neither | `pod_options`, `own_command`, `quickstart` |
//! | 4 `git-init-<i>`: https, http with a warning, ssh; ref, depth, path, submodules, Secret, optional | `git_and_url` |
//! | 4 `git-init-<i>`: who commits, and the Secret that the agent pushes with | the plan's own tests |
//! | 4 `url-fetch-<i>`: headers, timeout, TLS, checksum, unpack, Secret, optional, outside the workspace | `git_and_url` |
//! | 4 `plugin-init-<i>`, files over 900,000 bytes | the plan's own tests |
//! | 4 `context-init`: mappings of files and directories, several modes | `files_and_directories` |
//! | 4 `server-wait`, images of the worker with a server | `server`, `server_with_password`, `server_with_own_command` |
//! | 4 default command; the Agent's own; attach | `quickstart`, `own_command`, `server` |
//! | 4 env and its order | `environment` |
//! | 4 volumes; single files and directories outside the workspace; a clone as the workspace | `files_and_directories`, `git_and_url`, `workspace_is_a_clone` |
//! | 4 directories above mounts, and what a clone's commits leave out | `nested_mounts` |
//! | 4 credentials: five forms; their modes with and without fsGroup | `credentials`, `restricted` |
//! | 4 credentials: refused forms | `refusals` |
//! | 5 `task.md`, `context.md`: order, names, escaping, keys of a ConfigMap, File | `context_file` |
//! | 5 Runtime: text, mountPath ignored | `quickstart`, `context_file` |
//! | 5 ConfigMap: a key as a file, a directory in and outside the workspace, another namespace | `files_and_directories`, `another_namespace` |
//! | 5 relative mountPath, another workspaceDir | `files_and_directories` |
//! | 5 optional ConfigMap, optional item | `optional_contexts` |
//! | 5 Secrets: aggregated, as a file, optional | `secrets_in_contexts` |
//! | 5 refusals: key, ConfigMap, mountPath missing; conflicts | `refusals` |
//! | 6 Deployment, Service, NetworkPolicy, probes, contexts in front of the prompt | `server`, `server_with_password` |
//! | 6 mountPath, Git, URL with a server | `refusals` |
//! | 9 the examples of the document; the image's own entrypoint | `kubetask.rs` |
//! | 9 WorkspaceConfig: credentials, labels, scheduling; layers; pieces, of which one is a Secret's; single files | `kubetask_layers` |
//! | 9 the default pair of images, with a workspace and the result reader | `kubetask_opencode` |
//! | 9 other types in File's place | `kubetask_plugins` |

use crate::program::render;

macro_rules! fixtures {
    ($($name:ident),+ $(,)?) => {$(
        #[test]
        fn $name() {
            let said = render(&["-f", concat!(stringify!($name), ".yaml")], "");
            assert_eq!(said.code, 0, "{}", said.stderr);
            insta::assert_snapshot!(without_digests(&format!("{}{}", said.stdout, said.stderr)));
        }
    )+};
}

fixtures![
    another_namespace,
    context_file,
    credentials,
    environment,
    files_and_directories,
    git_and_url,
    kubetask_layers,
    kubetask_opencode,
    kubetask_plugins,
    nested_mounts,
    network,
    optional_contexts,
    own_command,
    pod_options,
    quickstart,
    restricted,
    secrets_in_contexts,
    server,
    server_with_own_command,
    server_with_password,
    workspace_is_a_clone,
];

/// The plan's digest changes with every byte of it.
pub(crate) fn without_digests(text: &str) -> String {
    let mut parts = text.split("sha256:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        match digits {
            64 => format!("{text}sha256:<digest>{}", &part[64..]),
            _ => format!("{text}sha256:{part}"),
        }
    })
}
