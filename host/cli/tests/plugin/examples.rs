//! The example plugins: their golden cases.

use crate::common::{example, examples};
use crate::in_folder;

#[test]
fn the_golden_cases_of_the_examples_pass() {
    for (name, cases) in [("claude-code", 4), ("prompt-library", 5), ("pull-request", 4)] {
        let (folder, component) = (examples().join(name), example(name));
        let said = in_folder(&folder, &["test", component.to_str().unwrap()]);
        assert!(
            said.stdout.ends_with(&format!("\n{cases} cases ok\n")),
            "{name}: {}{}",
            said.stdout,
            said.stderr
        );

        // built where plugin.toml says, or not built
        let said = in_folder(&folder, &["explain"]);
        let is_not_built = said.stderr.ends_with(": build it with `kubeopencode plugin build`\n");
        assert!(said.code == 0 || is_not_built, "{name}: {}", said.stderr);
    }
}
