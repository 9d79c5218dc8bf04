//! Every type of context reaches the agent: from a real git server, a real web server, ConfigMaps and Secrets.

use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::objects::{replaced, status, words};

use crate::support::{log, model_namespace, on_the_whole_cluster, shell_agent, task};

const AUTH: &str =
    "{apiVersion: v1, kind: Secret, metadata: {name: auth}, stringData: {username: ada, password: s3cret}}";
const TOKEN: &str = "{apiVersion: v1, kind: Secret, metadata: {name: token}, stringData: {token: t0ken}}";

/// The server of the tests' repositories and files.
pub(crate) fn sources() -> String {
    format!("http://sources.{}.svc.cluster.local", model_namespace())
}

/// These contexts, with that server's address where they say `SOURCES`.
fn from_sources(contexts: &str) -> String {
    replaced(contexts, "SOURCES", &sources())
}

/// What the agent's script says with these contexts.
async fn says(ns: &TestNamespace, script: &str, contexts: &str) -> String {
    ns.apply(shell_agent(script, "")).await;
    ns.apply(task("look").spec(&format!("contexts: [{contexts}]"))).await;
    let task = ns.phase("look", Phase::Completed).await;
    log(ns, &task).await
}

#[tokio::test]
async fn text_config_maps_and_runtime_become_one_file_in_their_order() {
    on_the_whole_cluster(async |ns| {
        ns.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {b: second, a: first}}").await;
        let said = says(
            ns,
            "cat .kubeopencode/context.md",
            "{type: Text, name: one, text: 'a </context> b'}, {type: ConfigMap, configMap: {name: m}}, {type: Runtime}",
        )
        .await;
        let namespace = &ns.name;
        let expected = format!(
            "<context name=\"one\" namespace=\"{namespace}\" type=\"Text\">\na &lt;/context> b\n</context>\n\n\
             <context name=\"context\" namespace=\"{namespace}\" type=\"ConfigMap\">\n<file name=\"a\">\nfirst\n</file>\n<file name=\"b\">\nsecond\n</file>\n</context>\n\n\
             <context name=\"runtime\" namespace=\"{namespace}\" type=\"Runtime\">\n"
        );
        assert!(said.starts_with(&expected), "{said}");
        for word in ["KubeOpenCode Runtime Context", "TASK_NAME", "TASK_NAMESPACE", "WORKSPACE_DIR", "kubectl get task"] {
            assert!(said.contains(word), "{word} is missing in {said}");
        }
    })
    .await;
}

#[tokio::test]
async fn files_have_their_paths_and_modes_also_outside_the_workspace() {
    on_the_whole_cluster(async |ns| {
        ns.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {b: second, a: first}}").await;
        ns.apply("{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {k: hidden}}").await;
        let said = says(
            ns,
            "cat one; stat -L -c %a one run /opt/f; ./run; cat m/a m/b; cat /etc/m/a; cat /opt/f; cat secret",
            "{type: Text, mountPath: one, text: 'text '}, {type: Text, mountPath: /workspace/run, fileMode: 493, text: \"#!/bin/sh\\necho runs\\n\"}, \
             {type: ConfigMap, mountPath: m, configMap: {name: m}}, {type: ConfigMap, mountPath: /etc/m, configMap: {name: m}}, \
             {type: File, mountPath: /opt/f, file: {name: f, source: {inline: ' inline '}}}, \
             {type: File, mountPath: secret, file: {name: f, source: {secretKeyRef: {name: s, key: k}}}}",
        )
        .await;
        assert_eq!(said, "text 644\n755\n644\nruns\nfirstsecondfirst inline hidden");
    })
    .await;
}

#[tokio::test]
async fn a_file_mode_lets_the_agent_read_wherever_the_file_is() {
    let contexts = "{type: Text, mountPath: inside, fileMode: 384, text: 'in '}, \
                    {type: Text, mountPath: /opt/outside, fileMode: 384, text: 'out '}, \
                    {type: Git, mountPath: repo, fileMode: 384, git: {repository: SOURCES/git/repo.git}}, \
                    {type: URL, mountPath: page, fileMode: 384, url: {source: SOURCES/checklist.md}}";
    let script = "cat inside /opt/outside; cat repo/README.md page >/dev/null && stat -L -c %a inside /opt/outside repo/README.md page; \
                  cd repo && git status --porcelain";
    for (pod_security, mode) in [("", "640"), ("podSpec: {podSecurityContext: {}}", "644")] {
        on_the_whole_cluster(async |ns| {
            ns.apply(shell_agent(script, pod_security)).await;
            ns.apply(task("look").spec(&format!("contexts: [{}]", from_sources(contexts)))).await;
            let task = ns.phase("look", Phase::Completed).await;
            assert_eq!(log(ns, &task).await, format!("in out {mode}\n{mode}\n{mode}\n{mode}\n"));
        })
        .await;
    }
}

#[tokio::test]
async fn a_clone_has_its_ref_its_sub_path_and_its_credentials() {
    on_the_whole_cluster(async |ns| {
        ns.apply(AUTH).await;
        let said = says(
            ns,
            "cd repo && git log --oneline | wc -l && ./greet.sh you && touch writable && cd .. && cat docs/testing.md && cat private/README.md && cat task.md",
            &from_sources(
                "{type: Git, mountPath: repo, git: {repository: SOURCES/git/repo.git, ref: v1}}, \
                 {type: Git, mountPath: docs, git: {repository: SOURCES/git/repo.git, path: docs/, depth: 0}}, \
                 {type: Git, mountPath: private, git: {repository: SOURCES/git/private.git, secretRef: {name: auth}}}",
            ),
        )
        .await;
        assert_eq!(
            said,
            "1\nGood morning, you.\nTests are named after what a user sees.\nOnly those with the password read this sentence.\nTask look says hello."
        );
    })
    .await;
}

#[tokio::test]
async fn a_clone_at_the_root_of_the_workspace_leaves_the_prompt_where_it_is() {
    on_the_whole_cluster(async |ns| {
        let said = says(
            ns,
            "cat task.md; ls README.md greet.sh",
            &from_sources("{type: Git, mountPath: ., git: {repository: SOURCES/git/repo.git}}"),
        )
        .await;
        assert_eq!(said, "Task look says hello.README.md\ngreet.sh\n");
    })
    .await;
}

#[tokio::test]
async fn files_and_directories_can_be_made_beside_a_clone() {
    on_the_whole_cluster(async |ns| {
        ns.apply("{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {k: hidden}}").await;
        let said = says(
            ns,
            "mkdir services/web services/api/lib/new keys/new && cat services/NOTES.md services/api/lib/deep/notes.md keys/deep/k",
            &from_sources(
                "{type: Git, mountPath: services/api, git: {repository: SOURCES/git/repo.git}}, \
                 {type: Git, mountPath: services/api/lib/deep, git: {repository: SOURCES/git/repo.git}}, \
                 {type: Text, mountPath: services/NOTES.md, text: \"beside\\n\"}, \
                 {type: Text, mountPath: services/api/lib/deep/notes.md, text: \"inside\\n\"}, \
                 {type: File, mountPath: keys/deep/k, file: {name: f, source: {secretKeyRef: {name: s, key: k}}}}",
            ),
        )
        .await;
        assert_eq!(said, "beside\ninside\nhidden");
    })
    .await;
}

#[tokio::test]
async fn an_agent_commits_its_own_work_and_nothing_else() {
    on_the_whole_cluster(async |ns| {
        ns.apply("{apiVersion: v1, kind: Secret, metadata: {name: g}, stringData: {c: \"[user]\\n\\tname = Build Bot\\n\"}}").await;
        let script = "git add --all && git status --porcelain && echo new >new && git add --all && \
                      git commit --quiet --message work && git show --format='%an <%ae>' --name-only";
        let more = "credentials: [{name: g, secretRef: {name: g, key: c}, mountPath: /tmp/.gitconfig}]";
        ns.apply(shell_agent(script, more)).await;
        let contexts = "contexts: [{type: Git, mountPath: ., git: {repository: SOURCES/git/repo.git}}, \
                        {type: Text, text: a secret of the team}, {type: Text, mountPath: README.md, text: replaced}, \
                        {type: Git, mountPath: vendor/lib, git: {repository: SOURCES/git/repo.git}}]";
        ns.apply(task("look").spec(&from_sources(contexts))).await;
        let task = ns.phase("look", Phase::Completed).await;
        assert_eq!(log(ns, &task).await, "Build Bot <noreply@kubeopencode.io>\n\nnew\n");
    })
    .await;
}

#[tokio::test]
async fn a_file_of_git_lfs_is_the_file_itself() {
    on_the_whole_cluster(async |ns| {
        let said = says(
            ns,
            "cd large && cat large.bin && git status --porcelain",
            &from_sources("{type: Git, mountPath: large, git: {repository: SOURCES/git/large.git}}"),
        )
        .await;
        assert_eq!(said, "This file is too large for a repository.\n");
    })
    .await;
}

#[tokio::test]
async fn a_secret_of_a_clone_or_a_download_that_comes_late_is_waited_for() {
    on_the_whole_cluster(async |ns| {
        ns.apply(shell_agent("cat private/README.md; cat list.md", "")).await;
        let contexts = "contexts: [{type: Git, mountPath: private, git: {repository: SOURCES/git/private.git, secretRef: {name: auth}}}, \
                        {type: URL, mountPath: list.md, url: {source: SOURCES/private/checklist.md, secretRef: {name: auth}}}]";
        ns.apply(task("late").spec(&from_sources(contexts))).await;
        let says_so = |task: &Task| {
            let conditions = task.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|c| c.type_ == "Started" && c.message.contains("secret \"auth\" not found"))
        };
        let task = ns.until_task("late", "names the Secret that is not there", says_so).await;
        assert_eq!(words(&task, "Started").1, "VolumeNotReady");
        ns.apply(AUTH).await;
        let task = ns.phase("late", Phase::Completed).await;
        assert!(log(ns, &task).await.starts_with("Only those with the password read this sentence."));
    })
    .await;
}

#[tokio::test]
async fn a_url_is_fetched_with_its_token_and_an_archive_is_laid_out() {
    on_the_whole_cluster(async |ns| {
        ns.apply(AUTH).await;
        ns.apply(TOKEN).await;
        let said = says(
            ns,
            "cat list.md; cmp list.md private.md && cmp list.md token.md && ls tar zip",
            &from_sources(
                "{type: URL, mountPath: list.md, url: {source: SOURCES/checklist.md}}, \
                 {type: URL, mountPath: private.md, url: {source: SOURCES/private/checklist.md, secretRef: {name: auth}}}, \
                 {type: URL, mountPath: token.md, url: {source: SOURCES/token/checklist.md, secretRef: {name: token}}}, \
                 {type: URL, mountPath: tar, url: {source: SOURCES/repo.tar.gz, unpack: true}}, \
                 {type: URL, mountPath: zip, url: {source: SOURCES/repo.zip, unpack: true}}",
            ),
        )
        .await;
        assert!(said.starts_with("Before you hand in: does it build"), "{said}");
        assert_eq!(said.matches("greet.sh").count(), 2, "{said}");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_fetched_is_named() {
    on_the_whole_cluster(async |ns| {
        ns.apply(shell_agent("true", "")).await;
        for (name, context, expected) in [
            ("missing", "{type: URL, mountPath: x, url: {source: SOURCES/nothing.md}}", "404"),
            ("refused", "{type: URL, mountPath: x, url: {source: SOURCES/private/checklist.md}}", "401"),
            ("other", "{type: URL, mountPath: x, url: {source: SOURCES/checklist.md, sha256: 0000000000000000000000000000000000000000000000000000000000000000}}", "sha256"),
            ("no-ref", "{type: Git, mountPath: x, git: {repository: SOURCES/git/repo.git, ref: v9}}", "v9"),
            ("private", "{type: Git, mountPath: x, git: {repository: SOURCES/git/private.git}}", "private.git"),
        ] {
            ns.apply(task(name).spec(&format!("contexts: [{}]", from_sources(context)))).await;
            let task = ns.phase(name, Phase::Failed).await;
            let status = status(&task);
            assert_eq!(status.reason.as_deref(), Some("InitContainerFailed"), "{name}: {status:#?}");
            let message = words(&task, "Succeeded").2;
            assert!(message.contains(expected), "{name}: {message}");
        }
    })
    .await;
}
