//! The complete examples of the specification, run as they stand: only hosts and the namespace are those of the tests.

use kubeopencode_api::task::Phase;
use kubeopencode_tests::objects::replaced;

use crate::support::{log, model_namespace, on_the_whole_cluster, shell_agent};

const SIMPLE: &str = include_str!("../../fixtures/spec/architecture/16-simple-task-execution.yaml");
const CONTEXTS: &str = include_str!("../../fixtures/spec/architecture/17-multiple-contexts.yaml");

#[tokio::test]
async fn a_simple_task_runs_the_agents_own_command() {
    on_the_whole_cluster(async |ns| {
        let account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: kubeopencode-agent}, automountServiceAccountToken: false}";
        ns.apply(account).await;
        let model = format!(
            "  config: {{model: stub/m, provider: {{stub: {{npm: '@ai-sdk/openai-compatible', options: {{baseURL: 'http://model-stub.{}.svc/v1', apiKey: none-needed}}, models: {{m: {{}}}}}}}}}}\n  \
             podSpec: {{env: [{{name: OPENCODE_DISABLE_AUTOUPDATE, value: '1'}}, {{name: OPENCODE_DISABLE_MODELS_FETCH, value: '1'}}]}}\n  \
             workspaceDir: /workspace\n",
            model_namespace()
        );
        let example = replaced(SIMPLE, "namespace: kubeopencode-system", &format!("namespace: {}", ns.name));
        let example = replaced(&example, "  workspaceDir: /workspace\n", &model);
        ns.apply(&example).await;
        let task = ns.phase("update-service-a", Phase::Completed).await;
        let said = log(ns, &task).await;
        // its own command prints what it likes: events, and the prompt in quotes
        assert!(said.contains(r#""type":"text""#), "{said}");
        assert!(said.contains("The model stub was asked: ") && said.contains("Update dependencies to latest versions."), "{said}");
    })
    .await;
}

#[tokio::test]
async fn a_task_with_multiple_contexts_has_all_of_them() {
    on_the_whole_cluster(async |ns| {
        let script = "cat guide.md configs/a configs/b; cd repo && git branch --show-current && ls greet.sh";
        ns.apply(shell_agent(script, "workspaceDir: /workspace")).await;
        ns.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: guides}, data: {refactoring-guide.md: 'A guide. ', other: o}}").await;
        ns.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: project-configs}, data: {a: 'First. ', b: \"Second.\\n\"}}").await;
        let repository = format!("http://sources.{}.svc.cluster.local/git/repo.git", model_namespace());
        let example = replaced(CONTEXTS, "namespace: kubeopencode-system", &format!("namespace: {}", ns.name));
        let example = replaced(&example, "https://github.com/org/repo", &repository);
        ns.apply(&example).await;
        let task = ns.phase("complex-task", Phase::Completed).await;
        assert_eq!(log(ns, &task).await, "A guide. First. Second.\nmain\ngreet.sh\n");
    })
    .await;
}
