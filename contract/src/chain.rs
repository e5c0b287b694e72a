//! How many certificates of a peer are verified.

/// The most certificates that a peer may present, its own included. Eight hold a leaf, four intermediate
/// CAs, a root that is sent along, and two CAs that another root signed as well.
///
/// A stranger may present CAs that all could have signed each other, and the number of paths through
/// them grows with the factorial: 8 certificates have 8,659 of them, 10 have 79,209, and 130 would take
/// the 200,000 steps after which the verifier gives up.
pub const MAX_CERTIFICATES: usize = 8;

/// A peer presents more certificates than are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} certificates are presented, and at most {MAX_CERTIFICATES} are verified; leave out those that lead to no root"
)]
pub struct TooManyCertificates(pub usize);

/// Refuses a chain that is too long, before any certificate of it is read.
///
/// # Errors
/// When there are more certificates than are verified.
pub const fn check_length(certificates: usize) -> Result<(), TooManyCertificates> {
    if certificates > MAX_CERTIFICATES {
        return Err(TooManyCertificates(certificates));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_chains_that_are_longer_than_real_ones() {
        let cases = [(0, true), (1, true), (8, true), (9, false), (131, false)];
        for (certificates, accepted) in cases {
            assert_eq!(check_length(certificates).is_ok(), accepted, "{certificates}");
        }
        let problem = check_length(131).unwrap_err().to_string();
        assert!(problem.contains("131 certificates") && problem.contains("at most 8"), "{problem}");
    }
}
