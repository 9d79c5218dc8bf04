//! What is left of a Batch's Tasks when it is deleted, cleaned up, or made again.

use std::collections::BTreeSet;

use kube::api::PropagationPolicy;
use kubeopencode_tests::objects::{batch, config};
use kubeopencode_tests::record::Kind;

use super::{create, delete, names, stop, task_in, tasks, until_phase};
use crate::scenario;

#[tokio::test]
async fn deletion_takes_the_tasks_with_their_pods_in_both_orders() {
    scenario(async |ns| {
        let _operator = ns.operator();
        for (name, policy) in
            [("back", PropagationPolicy::Background), ("fore", PropagationPolicy::Foreground)]
        {
            create(ns, batch(name, 6).parallelism(3).does("run-on")).await;
            for index in 0..3 {
                task_in(ns, &format!("{name}-task-{index}"), "Running").await;
            }
            delete(ns, name, policy).await;
            ns.gone(Kind::Batch, name).await;
            ns.until(&format!("nothing of {name} is left"), |history| {
                let of_batch = |kind| history.all(kind).any(|object| object.name().starts_with(name));
                (!of_batch(Kind::KubeTask) && !of_batch(Kind::Pod)).then_some(())
            })
            .await;
        }
        assert_eq!(names(ns).len(), 6, "nothing was made after the deletion: {:?}", names(ns));
    })
    .await;
}

#[tokio::test]
async fn orphans_that_run_run_on_and_the_others_fail() {
    scenario(async |ns| {
        let _operator = ns.operator();
        create(ns, batch("b", 4).parallelism(2).does("run-on")).await;
        for name in ["b-task-0", "b-task-1"] {
            task_in(ns, name, "Running").await;
        }
        create(ns, batch("w", 2).spec("workspaceConfigRef: missing")).await;
        ns.until("both wait for their WorkspaceConfig", |history| {
            let waits = |name| {
                history.get(Kind::KubeTask, name).is_some_and(|task| !task.text("/status/phase").is_empty())
            };
            (waits("w-task-0") && waits("w-task-1")).then_some(())
        })
        .await;
        delete(ns, "b", PropagationPolicy::Orphan).await;
        delete(ns, "w", PropagationPolicy::Orphan).await;
        for name in ["w-task-0", "w-task-1"] {
            task_in(ns, name, "Failed").await;
            let task = tasks(ns).get(name).await.unwrap();
            let (reason, message) = task.status.and_then(|status| status.reason.zip(status.message)).unwrap();
            assert!(reason == "ContextError" && message.contains("its Batch is gone"), "{reason}: {message}");
        }
        for name in ["b-task-0", "b-task-1"] {
            let task = tasks(ns).get(name).await.unwrap();
            assert_eq!(
                task.status.and_then(|status| status.phase).map(|phase| phase.as_str()),
                Some("Running")
            );
            stop(ns, name).await;
            task_in(ns, name, "Completed").await;
        }
        assert_eq!(names(ns).len(), 4, "no further one was made");
    })
    .await;
}

#[tokio::test]
async fn a_batch_is_cleaned_up_as_a_whole() {
    scenario(async |ns| {
        ns.apply(config("cleanup: {maxRetainedTasks: 1}")).await;
        let _operator = ns.operator();
        // in one second the older one counts as the first to end
        create(ns, batch("quick", 2)).await;
        create(ns, batch("slow", 3).parallelism(1).does_at(2, "run-on")).await;
        task_in(ns, "slow-task-2", "Running").await;
        until_phase(ns, "quick", "Completed").await;
        stop(ns, "slow-task-2").await;
        ns.gone(Kind::Batch, "quick").await;
        ns.until("the Tasks of the one that ended last are there, and no other", |history| {
            let names: BTreeSet<_> = history.all(Kind::KubeTask).map(|task| task.name()).collect();
            (names == BTreeSet::from(["slow-task-0", "slow-task-1", "slow-task-2"])).then_some(())
        })
        .await;
        until_phase(ns, "slow", "Completed").await;
    })
    .await;
}

/// A Batch of a name takes over nothing of an older one, and waits until that is gone.
#[tokio::test]
async fn a_batch_of_the_same_name_waits_for_the_tasks_of_the_older_one() {
    scenario(async |ns| {
        let _operator = ns.operator();
        create(ns, batch("b", 2).does("run-on")).await;
        task_in(ns, "b-task-1", "Running").await;
        delete(ns, "b", PropagationPolicy::Background).await;
        create(ns, batch("b", 2)).await;
        let status = until_phase(ns, "b", "Completed").await;
        assert_eq!(status["completedIndexes"], "0,1");
    })
    .await;
}
