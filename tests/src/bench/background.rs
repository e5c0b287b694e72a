//! A runtime for attackers, whose threads give way to everything else: strangers have machines of their own,
//! and must not take the processor from whom they attack here.

use anyhow::Context as _;
use tokio::runtime::{Builder, Handle, Runtime};

/// By how much its threads are nicer than others.
const NICE: i32 = 10;

/// The runtime, until this goes; what runs in it goes along.
pub struct Background {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Background {
    /// Starts its threads.
    ///
    /// # Errors
    /// When they do not start.
    pub fn start() -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            // On Linux this holds for the thread that asks for it.
            .on_thread_start(|| {
                let _niceness = rustix::process::nice(NICE);
            })
            .enable_all()
            .build()
            .context("starting a runtime for attackers")?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Where to spawn.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
