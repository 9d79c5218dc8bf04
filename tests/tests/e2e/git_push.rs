//! An agent does work: the real OpenCode runs what its model asks for, and a branch is on the server.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;
use kube::runtime::wait::await_condition;
use kubeopencode_api::task::Phase;
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::objects::{self, config, config_map, replaced, secret};
use serde_json::json;

use crate::support::{
    agent_of_example, in_time, log, model_namespace, on_the_whole_cluster, with_its_objects,
};

const SOURCES: &str = include_str!("../../../deploy/local/sources.yaml");
/// Of a server whose image the nodes have.
const PATIENCE: Duration = Duration::from_secs(120);

/// A git server of this namespace alone, over https, whose authority is what the settings name.
async fn start_server(ns: &TestNamespace) -> String {
    let host = format!("sources.{}.svc.cluster.local", ns.name);
    let made = rcgen::generate_simple_self_signed([host.clone()]).unwrap();
    let certificate = made.cert.pem();
    ns.apply(secret(
        "sources-tls",
        &[("tls.crt", &certificate), ("tls.key", &made.signing_key.serialize_pem())],
    ))
    .await;
    ns.apply(config_map("authority", &[("ca.crt", &certificate)])).await;
    ns.apply(config("caBundle: {configMap: {name: authority, key: ca.crt}}")).await;

    // the one that all tests share has the image
    let shared =
        Api::<Deployment>::namespaced(ns.client.clone(), &model_namespace()).get("sources").await.unwrap();
    let image = shared.spec.unwrap().template.spec.unwrap().containers[0].image.clone().unwrap();
    ns.apply(&replaced(SOURCES, "@IMAGE@", &image)).await;
    let available = |deployment: Option<&Deployment>| {
        deployment.and_then(|deployment| deployment.status.as_ref()?.available_replicas) == Some(1)
    };
    in_time(PATIENCE, "the git server", await_condition(ns.api::<Deployment>(), "sources", available)).await;
    format!("https://{host}/git/private.git")
}

#[tokio::test]
async fn an_agent_clones_over_https_commits_and_pushes_a_branch() {
    on_the_whole_cluster(async |ns| {
        let repository = start_server(ns).await;
        ns.apply(with_its_objects(agent_of_example("shell"))).await;
        let work = "Say in the README that they keep it, and push that.\n\
            $ for program in git git-lfs gh curl jq rg python3 node make gcc unzip; do command -v $program || exit 1; done\n\
            $ echo 'int main(void) { return 0; }' | gcc -x c -o /tmp/equipped - && /tmp/equipped && test $(id -u) != 0 || rm /tmp/equipped\n\
            $ cd work && git switch --quiet --create keep-it && echo And they keep it. >>README.md && ls /git/push-0 >keys\n\
            $ cd work && git add --all && git commit --quiet --message 'Say that they keep it'\n\
            $ test -x /tmp/equipped && git -C work push --quiet origin HEAD\n";
        let clone = |path: &str, more: &str| {
            format!(
                "contexts: [{{type: Git, mountPath: {path}, git: {{repository: '{repository}', secretRef: {{name: sources-auth}}, {more}}}}}]"
            )
        };
        let push = clone("work", "push: true, identity: {name: Ada Lovelace, email: ada@example.com}");
        ns.apply(objects::task("push").description(work).spec(&push)).await;
        let task = ns.phase("push", Phase::Completed).await;
        let said = log(ns, &task).await;
        assert!(!said.contains("s3cret"), "{said}");

        // what is on the server, told by an agent that may only read: it has no Secret
        let script = "cd read && git log -1 --format='%an <%ae>, %cn: %s' && tail -n 1 README.md && cat keys && test ! -e /git && echo none";
        ns.apply(objects::agent("reader").set("/spec/command", json!(["sh", "-c", script]))).await;
        ns.apply(objects::task("read").spec(&clone("read", "ref: keep-it")).spec("agentRef: reader")).await;
        let task = ns.phase("read", Phase::Completed).await;
        assert_eq!(
            log(ns, &task).await,
            "Ada Lovelace <ada@example.com>, Ada Lovelace: Say that they keep it\nAnd they keep it.\npassword\nusername\nnone\n"
        );
    })
    .await;
}
