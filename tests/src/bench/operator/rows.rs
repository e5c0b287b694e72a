//! What is measured, what must be reached, and what cert-manager takes for it.

use super::super::table::{Bar, Row};

/// One figure of the operator, in the table's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Figure {
    LatencyMedian,
    LatencyWorst,
    Burst,
    GreatBurst,
    CpuEach,
    WritesFirst,
    WritesRenewal,
    WritesFirstByRequest,
    WritesRenewalByRequest,
    Conflicts,
    Memory,
    MemoryRestarted,
    ForeignRunning,
    ForeignRestarted,
    RestartTime,
    RestartCpu,
    RestartWrites,
    IdleWrites,
    IdleCpu,
    MeshRunning,
    MeshRestarted,
    StreamMemory,
    StreamIdle,
    Lookup,
    ChangeMedian,
    ChangeWorst,
    ChangeLast,
    StreamsBack,
    StreamsBackCpu,
}

/// Where the figures of cert-manager come from.
pub(super) const PEER: &str = "cert-manager: 1.21.1, recorded earlier on the same kind of machine and \
    the same control plane, in another run: how far apart they are counts, not the last digit.";

/// A figure that was measured, as a row of the table.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) of: Figure,
    pub(super) row: Row,
}

impl Figure {
    /// The row of a figure that was measured with so many objects.
    pub(super) fn row(self, figure: f64, count: usize, note: impl Into<String>) -> Found {
        let (unit, bar) = self.bar();
        let what = self.what(&grouped(count));
        Found {
            of: self,
            row: Row { what, figure, unit, bar, peer: self.peer(), note: note.into() },
        }
    }

    fn what(self, count: &str) -> String {
        match self {
            Self::LatencyMedian => format!("apply to Ready, {count} in turn: median"),
            Self::LatencyWorst => "  p99".to_owned(),
            Self::Burst | Self::GreatBurst => {
                format!("{count} Certificates at once: all Ready after")
            }
            Self::CpuEach => "operator CPU per issued Certificate, in that burst".to_owned(),
            Self::WritesFirst => "API writes per first issuance".to_owned(),
            Self::WritesRenewal => "API writes per renewal".to_owned(),
            Self::WritesFirstByRequest => {
                "API writes per first issuance with a CertificateRequest".to_owned()
            }
            Self::WritesRenewalByRequest => {
                "API writes per renewal with a CertificateRequest".to_owned()
            }
            Self::Conflicts => "write conflicts, in all of this".to_owned(),
            Self::Memory => format!("memory with {count} Certificates, just issued"),
            Self::MemoryRestarted => "  after a restart".to_owned(),
            Self::ForeignRunning => format!("memory added by {count} unrelated Secrets of 10 kB"),
            Self::ForeignRestarted | Self::MeshRestarted => "  after a restart".to_owned(),
            Self::RestartTime => format!("restart with {count} valid Certificates: settled after"),
            Self::RestartCpu => "  CPU until then".to_owned(),
            Self::RestartWrites => "  API writes".to_owned(),
            Self::IdleWrites => format!("{count} s idle: API writes"),
            Self::IdleCpu | Self::StreamsBackCpu => "  CPU".to_owned(),
            Self::MeshRunning => {
                format!("memory added by {count} pods in the mesh, a Service for each 5")
            }
            Self::StreamMemory => {
                format!("memory of each of {count} sidecars that follow 20 destinations")
            }
            Self::StreamIdle => format!("{count} s idle with them: CPU"),
            Self::Lookup => format!("CPU per answered lookup, of {count}"),
            Self::ChangeMedian => format!("an endpoint's change reaches {count} sidecars: median"),
            Self::ChangeWorst => "  p99".to_owned(),
            Self::ChangeLast => "  the last one, median of all changes".to_owned(),
            Self::StreamsBack => format!("restart with {count} sidecars: all answered again after"),
        }
    }

    /// The unit, and what must be reached.
    fn bar(self) -> (&'static str, Bar) {
        match self {
            Self::LatencyMedian => ("ms", Bar::Under(40.0)),
            Self::LatencyWorst => ("ms", Bar::Under(250.0)),
            Self::Burst => ("s", Bar::Under(10.0)),
            Self::GreatBurst => ("s", Bar::Under(120.0)),
            Self::CpuEach => ("ms", Bar::Under(8.0)),
            Self::WritesFirst | Self::WritesRenewal => ("", Bar::AtMost(2.0)),
            Self::WritesFirstByRequest | Self::WritesRenewalByRequest => ("", Bar::AtMost(4.0)),
            Self::Conflicts | Self::RestartWrites | Self::IdleWrites => ("", Bar::AtMost(0.0)),
            Self::Memory | Self::MemoryRestarted => ("MB", Bar::Under(120.0)),
            Self::ForeignRunning | Self::ForeignRestarted => ("MB", Bar::Under(5.0)),
            Self::RestartTime | Self::RestartCpu => ("s", Bar::Under(5.0)),
            Self::IdleCpu => ("%", Bar::Under(0.1)),
            Self::MeshRunning | Self::MeshRestarted => ("MB", Bar::Under(60.0)),
            Self::StreamMemory => ("kB", Bar::Under(100.0)),
            Self::StreamIdle => ("%", Bar::Under(1.0)),
            Self::Lookup => ("µs", Bar::AtMost(100.0)),
            Self::ChangeMedian | Self::ChangeWorst | Self::ChangeLast => ("ms", Bar::Under(500.0)),
            Self::StreamsBack => ("s", Bar::Under(10.0)),
            Self::StreamsBackCpu => ("s", Bar::Under(5.0)),
        }
    }

    fn peer(self) -> &'static str {
        match self {
            Self::LatencyMedian => "105 to 111 ms",
            Self::LatencyWorst => "140 to 182 ms (p95)",
            Self::Burst => "98 s",
            Self::CpuEach => "79 ms",
            Self::WritesFirst => "13.4 to 17.5",
            Self::Conflicts => "1.0 to 4.5 per Certificate",
            Self::Memory => "549 MB with 4,819",
            Self::MemoryRestarted => "275 MB with 4,819",
            Self::ForeignRunning => "+0 MB (2,000 of 100 kB)",
            Self::ForeignRestarted => "+15 MB (2,000 of 100 kB)",
            Self::RestartTime => "22 to 41 s with 1,000",
            Self::RestartCpu => "39 to 59 s with 1,000",
            Self::RestartWrites | Self::IdleWrites => "0",
            Self::IdleCpu => "0.08 %",
            Self::GreatBurst
            | Self::WritesRenewal
            | Self::WritesFirstByRequest
            | Self::WritesRenewalByRequest => "not recorded",
            Self::MeshRunning
            | Self::MeshRestarted
            | Self::StreamMemory
            | Self::StreamIdle
            | Self::Lookup
            | Self::ChangeMedian
            | Self::ChangeWorst
            | Self::ChangeLast
            | Self::StreamsBack
            | Self::StreamsBackCpu => "",
        }
    }
}

/// A number as people read it: 10,000.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_grouped_by_thousands() {
        for (number, expected) in
            [(0, "0"), (200, "200"), (1000, "1,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), expected);
        }
    }
}
