//! Log lines on their way to standard output: bounded, lossy and counted.
//!
//! In a pod standard output is a pipe, and its reader may stall. The threads that serve connections
//! must never wait for it: they leave their lines here, and one thread of the queue writes them. Lines
//! for which there is no room are dropped and counted.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// As much of a buffer stays allocated while nothing is logged.
const SPARE: usize = 16 * 1024;

/// Lines that wait for the thread that writes them.
#[derive(Debug)]
pub struct LogQueue {
    capacity: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    is_writing: bool,
    /// Lines that were dropped since the last report, and in all.
    unreported: u64,
    dropped: u64,
}

impl LogQueue {
    /// Starts the thread that writes to `out`. At most `capacity` bytes wait, and as many are being
    /// written. `report` is called, by that thread, with the number of lines that were dropped once
    /// lines can be written again.
    ///
    /// # Errors
    /// When there can be no such thread.
    pub fn start(
        capacity: usize,
        out: impl Write + Send + 'static,
        report: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self { capacity, state: Mutex::default(), changed: Condvar::new() });
        let writer = queue.clone();
        let thread = std::thread::Builder::new().name("log".to_owned());
        drop(thread.spawn(move || writer.write_all(out, report))?);
        Ok(queue)
    }

    /// Leaves whole lines to be written; all of them or none. Never waits for the output.
    pub fn push(&self, lines: &[u8]) {
        let mut state = self.lock();
        if state.waiting.len() + lines.len() > self.capacity {
            let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
            state.unreported += count;
            state.dropped += count;
            return;
        }
        let is_first = state.waiting.is_empty();
        state.waiting.extend_from_slice(lines);
        if is_first && !state.is_writing {
            self.changed.notify_all();
        }
    }

    /// How many lines were dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Waits until everything is written, no longer than `timeout`.
    pub fn flush(&self, timeout: Duration) {
        let is_busy = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        drop(self.changed.wait_timeout_while(self.lock(), timeout, is_busy));
    }

    fn write_all(&self, mut out: impl Write, report: impl Fn(u64)) {
        let mut lines = Vec::new();
        loop {
            let dropped = self.next(&mut lines);
            // Nothing is left that could be told of an output that is gone.
            drop(out.write_all(&lines).and_then(|()| out.flush()));
            lines.clear();
            lines.shrink_to(SPARE);
            if dropped > 0 {
                report(dropped);
            }
        }
    }

    /// Takes the lines that wait, once there are any; how many were dropped before.
    fn next(&self, lines: &mut Vec<u8>) -> u64 {
        let mut state = self.lock();
        state.is_writing = false;
        self.changed.notify_all();
        let is_idle = |state: &mut State| state.waiting.is_empty();
        let waited = self.changed.wait_while(state, is_idle);
        state = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        std::mem::swap(&mut state.waiting, lines);
        std::mem::take(&mut state.unreported)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// An output that takes one write for each permission.
    struct Gated(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn drops_and_counts_lines_while_the_output_is_stalled_and_never_waits() {
        let ((permit, gate), (sender, written)) = (channel(), channel());
        let (lost, losses) = channel();
        let queue = LogQueue::start(8, Gated(gate, sender), move |count| {
            lost.send(count).unwrap();
        })
        .unwrap();
        queue.push(b"first\n");
        while !queue.lock().is_writing {
            std::thread::yield_now();
        }
        // The thread is blocked in its write from here on.
        queue.push(b"second\n");
        queue.push(b"a\nb\n");
        queue.push(b"c\n");
        assert_eq!(queue.dropped(), 3);
        queue.flush(Duration::ZERO);
        permit.send(()).unwrap();
        permit.send(()).unwrap();
        assert_eq!(written.recv().unwrap(), b"first\n");
        assert_eq!(written.recv().unwrap(), b"second\n");
        assert_eq!(losses.recv().unwrap(), 3);
        queue.flush(Duration::from_secs(30));
        assert!(queue.lock().waiting.is_empty());
    }
}
