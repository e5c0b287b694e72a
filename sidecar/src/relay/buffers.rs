//! Buffers that the connections of a worker share.
//!
//! A worker is one thread, and serves one connection at a time: while it does, that connection has
//! the buffers, and afterwards the next one has. Only bytes that cannot go on yet stay in a buffer
//! of their own. An idle connection has none, and those that flow share what is warm in the cache.

use std::cell::RefCell;

use crate::record::{MAX_PLAINTEXT, OVERHEAD, Session};

/// Eight records of the largest size, and room for what goes before them.
pub(super) const SIZE: usize = 9 * (MAX_PLAINTEXT + OVERHEAD);

/// How much plaintext fits into a buffer once it is sealed.
pub(super) fn plaintext() -> usize {
    Session::fits(SIZE)
}

/// As many are kept when nobody needs them: what one turn takes.
const KEPT: usize = 3;

#[derive(Default)]
struct Free {
    buffers: Vec<Box<[u8]>>,
    were_used: bool,
}

thread_local! {
    static FREE: RefCell<Free> = const { RefCell::new(Free { buffers: Vec::new(), were_used: false }) };
}

/// A buffer, whose content is whatever was in it.
pub(super) fn take() -> Box<[u8]> {
    let free = FREE.with_borrow_mut(|free| {
        free.were_used = true;
        free.buffers.pop()
    });
    free.unwrap_or_else(|| vec![0; SIZE].into())
}

/// Gives a buffer back; the next one to take it finds it warm.
pub(super) fn give(buffer: Box<[u8]>) {
    FREE.with_borrow_mut(|free| {
        if buffer.len() == SIZE && free.buffers.len() < KEPT {
            free.buffers.push(buffer);
        }
    });
}

/// Called every now and then: a worker whose buffers were not used since lets them go.
pub(crate) fn rest() {
    FREE.with_borrow_mut(|free| {
        if !std::mem::take(&mut free.were_used) {
            free.buffers = Vec::new();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free() -> usize {
        FREE.with_borrow(|free| free.buffers.len())
    }

    #[test]
    fn buffers_are_kept_while_they_are_used_and_let_go_afterwards() {
        let many: Vec<_> = (0..KEPT + 2).map(|_| take()).collect();
        many.into_iter().for_each(give);
        give(vec![0; 10].into());
        assert_eq!(free(), KEPT);
        rest();
        assert_eq!(free(), KEPT, "they were used a moment ago");
        rest();
        assert_eq!(free(), 0);
    }

    #[test]
    fn eight_records_fit() {
        assert_eq!(plaintext(), 8 * MAX_PLAINTEXT);
    }
}
