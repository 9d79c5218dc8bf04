//! `kubeopencode wait-task`: the end of a Task, for the Pod of `helm test`, whose image has no kubectl.
//!
//! May touch: one Task of a cluster, which it reads; stdout. Must not touch: how the Task ends, which its status says.

use kube::api::Api;
use kube::runtime::wait::await_condition;
use kubeopencode_api::task::{Phase, Task};

use crate::args::WaitTask;
use crate::cluster::client;
use crate::error::CliError;

/// Waits until a Task of this Pod's namespace, or of the kubeconfig's, is over.
///
/// # Errors
/// When it is Failed, or not over in time, with what its status says; when the cluster cannot be asked.
pub(crate) fn main(flags: &WaitTask) -> Result<(), CliError> {
    println!("{}", crate::runtime()?.block_on(wait(flags))?);
    Ok(())
}

async fn wait(flags: &WaitTask) -> Result<String, CliError> {
    let client = client(None).await?;
    let namespace = client.default_namespace().to_owned();
    let tasks = Api::<Task>::namespaced(client, &namespace);
    let name = format!("{namespace}/{}", flags.name);
    let is_over = |task: Option<&Task>| task.is_some_and(Task::is_terminal);
    let over = await_condition(tasks.clone(), &flags.name, is_over);
    match tokio::time::timeout(flags.timeout, over).await {
        Ok(Ok(task)) => outcome(&name, task.as_ref()).map_err(CliError::Task),
        Ok(Err(error)) => Err(CliError::Task(format!("Task {name} cannot be watched: {error}"))),
        Err(_) => {
            let task = tasks.get_opt(&flags.name).await?;
            outcome(&name, task.as_ref())
                .map_err(|why| CliError::Task(format!("{why}, after {} s", flags.timeout.as_secs())))
        }
    }
}

/// What is said of a Task: an error unless it is Completed.
fn outcome(name: &str, task: Option<&Task>) -> Result<String, String> {
    let Some(task) = task else { return Err(format!("Task {name} is not there")) };
    let phase = task.phase();
    let is = format!("Task {name} is {}", phase.as_str());
    if phase == Phase::Completed {
        return Ok(is);
    }
    let Some(status) = &task.status else {
        return Err(format!("{is}: no operator has seen it, see the log of the operator"));
    };
    let reason = status.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let message = status.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    Err(format!("{is}{reason}{message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(status: serde_json::Value) -> Task {
        let object = serde_json::json!({
            "apiVersion": "kubeopencode.io/v1alpha1", "kind": "Task", "metadata": {"name": "a"},
            "spec": {}, "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_completed_task_is_well() {
        let task = task(serde_json::json!({"phase": "Completed", "reason": "Completed", "message": "m"}));
        assert_eq!(outcome("team/a", Some(&task)).unwrap(), "Task team/a is Completed");
    }

    #[test]
    fn any_other_says_why() {
        let of = |status| outcome("team/a", Some(&task(status))).unwrap_err();
        let failed = serde_json::json!({"phase": "Failed", "reason": "AgentError", "message": "exit code 1"});
        assert_eq!(of(failed), "Task team/a is Failed (AgentError): exit code 1");
        assert_eq!(of(serde_json::json!({"phase": "Running"})), "Task team/a is Running");
        let unseen = "Task team/a is Pending: no operator has seen it, see the log of the operator";
        assert_eq!(of(serde_json::Value::Null), unseen);
        assert_eq!(outcome("team/a", None).unwrap_err(), "Task team/a is not there");
    }
}
