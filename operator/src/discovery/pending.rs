//! Handshakes that are under way: whoever connects may make one, so that the oldest gives way where
//! there are too many. An honest one is over in milliseconds.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// How many may be under way at once.
const MOST: usize = 256;

/// Those that are.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    oldest_first: VecDeque<(u64, CancellationToken)>,
}

/// One of them, until this goes.
#[derive(Debug)]
pub(super) struct Turn {
    pending: Arc<Pending>,
    id: u64,
    token: CancellationToken,
}

impl Pending {
    /// One more.
    pub(super) fn begin(self: &Arc<Self>) -> Turn {
        let mut inner = self.lock();
        if inner.oldest_first.len() >= MOST
            && let Some((_, oldest)) = inner.oldest_first.pop_front()
        {
            oldest.cancel();
        }
        let (id, token) = (inner.next, CancellationToken::new());
        inner.next += 1;
        inner.oldest_first.push_back((id, token.clone()));
        Turn { pending: self.clone(), id, token }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Waits until it was given to somebody else.
    pub(super) async fn given_away(&self) {
        self.token.cancelled().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.pending.lock().oldest_first.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn the_oldest_handshake_gives_way_to_the_newest() {
        let pending = Arc::new(Pending::default());
        let turns: Vec<Turn> = (0..MOST).map(|_| pending.begin()).collect();
        let is_away = |turn: &Turn| turn.given_away().now_or_never().is_some();
        assert!(!turns.iter().any(is_away));
        let newest = pending.begin();
        assert!(is_away(&turns[0]) && !is_away(&turns[1]) && !is_away(&newest));
        drop(turns);
        assert_eq!(pending.lock().oldest_first.len(), 1);
    }
}
