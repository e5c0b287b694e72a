//! Tasks without which connections must not go on: what ends one of them ends the process.
//!
//! A panic ends a task and nothing else. Where the task enforces something, or reads what is to be enforced,
//! everything else would go on without it.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A task ended that must not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task {name} {how}; connections cannot go on without it")]
pub struct TaskEnded {
    name: &'static str,
    /// `ended` or `panicked`.
    how: &'static str,
}

/// Where essential tasks are registered.
#[derive(Clone, Debug)]
pub(crate) struct Essential(UnboundedSender<TaskEnded>);

/// The first of them that ended.
#[derive(Debug)]
pub(crate) struct Ended(UnboundedReceiver<TaskEnded>);

pub(crate) fn tasks() -> (Essential, Ended) {
    let (sender, receiver) = unbounded_channel();
    (Essential(sender), Ended(receiver))
}

impl Essential {
    /// Runs a task, and reports when it ends. That it is aborted is not reported.
    pub(crate) async fn run(self, name: &'static str, task: impl Future<Output = ()>) {
        let ended = AssertUnwindSafe(task).catch_unwind().await;
        let how = if ended.is_ok() { "ended" } else { "panicked" };
        // Without a receiver, the process ends already.
        drop(self.0.send(TaskEnded { name, how }));
    }
}

impl Ended {
    /// Waits until a task ends; for ever, where none is left that could.
    pub(crate) async fn first(&mut self) -> TaskEnded {
        match self.0.recv().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn task_that_panics_or_ends_is_reported_by_name_and_one_that_is_aborted_is_not() {
        let (essential, mut ended) = tasks();
        let aborted = tokio::spawn(essential.clone().run("aborted", std::future::pending()));
        aborted.abort();
        assert!(aborted.await.is_err());
        tokio::spawn(essential.clone().run("sweep", async { panic!("a panic of the test") }));
        let first = ended.first().await;
        assert_eq!(first, TaskEnded { name: "sweep", how: "panicked" });
        assert!(first.to_string().starts_with("task sweep panicked"), "{first}");
        tokio::spawn(essential.run("credentials", async {}));
        assert_eq!(ended.first().await, TaskEnded { name: "credentials", how: "ended" });
        assert!(ended.first().now_or_never().is_none(), "no other task has ended");
    }
}
