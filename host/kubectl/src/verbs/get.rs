//! `get`: Tasks in a table, and each change of them.
//!
//! May touch: a list and a watch of Tasks, stdout. Must not touch: what a row says, which `rows` does, and what is a change,
//! which `shown` does.

mod rows;
mod shown;

use jiff::Timestamp;
use kube::api::{Api, ListParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kubeopencode_api::task::Task;

use self::rows::{Columns, Rows, names};
use self::shown::{Change, Shown};
use crate::args::{Get, ListFormat, Place};
use crate::cluster::{Cluster, Contact, next};
use crate::error::{Asked, Failure};
use crate::output::{Style, print, remark};
use crate::verbs::keep;

/// Prints Tasks, and their changes where that is wanted.
///
/// # Errors
/// When they may not be read, or one that is named is not there.
pub(crate) async fn main(flags: Get, place: &Place) -> Result<(), Failure> {
    let show = Show {
        columns: Columns { namespace: flags.all_namespaces, wide: flags.output == Some(ListFormat::Wide) },
        only_names: flags.output == Some(ListFormat::Name),
    };
    if flags.watch && flags.tasks.len() > 1 {
        return Err(Failure::Refused("get -w watches one Task, or all: name one, or none".to_owned()));
    }
    let cluster = Cluster::connect(place).await?;
    let namespace = (!flags.all_namespaces).then_some(cluster.namespace.as_str());
    let mut all_found = Ok(());
    let tasks = if flags.tasks.is_empty() {
        let selector = flags.selector.clone().unwrap_or_default();
        let listed = cluster.list::<Task>(namespace, &ListParams::default().labels(&selector)).await;
        listed.map_err(|error| Asked::all("Tasks", namespace).failed(&error))?
    } else {
        let mut tasks = Vec::new();
        for name in &flags.tasks {
            match cluster.task(name).await {
                Ok(task) => tasks.push(task),
                Err(failure @ Failure::Failed(_)) => keep(&mut all_found, failure),
                Err(failure) => return Err(failure),
            }
        }
        tasks
    };
    let rows = show.all(&tasks)?;
    all_found?;
    if flags.watch {
        return show.changes(&cluster, &flags, namespace, rows, tasks).await;
    }
    if tasks.is_empty() {
        remark(&none(namespace, flags.selector.as_deref()));
    }
    Ok(())
}

/// What is said where there is nothing to list.
fn none(namespace: Option<&str>, selector: Option<&str>) -> String {
    let place = namespace.map_or("any namespace".to_owned(), |namespace| format!("namespace {namespace}"));
    match selector.filter(|selector| !selector.is_empty()) {
        None => format!("No Tasks in {place}: make one with kubectl kubeopencode run"),
        Some(selector) => format!("No Tasks with {selector} in {place}: without -l all are listed"),
    }
}

struct Show {
    columns: Columns,
    only_names: bool,
}

impl Show {
    fn all(&self, tasks: &[Task]) -> Result<Rows, Failure> {
        let rows = Rows::new(self.columns, tasks, Timestamp::now());
        if self.only_names {
            print(names(tasks))?;
        } else if !tasks.is_empty() {
            print(rows.print(Style::of_stdout()))?;
        }
        Ok(rows)
    }

    /// Each change, until nobody reads any more.
    async fn changes(
        &self,
        cluster: &Cluster,
        flags: &Get,
        namespace: Option<&str>,
        mut rows: Rows,
        tasks: Vec<Task>,
    ) -> Result<(), Failure> {
        let mut config = watcher::Config::default();
        if let Some(name) = flags.tasks.first() {
            config = config.fields(&format!("metadata.name={name}"));
        }
        if let Some(selector) = &flags.selector {
            config = config.labels(selector);
        }
        let api = match namespace {
            Some(namespace) => cluster.of(namespace),
            None => Api::<Task>::all(cluster.client.clone()),
        };
        let asked = Asked::all("Tasks", namespace);
        let (style, mut has_head) = (Style::of_stdout(), !tasks.is_empty());
        let mut shown = Shown::new(tasks);
        let mut seen = std::pin::pin!(watcher(api.clone(), config).default_backoff());
        let mut contact = Contact::default();
        loop {
            let changes = shown.see(next(&mut seen, &mut contact, &api, &asked).await?);
            let now = Timestamp::now();
            for change in changes {
                match change {
                    Change::Gone(_) if self.only_names => {}
                    Change::Gone(task) => print(rows.gone(&task, now, style))?,
                    Change::Now(task) if self.only_names => print(names(std::slice::from_ref(&task)))?,
                    Change::Now(task) if has_head => print(rows.later(&task, now, style))?,
                    Change::Now(task) => {
                        rows = Rows::new(self.columns, std::slice::from_ref(&task), now);
                        print(rows.print(style))?;
                        has_head = true;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_says_what_was_looked_for() {
        assert_eq!(
            none(Some("team"), Some("")),
            "No Tasks in namespace team: make one with kubectl kubeopencode run"
        );
        assert_eq!(
            none(None, Some("page=kubectl")),
            "No Tasks with page=kubectl in any namespace: without -l all are listed"
        );
    }
}
