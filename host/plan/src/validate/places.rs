//! Where a context may go that its Agent did not write. The Agent says what its agent is, what it is allowed and where its
//! keys go; a file in the right place would say otherwise.
//!
//! May touch: paths and names of variables. Must not touch: a file system.

use kubeopencode_api::globs::matches;

use super::env::decides_on_programs;
use crate::item::Item;
use crate::paths::AbsPath;
use crate::{Refusal, Run};

/// Refuses a path at which a Task's context would replace what the agent runs through or is told by, and one that the
/// Agent's `taskMountPaths` do not allow.
pub(super) fn check(run: &Run, item: &Item, path: &AbsPath) -> Result<(), Refusal> {
    let Some(image_paths) = run.conventions.image_paths.filter(|_| !item.is_agents()) else {
        return Ok(());
    };
    let (agent, workspace) = (&run.agent, &run.agent.workspace);
    let in_workspace = path.is_within(workspace);
    if !in_workspace && let Some(reserved) = reserved(run, image_paths, path) {
        return Err(item.refused(format!(
            "path {path} reaches into {reserved}: choose one in the workspace {workspace}, or let {} hold the context",
            agent.described
        )));
    }
    match &agent.task_mount_paths {
        Some(patterns) if patterns.iter().any(|pattern| covers(pattern, path)) => Ok(()),
        Some(patterns) => {
            let patterns: Vec<_> = patterns.iter().map(AbsPath::as_str).collect();
            Err(item.refused(format!(
                "path {path} is not in spec.taskMountPaths of {} (allowed: [{}]): choose one that is, or add it there",
                agent.described,
                patterns.join(", ")
            )))
        }
        None if in_workspace || !run.is_cross_namespace() => Ok(()),
        None => Err(item.refused(format!(
            "path {path} lies outside of the workspace {workspace}, where Tasks of other namespaces mount nothing: choose \
             one in the workspace, or add {path} to spec.taskMountPaths of {}",
            agent.described
        ))),
    }
}

impl Run {
    /// Why the Task is refused for where its contexts go: each that its Agent does not allow there.
    pub fn misplaced(&self) -> Vec<Refusal> {
        let placed = self.items.iter().filter_map(|item| Some((item, item.mount_path()?)));
        placed.filter_map(|(item, path)| check(self, item, path).err()).collect()
    }
}

/// Whether the pattern names the path, or a directory that it lies in.
fn covers(pattern: &AbsPath, path: &AbsPath) -> bool {
    let fits = |path: &str| matches(pattern.as_str(), path) == Ok(true);
    fits(path.as_str()) || path.ancestors().any(fits)
}

/// What a path outside of the workspace must not touch, in words that follow "reaches into".
fn reserved(run: &Run, image_paths: &[&'static str], path: &AbsPath) -> Option<String> {
    if let Some(place) = path.touches(image_paths) {
        return Some(format!("{place}, which the agent's image decides on"));
    }
    let env = &run.agent.pod.env;
    let set =
        |name: &str| env.iter().rfind(|variable| variable.name == name).and_then(|own| own.value.as_deref());
    let by_default =
        run.conventions.base_env.iter().find(|(name, _)| *name == "HOME").map(|(_, value)| *value);
    let home = set("HOME").or(by_default).and_then(|home| AbsPath::parse(home, None).ok());
    if let Some(home) = home
        && (home.is_within(path) || path.first_below(&home).is_some_and(|name| name.starts_with('.')))
    {
        return Some(format!("the settings of programs in the agent's home {home}"));
    }
    let by_env = env.iter().filter(|variable| decides_on_programs(&variable.name) && variable.name != "HOME");
    let by_env = by_env.flat_map(|variable| {
        let value = variable.value.as_deref().unwrap_or_default();
        value.split(':').map(move |place| (place, format!("variable {} of its podSpec", variable.name)))
    });
    let program = run.agent.argv.first().map(|program| (program.as_str(), "its command".to_owned()));
    by_env.chain(program).filter(|(place, _)| place.starts_with('/')).find_map(|(place, by)| {
        let place = AbsPath::parse(place, None).ok()?;
        let touches = path.is_within(&place) || place.is_within(path);
        // the Agent itself put that into the hands of whoever writes to the workspace
        let is_workspace = run.agent.workspace.is_within(&place) || place.is_within(&run.agent.workspace);
        (touches && !is_workspace).then(|| format!("{place}, which the Agent names in {by}"))
    })
}
