//! What runs in the Pod.

use kubeopencode_plugin_sdk::testing::build_request;
use kubeopencode_plugin_sdk::{BuildRequest, CommandBuilder, ErrorKind, PluginError, Tools};
use serde_json::{Value, json};

use super::Codex;

fn command(config: Option<Value>, change: impl FnOnce(&mut BuildRequest)) -> Result<String, PluginError> {
    let mut request = build_request();
    request.config = config.map(|config| config.to_string());
    change(&mut request);
    let plan = Codex::build(&request)?;
    assert_eq!(plan.tools, Tools::None);
    assert_eq!(plan.command[..2], ["sh", "-c"]);
    Ok(plan.command[2].clone())
}

#[test]
fn a_task_runs_without_a_terminal_with_its_prompt_on_stdin() {
    assert_eq!(
        command(None, |_| {}).unwrap(),
        "exec /tools/kubeopencode agent-run -- codex exec --skip-git-repo-check \
         --dangerously-bypass-approvals-and-sandbox < /workspace/task.md"
    );
}

#[test]
fn the_agents_config_is_keys_of_codex() {
    let config = json!({
        "model": "gpt-5-codex", "sandbox_mode": "workspace-write", "hide_agent_reasoning": true,
        "mcp_servers": {"docs": {"url": "https://mcp.example.com", "enabled_tools": ["search"]}},
    });
    assert_eq!(
        command(Some(config), |_| {}).unwrap(),
        "exec /tools/kubeopencode agent-run -- codex exec --skip-git-repo-check -c hide_agent_reasoning=true \
         -c 'mcp_servers={\"docs\" = {\"enabled_tools\" = [\"search\"], \"url\" = \"https://mcp.example.com\"}}' \
         -c 'model=\"gpt-5-codex\"' -c 'sandbox_mode=\"workspace-write\"' < /workspace/task.md"
    );
}

#[test]
fn contexts_are_a_file_that_it_is_told_to_read() {
    let config = json!({"developer_instructions": "Be brief."});
    let said = command(Some(config), |request| {
        request.context_path = Some("/workspace/.kubeopencode/context.md".to_owned());
    });
    let words = "-c 'developer_instructions=\"Be brief.\\nRead /workspace/.kubeopencode/context.md before you begin: \
                 it is what you work with.\"' <";
    assert!(said.as_ref().unwrap().contains(words), "{said:?}");
}

#[test]
fn what_it_cannot_do_is_an_error() {
    let unsupported = command(None, |request| request.attach_to = Some("http://server:4096".to_owned()));
    assert_eq!(unsupported.unwrap_err().kind, ErrorKind::Unsupported);
    let nothing = command(None, |request| request.prompt_path = None).unwrap_err();
    assert!(nothing.message.starts_with("the Task has nothing to do: "), "{}", nothing.message);
    let null = command(Some(json!({"model": null})), |_| {}).unwrap_err();
    assert_eq!(
        null.message,
        "spec.config.model of the Agent: null is no value of Codex CLI: leave the key out"
    );
}
