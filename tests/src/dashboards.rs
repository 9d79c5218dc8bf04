//! The chart's alerts and dashboard name metrics and labels that the operator has.
//!
//! A metric that does not exist is no error for Prometheus: the alert never fires and the panel stays empty. Must not
//! touch: a cluster.

use std::collections::{BTreeMap, BTreeSet};

use kubeopencode_api::names::AgentKey;
use kubeopencode_api::report::Usage;
use kubeopencode_api::task::Phase;
use kubeopencode_operator::Metrics;
use serde_json::Value;

const ALERTS: &str = include_str!("../../deploy/chart/files/alerts.yaml");
const DASHBOARD: &str = include_str!("../../deploy/chart/files/dashboard.json");

/// Every name that a scrape shows, with its labels. A metric that is not recorded here is not in the answer.
fn scraped() -> BTreeMap<String, BTreeSet<String>> {
    let metrics = Metrics::default();
    metrics.phase("team", Phase::Running);
    metrics.tasks(Phase::Running, 1);
    metrics.launched(true, 1.0);
    metrics.agent(&AgentKey::new("team", "default"), Some(3), 2);
    metrics.failed("conflict");
    metrics.watch_event("Task", 1_700_000_000);
    let usage = Usage { input_tokens: Some(1), cost_usd: Some("0.25".to_owned()), ..Usage::default() };
    metrics.used("team", Some(&AgentKey::new("team", "default")), &usage);
    let text = metrics.text();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.split_once(' ').unwrap().0)
        .map(|series| name_and_labels(series).unwrap())
        .collect()
}

/// `a_total{phase="x",reason=~"y|z"}` is `a_total` with `phase` and `reason`.
fn name_and_labels(series: &str) -> Option<(String, BTreeSet<String>)> {
    let end = series.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap_or(series.len());
    let (name, rest) = series.split_at(end);
    let labels =
        rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
    let matchers = labels.split("\",").filter(|matcher| !matcher.is_empty());
    let names =
        matchers.filter_map(|matcher| matcher.split_once(['=', '!'])).map(|(name, _)| name.trim().to_owned());
    (name != "kubeopencode_").then(|| (name.to_owned(), names.collect()))
}

/// Every query of a document: what stands under `expr` or `query`.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == "expr" || key == "query" => found.push(text.clone()),
                    other => queries(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

#[test]
fn alerts_and_dashboard_name_what_the_operator_measures() {
    let scraped = scraped();
    let mut all = Vec::new();
    queries(&serde_norway::from_str(ALERTS).unwrap(), &mut all);
    let alerts = all.len();
    queries(&serde_json::from_str(DASHBOARD).unwrap(), &mut all);
    assert!(alerts > 3 && all.len() > alerts + 10, "{all:?}");
    for query in all.iter().filter(|query| *query != "prometheus") {
        let named: Vec<_> = query
            .match_indices("kubeopencode_")
            .filter_map(|(at, _)| name_and_labels(&query[at..]))
            .collect();
        assert!(!named.is_empty(), "no metric of the operator is in: {query}");
        for (name, labels) in named {
            let known =
                scraped.get(&name).unwrap_or_else(|| panic!("{name} is measured by nobody, in: {query}"));
            assert!(labels.is_subset(known), "{name} has the labels {known:?}, not those in: {query}");
        }
    }
}
