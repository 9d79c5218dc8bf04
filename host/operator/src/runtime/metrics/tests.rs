//! The names, and that a scrape is taken.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;

fn all_of_them() -> Metrics {
    let metrics = Metrics::default();
    let agent = AgentKey::new("team", "default");
    metrics.phase("team", Phase::Running);
    metrics.tasks(Phase::Running, 1);
    metrics.batch("team", "Paused");
    metrics.launched(true, 1.0);
    metrics.agent(&agent, Some(3), 2);
    metrics.failed("conflict");
    metrics.called("Text", "ok", 0.0001, Used { fuel: 1200, memory: 0 });
    metrics.plugins("ready", 2);
    metrics.plugin_loaded(0.1);
    metrics.plugin_not_loaded("compile");
    metrics.watch_event("Task", 1_700_000_000);
    let usage = |input_tokens| Usage {
        input_tokens: Some(input_tokens),
        output_tokens: Some(5),
        cost_usd: Some("0.25".into()),
        ..Usage::default()
    };
    metrics.used("guest", Some(&agent), &usage(7));
    metrics.used("team", Some(&agent), &usage(3));
    metrics.used("team", None, &usage(4));
    metrics
}

#[test]
fn the_names_are_those_of_the_contract() {
    let text = all_of_them().text();
    for line in [
        "kubeopencode_tasks_total{namespace=\"team\",phase=\"Running\"} 1",
        "kubeopencode_tasks{phase=\"Running\"} 1",
        "kubeopencode_batches_total{namespace=\"team\",phase=\"Paused\"} 1",
        "kubeopencode_task_cost_usd_total{namespace=\"team\",agent=\"default\"} 0.5",
        "kubeopencode_task_tokens_total{namespace=\"team\",agent=\"default\",kind=\"input\"} 10",
        "kubeopencode_task_tokens_total{namespace=\"team\",agent=\"default\",kind=\"output\"} 10",
        "kubeopencode_task_cost_usd_total{namespace=\"team\",agent=\"\"} 0.25",
        "kubeopencode_task_tokens_total{namespace=\"team\",agent=\"\",kind=\"input\"} 4",
        "kubeopencode_task_queue_seconds_count 1",
        "kubeopencode_task_launch_seconds_count 0",
        "kubeopencode_task_duration_seconds_count 0",
        "kubeopencode_agent_capacity{namespace=\"team\",agent=\"default\"} 3",
        "kubeopencode_agent_queue_length{namespace=\"team\",agent=\"default\"} 2",
        "kubeopencode_reconcile_duration_seconds_count 0",
        "kubeopencode_reconcile_errors_total{reason=\"conflict\"} 1",
        "kubeopencode_plugin_calls_total{plugin=\"Text\",outcome=\"ok\"} 1",
        "kubeopencode_plugin_fuel_total{plugin=\"Text\"} 1200",
        "kubeopencode_plugin_call_seconds_count{plugin=\"Text\"} 1",
        "kubeopencode_plugins{state=\"ready\"} 2",
        "kubeopencode_plugin_load_seconds_count 1",
        "kubeopencode_plugin_load_failures_total{stage=\"compile\"} 1",
        "kubeopencode_watch_last_event_timestamp_seconds{kind=\"Task\"} 1700000000",
        "kubeopencode_build_info{version=",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

/// By the parser of the format's authors, which takes a scrape whole or not at all.
#[test]
fn the_text_is_open_metrics() {
    let parse = "import sys; from prometheus_client.openmetrics.parser import text_string_to_metric_families as families\n\
        for family in families(sys.stdin.read()): print(family.name, family.type, len(family.samples))";
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", parse])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(all_of_them().text().as_bytes()).unwrap();
    let parsed = python.wait_with_output().unwrap();
    assert!(parsed.status.success());
    let families = String::from_utf8(parsed.stdout).unwrap();
    for family in [
        "kubeopencode_tasks gauge 1",
        "kubeopencode_tasks_total unknown 1",
        "kubeopencode_task_cost_usd counter 2",
    ] {
        assert!(families.lines().any(|line| line == family), "{family} is missing in\n{families}");
    }
}
