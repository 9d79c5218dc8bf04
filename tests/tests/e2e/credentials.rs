//! Secrets reach the agent in every form, for every user that it runs as, and its Pod fits a restricted namespace.

use kubeopencode_api::task::Phase;

use crate::support::{log, on_the_whole_cluster, shell_agent, task};

const SECRET: &str =
    "{apiVersion: v1, kind: Secret, metadata: {name: keys}, stringData: {TOKEN: t0ken, id: the-key}}";

/// Every form of docs/contract.md, section 4: all keys as variables, all keys as files, one as variable, as file, and as both.
const CREDENTIALS: &str = "credentials:
- {name: all, secretRef: {name: keys}}
- {name: folder, secretRef: {name: keys}, mountPath: /folder}
- {name: variable, secretRef: {name: keys, key: id}, env: KEY}
- {name: file, secretRef: {name: keys, key: id}, mountPath: /home/agent/id, fileMode: 256}
- {name: both, secretRef: {name: keys, key: id}, env: KEY_TOO, mountPath: /etc/both}";

const SHOW: &str = "echo $TOKEN $KEY $KEY_TOO $(cat /folder/TOKEN) $(cat /home/agent/id) $(cat /etc/both)";
const SHOWN: &str = "t0ken the-key the-key t0ken the-key the-key";

#[tokio::test]
async fn every_form_is_readable_by_every_user() {
    for (user, pod_security) in [
        ("root", "runAsUser: 0"),
        ("the usual one", "runAsUser: 65532, fsGroup: 65532"),
        ("another one", "runAsUser: 1000, runAsGroup: 1000, fsGroup: 1000"),
    ] {
        on_the_whole_cluster(async |ns| {
            ns.apply(SECRET).await;
            let more = format!("podSpec: {{podSecurityContext: {{{pod_security}}}}}\n{CREDENTIALS}");
            ns.apply(shell_agent(SHOW, &more)).await;
            ns.apply(task("show")).await;
            let task = ns.phase("show", Phase::Completed).await;
            assert_eq!(log(ns, &task).await.trim(), SHOWN, "{user}");
        })
        .await;
    }
    on_the_whole_cluster(async |ns| {
        ns.apply(SECRET).await;
        ns.apply(shell_agent(SHOW, CREDENTIALS)).await;
        ns.apply(task("show")).await;
        let task = ns.phase("show", Phase::Completed).await;
        assert_eq!(log(ns, &task).await.trim(), SHOWN, "the image's own user");
    })
    .await;
}

#[tokio::test]
async fn a_restricted_namespace_takes_the_pod() {
    on_the_whole_cluster(async |ns| {
        ns.label_namespace("pod-security.kubernetes.io/enforce", "restricted").await;
        ns.apply(SECRET).await;
        let more = format!("podSpec: {{podSecurityContext: {{runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532}}}}\n{CREDENTIALS}");
        ns.apply(shell_agent(SHOW, &more)).await;
        ns
            .apply(task("show").spec("contexts: [{type: Text, text: word, mountPath: /etc/word}, {type: Text, text: known}]"))
            .await;
        let task = ns.phase("show", Phase::Completed).await;
        assert_eq!(log(ns, &task).await.trim(), SHOWN);
    })
    .await;
}
