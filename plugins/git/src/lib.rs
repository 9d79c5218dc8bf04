//! Context type `Git`: a clone of a repository, or a path of it, at mountPath.

use kubeopencode_plugin_sdk::{
    About, Action, Answer, ContextType, Extension, GitFetch, MountPath, Request, SecretRef, context_type,
    ready,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The extension that says what the agent may do in a clone; the host that this plugin is part of has it.
const GIT_WRITE: &str = "git-write";

/// The plugin.
pub struct Git;

/// The item's `git`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    repository: String,
    #[serde(default)]
    path: String,
    #[serde(rename = "ref", default)]
    reference: String,
    #[serde(default = "latest_commit")]
    depth: u32,
    #[serde(default)]
    submodules: bool,
    secret_ref: Option<SecretRef>,
    identity: Option<Identity>,
    #[serde(default)]
    push: bool,
}

/// Who commits.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    name: String,
    email: String,
}

fn latest_commit() -> u32 {
    1
}

impl ContextType for Git {
    type Config = Config;
    const ABOUT: About = About {
        name: "Git",
        version: env!("CARGO_PKG_VERSION"),
        description: env!("CARGO_PKG_DESCRIPTION"),
        schema: include_str!("../schema.json"),
        capabilities: &["git", "secret"],
        mount_path: MountPath::Required,
        ..About::NOTHING
    };

    fn evaluate(config: Config, request: &Request) -> Answer {
        let reference = if config.reference.is_empty() { "HEAD".to_owned() } else { config.reference };
        let path = request.required_mount_path()?;
        let clone = Action::FetchGit(GitFetch {
            repository: config.repository,
            ref_: reference,
            sub_path: config.path,
            depth: config.depth,
            submodules: config.submodules,
            credentials: config.secret_ref.map(|secret| secret.name),
            path: path.to_owned(),
            mode: request.file_mode,
        });
        let write = (config.identity.is_some() || config.push).then(|| {
            let mut body = json!({"path": path, "push": config.push});
            if let Some(identity) = config.identity {
                body["identity"] = json!(identity);
            }
            Action::Extended(Extension { kind: GIT_WRITE.to_owned(), body: body.to_string() })
        });
        ready([clone].into_iter().chain(write))
    }
}

context_type!(Git);

#[cfg(test)]
mod tests {
    use kubeopencode_plugin_sdk::testing::{evaluate, request};
    use kubeopencode_plugin_sdk::{Action, Answer, GitFetch, Outcome, ready};
    use serde_json::{Value, json};

    use super::Git;

    fn answer(payload: Value, mount_path: Option<&str>) -> Answer {
        let mut request = request(payload);
        request.mount_path = mount_path.map(str::to_owned);
        request.file_mode = mount_path.filter(|path| path.starts_with('/')).map(|_| 0o750);
        evaluate::<Git>(&request)
    }

    #[test]
    fn a_repository_alone_is_the_latest_commit_of_its_main_branch() {
        let clone = GitFetch {
            repository: "https://git.example/org/repo".into(),
            ref_: "HEAD".into(),
            sub_path: String::new(),
            depth: 1,
            submodules: false,
            credentials: None,
            path: "src".into(),
            mode: None,
        };
        for payload in [
            json!({"repository": "https://git.example/org/repo"}),
            json!({"repository": "https://git.example/org/repo", "path": "", "ref": ""}),
        ] {
            assert_eq!(answer(payload, Some("src")), ready([Action::FetchGit(clone.clone())]));
        }
    }

    #[test]
    fn everything_that_is_written_is_handed_over() {
        let payload = json!({
            "repository": "git@git.example:org/repo.git", "path": "guides", "ref": "v1", "depth": 0,
            "submodules": true, "secretRef": {"name": "git"},
        });
        assert_eq!(
            answer(payload, Some("/opt/guides")),
            ready([Action::FetchGit(GitFetch {
                repository: "git@git.example:org/repo.git".into(),
                ref_: "v1".into(),
                sub_path: "guides".into(),
                depth: 0,
                submodules: true,
                credentials: Some("git".into()),
                path: "/opt/guides".into(),
                mode: Some(0o750),
            })])
        );
    }

    #[test]
    fn who_commits_and_who_may_push_is_said_behind_the_clone() {
        let repository = "https://git.example/org/repo";
        let identity = json!({"name": "Ada", "email": "ada@example.com"});
        for (more, expected) in [
            (json!({"identity": identity}), json!({"path": "src", "push": false, "identity": identity})),
            (json!({"push": true}), json!({"path": "src", "push": true})),
        ] {
            let mut payload = more;
            payload["repository"] = repository.into();
            let Ok(Outcome::Ready(plan)) = answer(payload, Some("src")) else { panic!() };
            let [Action::FetchGit(_), Action::Extended(write)] = &plan.actions[..] else {
                panic!("{:?}", plan.actions)
            };
            assert_eq!(write.kind, "git-write");
            assert_eq!(serde_json::from_str::<Value>(&write.body).unwrap(), expected);
        }
    }
}
