//! Something that happens once, and that others wait for.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

/// Something that happens once.
#[derive(Clone, Debug, Default)]
pub struct Once(Arc<CancellationToken>);

impl Once {
    /// It happened.
    pub fn set(&self) {
        self.0.cancel();
    }

    /// Whether it did.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it does.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }
}
