//! What the process itself costs, as Linux tells it.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Book;

const MEMORY: &str = "process_resident_memory_bytes";

pub(super) fn register(book: &mut Book<'_>) {
    book.add_collector(&[MEMORY], Memory);
}

/// The memory that is held.
#[derive(Debug)]
struct Memory;

impl Collector for Memory {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // A file of the kernel's, which never blocks.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let help = "Memory that is held.";
        let metric = encoder.encode_descriptor(MEMORY, help, None, MetricType::Gauge)?;
        ConstGauge::new(resident_bytes(&status)).encode(metric)
    }
}

/// The line VmRSS of proc_pid_status(5), in bytes; pure.
fn resident_bytes(status: &str) -> i64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kilobytes: i64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(0);
    kilobytes * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let cases = [("Name:\tx\nVmRSS:\t   19532 kB\nThreads:\t3\n", 19532 * 1024), ("", 0)];
        for (status, expected) in cases {
            assert_eq!(resident_bytes(status), expected, "{status}");
        }
    }
}
