//! What the documents show works as it stands there.

use std::path::PathBuf;

use kubeopencode_api::task::Phase;
use kubeopencode_tests::docs::{Document, Use};
use kubeopencode_tests::namespace::TEAM;

use crate::scenario;

fn text(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[tokio::test]
async fn the_task_of_the_readme_completes() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let operator = ns.operator();
        let readme = Document::parse(&text("README.md"));
        let task = readme.blocks.iter().find(|block| block.used_as() == Some(Use::File("task.yaml")));
        ns.apply(&task.expect("README.md shows a Task").text).await;
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
