//! Threads of the webhook's own.

use tokio::runtime::{Builder, Runtime};

/// How many threads answer reviews.
const WORKERS: usize = 2;

/// The webhook's threads cannot do their work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They do not start.
    #[error(transparent)]
    Start(#[from] std::io::Error),
    /// What they ran ended in a panic.
    #[error(transparent)]
    Panic(#[from] tokio::task::JoinError),
}

/// Threads of the webhook's own. A runtime must not be waited for where it is dropped, which may be in
/// another one.
pub(super) struct Threads(Option<Runtime>);

impl Threads {
    pub(super) fn start() -> Result<Self, Error> {
        let mut builder = Builder::new_multi_thread();
        let builder = builder.worker_threads(WORKERS).thread_name("webhook").enable_all();
        Ok(Self(Some(builder.build()?)))
    }

    /// Runs to the end on these threads.
    pub(super) async fn run<T: Send + 'static>(
        self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(runtime) = &self.0 else { return Err(std::io::Error::other("no threads").into()) };
        Ok(runtime.spawn(work).await?)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The runtime of this test has one thread, which is held up.
    #[tokio::test]
    async fn work_goes_on_while_the_threads_of_others_are_held_up() {
        let (answer, answered) = std::sync::mpsc::channel();
        let running = tokio::spawn(Threads::start().unwrap().run(async move {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            answer.send(std::thread::current().name().map(str::to_owned)).unwrap();
        }));
        tokio::task::yield_now().await;
        let name = answered.recv_timeout(std::time::Duration::from_secs(5)).unwrap();
        assert_eq!(name.as_deref(), Some("webhook"));
        running.await.unwrap().unwrap();
    }
}
