//! How many policies a namespace may have, and how large they may be together: more are not compiled.

use std::fmt;
use std::io;

use countersign_contract::access::PodPolicy;

/// So many policies a namespace may have.
pub(super) const MAX_POLICIES: usize = 1000;

/// A ConfigMap holds one MiB, of which its key is a part.
pub(super) const MAX_BYTES: usize = 1024 * 1024 - 1024;

/// Why the policies of a namespace are not compiled. The text stays the same when more are added: it
/// is written to the status of each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// There are more than `MAX_POLICIES`.
    Policies,
    /// So many bytes were counted until they were too many.
    Bytes(usize),
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policies => {
                write!(f, "this namespace has more than {MAX_POLICIES} policies, which is the most")
            }
            Self::Bytes(bytes) => {
                write!(
                    f,
                    "the policies of this namespace take at least {bytes} bytes, and 1 MiB is the most"
                )
            }
        }
    }
}

/// Policies as they come, up to a number of bytes.
///
/// # Errors
/// When they take more; those that follow are not taken.
pub(super) fn within(
    policies: impl Iterator<Item = PodPolicy>,
    most: usize,
) -> Result<Vec<PodPolicy>, Excess> {
    let mut bytes = Count(0);
    let mut taken = Vec::new();
    for policy in policies {
        // It has nothing that JSON has not, and counting does not fail.
        let _ = serde_json::to_writer(&mut bytes, &policy);
        if bytes.0 > most {
            return Err(Excess::Bytes(bytes.0));
        }
        taken.push(policy);
    }
    Ok(taken)
}

/// Counts what is written to it.
struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        self.0 += written.len();
        Ok(written.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn policies_beyond_the_bound_are_not_even_read() {
        let (read, size) =
            (Cell::new(0), serde_json::to_string(&PodPolicy::default()).unwrap().len());
        let policies = |count: usize| {
            read.set(0);
            let next = |_| {
                read.set(read.get() + 1);
                PodPolicy::default()
            };
            (0..count).map(next)
        };
        assert_eq!(within(policies(10), 10 * size).map(|all| all.len()), Ok(10));
        assert_eq!(within(policies(2000), 10 * size), Err(Excess::Bytes(11 * size)));
        assert_eq!(read.get(), 11);
    }
}
