//! What the documents show works as it stands there.

use std::path::PathBuf;

use kubeopencode_api::task::Phase;
use kubeopencode_tests::namespace::TEAM;

use crate::scenario;

fn text(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fenced blocks of a language in a Markdown text.
fn blocks<'a>(markdown: &'a str, language: &str) -> Vec<&'a str> {
    let fences = markdown.split("\n```").skip(1).step_by(2);
    fences.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

#[tokio::test]
async fn the_task_of_the_readme_completes() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let operator = ns.operator();
        let readme = text("README.md");
        let yaml = blocks(&readme, "yaml");
        assert_eq!(yaml.len(), 1, "this test knows of one block of YAML in README.md");
        ns.apply(yaml[0]).await;
        ns.phase("hello", Phase::Completed).await;
        operator.stop().await;
    })
    .await;
}

#[tokio::test]
async fn the_quickstart_is_taken_by_the_api_server() {
    scenario(async |ns| {
        for path in ["examples/quickstart/agent.yaml", "examples/quickstart/task.yaml"] {
            ns.apply(&text(path)).await;
        }
    })
    .await;
}
