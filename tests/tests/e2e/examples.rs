//! The complete examples of the specification, run as they stand: only hosts and the namespace are those of the tests.

use kubeopencode_api::task::Phase;

use crate::support::{log, model_namespace, on_the_whole_cluster, shell_agent};

const SIMPLE: &str = include_str!("../../fixtures/spec/architecture/16-simple-task-execution.yaml");
const CONTEXTS: &str = include_str!("../../fixtures/spec/architecture/17-multiple-contexts.yaml");

/// The example with one text in place of another, which must be in it.
fn with(example: &str, replacements: &[(&str, &str)]) -> String {
    replacements.iter().fold(example.to_owned(), |example, (from, to)| {
        assert!(example.contains(from), "the example has no {from}");
        example.replace(from, to)
    })
}

#[tokio::test]
async fn a_simple_task_runs_the_agents_own_command() {
    on_the_whole_cluster(async |stage| {
        let account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: kubeopencode-agent}, automountServiceAccountToken: false}";
        stage.apply(account).await;
        let model = format!(
            "  config: {{model: stub/m, provider: {{stub: {{npm: '@ai-sdk/openai-compatible', options: {{baseURL: 'http://model-stub.{}.svc/v1', apiKey: none-needed}}, models: {{m: {{}}}}}}}}}}\n  \
             podSpec: {{env: [{{name: OPENCODE_DISABLE_AUTOUPDATE, value: '1'}}, {{name: OPENCODE_DISABLE_MODELS_FETCH, value: '1'}}]}}\n  \
             workspaceDir: /workspace\n",
            model_namespace()
        );
        let example = with(
            SIMPLE,
            &[("namespace: kubeopencode-system", &format!("namespace: {}", stage.namespace)), ("  workspaceDir: /workspace\n", &model)],
        );
        stage.apply(&example).await;
        let task = stage.phase("update-service-a", Phase::Completed).await;
        let said = log(stage, &task).await;
        // its own command prints what it likes: events, and the prompt in quotes
        assert!(said.contains(r#""type":"text""#), "{said}");
        assert!(said.contains("The model stub was asked: ") && said.contains("Update dependencies to latest versions."), "{said}");
    })
    .await;
}

#[tokio::test]
async fn a_task_with_multiple_contexts_has_all_of_them() {
    on_the_whole_cluster(async |stage| {
        let script = "cat guide.md configs/a configs/b; cd repo && git branch --show-current && ls greet.sh";
        stage.apply(&shell_agent(script, "workspaceDir: /workspace")).await;
        stage.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: guides}, data: {refactoring-guide.md: 'A guide. ', other: o}}").await;
        stage.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: project-configs}, data: {a: 'First. ', b: \"Second.\\n\"}}").await;
        let repository = format!("http://sources.{}.svc.cluster.local/git/repo.git", model_namespace());
        let example = with(
            CONTEXTS,
            &[
                ("namespace: kubeopencode-system", &format!("namespace: {}", stage.namespace)),
                ("https://github.com/org/repo", &repository),
            ],
        );
        stage.apply(&example).await;
        let task = stage.phase("complex-task", Phase::Completed).await;
        assert_eq!(log(stage, &task).await, "A guide. First. Second.\nmain\ngreet.sh\n");
    })
    .await;
}
