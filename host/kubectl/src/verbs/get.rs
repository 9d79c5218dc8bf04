//! `get`: Tasks in a table, and each change of them.
//!
//! May touch: a list and a watch of Tasks, stdout. Must not touch: what a row says, which `rows` does.

mod rows;

use std::collections::BTreeMap;

use futures::StreamExt;
use jiff::Timestamp;
use kube::api::{Api, ListParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kubeopencode_api::task::Task;

use self::rows::{Columns, Rows, names};
use crate::args::{Get, ListFormat, Place};
use crate::cluster::{Cluster, Contact, cause};
use crate::error::{Asked, Failure};
use crate::output::{Style, print, remark};

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
    let tasks = if flags.tasks.is_empty() {
        let selector = flags.selector.clone().unwrap_or_default();
        let listed = cluster.list::<Task>(namespace, &ListParams::default().labels(&selector)).await;
        listed.map_err(|error| Asked::all("Tasks", namespace).failed(&error))?
    } else {
        let mut tasks = Vec::new();
        for name in &flags.tasks {
            tasks.push(cluster.task(name).await?);
        }
        tasks
    };
    let rows = show.all(&tasks)?;
    if flags.watch {
        return show.changes(&cluster, &flags, namespace, rows, &tasks).await;
    }
    if tasks.is_empty() {
        let place =
            namespace.map_or("any namespace".to_owned(), |namespace| format!("namespace {namespace}"));
        remark(&format!("No Tasks in {place}: make one with kubectl kubeopencode run"));
    }
    Ok(())
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
        rows: Rows,
        tasks: &[Task],
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
        let key = |task: &Task| (task.key(), task.uid());
        let mut shown: BTreeMap<_, _> = tasks.iter().map(|task| (key(task), task.status.clone())).collect();
        let (mut seen, mut contact) =
            (std::pin::pin!(watcher(api, config).default_backoff()), Contact::default());
        let (style, mut has_head) = (Style::of_stdout(), !tasks.is_empty());
        while let Some(event) = seen.next().await {
            match event {
                Ok(Event::Apply(task) | Event::InitApply(task)) => {
                    contact = Contact::default();
                    if shown.get(&key(&task)) == Some(&task.status) {
                        continue;
                    }
                    let now = Timestamp::now();
                    if self.only_names {
                        print(names(std::slice::from_ref(&task)))?;
                    } else if has_head {
                        print(rows.later(&task, now, style))?;
                    } else {
                        print(Rows::new(self.columns, std::slice::from_ref(&task), now).print(style))?;
                    }
                    has_head = true;
                    shown.insert(key(&task), task.status);
                }
                Ok(Event::Delete(task)) => drop(shown.remove(&key(&task))),
                Ok(Event::Init | Event::InitDone) => contact = Contact::default(),
                Err(error) => contact.failed(&asked, cause(error))?,
            }
        }
        Err(contact.lost(&asked))
    }
}
