//! Buffers that the connections of a worker share.
//!
//! A worker is one thread, and serves one connection at a time: while it does, that connection has
//! the buffers, and afterwards the next one has. Only bytes that cannot go on yet are kept, in as
//! much memory as they need. An idle connection has none, and those that flow share what is warm in
//! the cache.

use std::cell::{Cell, RefCell};

use crate::record::{MAX_PLAINTEXT, OVERHEAD, Session};

/// What a socket is read into: eight records of the largest size, and room for what goes before
/// them.
pub(crate) const INLET: usize = 9 * (MAX_PLAINTEXT + OVERHEAD);

/// What one write is gathered in: what comes of two full reads, or of many short ones and the end
/// behind them. More than this was no faster.
pub(crate) const OUTLET: usize = 17 * (MAX_PLAINTEXT + OVERHEAD);

/// How much plaintext is read at once, so that it can be sealed into the room of an inlet.
pub(crate) fn plaintext() -> usize {
    Session::fits(INLET)
}

#[derive(Default)]
struct Free {
    inlets: Vec<Box<[u8]>>,
    outlets: Vec<Box<[u8]>>,
    were_used: bool,
}

thread_local! {
    static FREE: RefCell<Free> = const {
        RefCell::new(Free { inlets: Vec::new(), outlets: Vec::new(), were_used: false })
    };
}

thread_local! {
    /// How many bytes of this worker's connections wait for somebody who does not read, and how many may
    /// before less is read at once.
    static KEPT: Cell<usize> = const { Cell::new(0) };
    static BUDGET: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// So many bytes may wait for somebody who does not read, of all connections of this worker.
pub(crate) fn set_budget(bytes: usize) {
    BUDGET.set(bytes);
}

/// So many bytes are kept.
pub(super) fn keep(bytes: usize) {
    KEPT.set(KEPT.get().saturating_add(bytes));
}

/// So many are kept no longer.
pub(super) fn let_go(bytes: usize) {
    KEPT.set(KEPT.get().saturating_sub(bytes));
}

/// How much may be read at once: one record, while too much is kept. A connection goes on then, more
/// slowly, and one that is stuck costs little.
pub(crate) fn most(room: usize) -> usize {
    if KEPT.get() > BUDGET.get() { room.min(MAX_PLAINTEXT + OVERHEAD) } else { room }
}

impl Free {
    /// The buffers of this size: as many are kept of each as one turn takes.
    fn of(&mut self, size: usize) -> Option<(&mut Vec<Box<[u8]>>, usize)> {
        match size {
            INLET => Some((&mut self.inlets, 1)),
            OUTLET => Some((&mut self.outlets, 2)),
            _ => None,
        }
    }
}

/// A buffer of either size, whose content is whatever was in it.
pub(crate) fn take(size: usize) -> Box<[u8]> {
    let free = FREE.with_borrow_mut(|free| {
        free.were_used = true;
        free.of(size).and_then(|(buffers, _)| buffers.pop())
    });
    free.unwrap_or_else(|| vec![0; size].into())
}

/// Gives a buffer back; the next one to take it finds it warm.
pub(crate) fn give(buffer: Box<[u8]>) {
    FREE.with_borrow_mut(|free| {
        if let Some((buffers, most)) = free.of(buffer.len())
            && buffers.len() < most
        {
            buffers.push(buffer);
        }
    });
}

/// Called every now and then: a worker whose buffers were not used since lets them go.
pub(crate) fn rest() {
    FREE.with_borrow_mut(|free| {
        if !std::mem::take(&mut free.were_used) {
            *free = Free::default();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free() -> (usize, usize) {
        FREE.with_borrow(|free| (free.inlets.len(), free.outlets.len()))
    }

    #[test]
    fn buffers_are_kept_while_they_are_used_and_let_go_afterwards() {
        let many: Vec<_> = (0..10).map(|place| take([INLET, OUTLET][place % 2])).collect();
        many.into_iter().for_each(give);
        give(vec![0; 10].into());
        assert_eq!(free(), (1, 2));
        rest();
        assert_eq!(free(), (1, 2), "they were used a moment ago");
        rest();
        assert_eq!(free(), (0, 0));
    }

    #[test]
    fn less_is_read_at_once_while_much_is_kept_for_those_who_do_not_read() {
        set_budget(1000);
        keep(1000);
        assert_eq!(most(INLET), INLET);
        keep(1);
        assert_eq!((most(INLET), most(100)), (MAX_PLAINTEXT + OVERHEAD, 100));
        let_go(500);
        assert_eq!(most(INLET), INLET);
        set_budget(usize::MAX);
    }

    #[test]
    fn eight_records_fit() {
        assert_eq!(plaintext(), 8 * MAX_PLAINTEXT);
    }
}
