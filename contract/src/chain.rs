//! Which chains of a peer are verified: building paths through what a stranger presents must have an end.
//!
//! CAs that a stranger made up may all have signed each other. The number of paths through them grows with
//! the factorial: a leaf and 7 such CAs have 8,659, which took a worker 0.6 s in a build for tests, and the verifier
//! gives up after 200,000. Few certificates are therefore not enough, and paths are counted before.

/// The most certificates that a peer may present, its own included: a leaf, four intermediate CAs, a root that
/// is sent along, and four CAs that another root signed as well.
pub const MAX_CERTIFICATES: usize = 10;

/// The most steps from a certificate to one that could have signed it, on all paths together. A chain takes one
/// for each CA, and bundles in which every CA has two or three forms take 50 at most.
pub const MAX_STEPS: usize = 64;

/// A chain that is not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// The peer presents more certificates than are looked at.
    #[error(
        "{0} certificates are presented, and at most {MAX_CERTIFICATES} are verified; leave out those that lead to no root"
    )]
    TooManyCertificates(usize),
    /// They have more possible paths than are tried.
    #[error(
        "the certificates that are presented have more than {MAX_STEPS} paths; leave out those that lead to no root"
    )]
    TooManyPaths,
}

/// What says which certificate could have signed which.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// The subject's name, DER.
    pub subject: &'a [u8],
    /// The issuer's name, DER.
    pub issuer: &'a [u8],
    /// The public key, DER.
    pub key: &'a [u8],
}

/// Refuses a chain that is too long, before any certificate of it is read.
///
/// # Errors
/// When there are more certificates than are verified.
pub const fn check_length(certificates: usize) -> Result<(), Unverified> {
    if certificates > MAX_CERTIFICATES {
        return Err(Unverified::TooManyCertificates(certificates));
    }
    Ok(())
}

/// Refuses a chain that has too many paths; its leaf comes first.
///
/// # Errors
/// When there are more paths than are tried.
pub fn check_paths(chain: &[Link<'_>]) -> Result<(), Unverified> {
    let Some((leaf, above)) = chain.split_first() else { return Ok(()) };
    let mut left = MAX_STEPS;
    walk(&mut vec![leaf], above, &mut left)
}

/// Every step upwards from the last of `path`. No path has the same name and key twice.
fn walk<'a>(
    path: &mut Vec<&'a Link<'a>>,
    above: &'a [Link<'a>],
    left: &mut usize,
) -> Result<(), Unverified> {
    let Some(head) = path.last().copied() else { return Ok(()) };
    for next in above.iter().filter(|next| next.subject == head.issuer) {
        if path.iter().any(|before| before.subject == next.subject && before.key == next.key) {
            continue;
        }
        *left = left.checked_sub(1).ok_or(Unverified::TooManyPaths)?;
        path.push(next);
        walk(path, above, left)?;
        path.pop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_chains_that_are_longer_than_real_ones() {
        let cases = [(0, true), (1, true), (10, true), (11, false), (131, false)];
        for (certificates, accepted) in cases {
            assert_eq!(check_length(certificates).is_ok(), accepted, "{certificates}");
        }
        let problem = check_length(131).unwrap_err().to_string();
        assert!(problem.contains("131 certificates") && problem.contains("most 10"), "{problem}");
    }

    /// Certificates as subject, issuer and key.
    fn is_accepted(chain: &[(&str, &str, &str)]) -> bool {
        let link = |(subject, issuer, key)| Link { subject, issuer, key };
        let bytes = chain.iter().map(|(a, b, c)| (a.as_bytes(), b.as_bytes(), c.as_bytes()));
        check_paths(&bytes.map(link).collect::<Vec<_>>()).is_ok()
    }

    #[test]
    fn accepts_chains_and_bundles_of_real_cas() {
        let cases: [&[(&str, &str, &str)]; 5] = [
            &[],
            &[
                ("web", "a", "0"),
                ("a", "b", "1"),
                ("b", "c", "2"),
                ("c", "d", "3"),
                ("d", "r", "4"),
                ("r", "r", "5"),
            ],
            // Cross-signed: the new root signed by itself and by the old one.
            &[
                ("web", "a", "0"),
                ("a", "new", "1"),
                ("new", "new", "2"),
                ("new", "old", "2"),
                ("old", "old", "3"),
            ],
            // Four CAs of two forms each, and a root: more than any real bundle.
            &[
                ("web", "a", "0"),
                ("a", "b", "1"),
                ("a", "b", "1"),
                ("b", "c", "2"),
                ("b", "c", "2"),
                ("c", "d", "3"),
                ("c", "d", "3"),
                ("d", "r", "4"),
                ("d", "r", "4"),
                ("r", "r", "5"),
            ],
            // Three roots of one name, and two that signed each other.
            &[
                ("web", "r", "0"),
                ("r", "r", "1"),
                ("r", "r", "2"),
                ("r", "r", "3"),
                ("s", "r", "4"),
                ("r", "s", "1"),
            ],
        ];
        for chain in cases {
            assert!(is_accepted(chain), "{chain:?}");
        }
    }

    #[test]
    fn rejects_cas_that_could_all_have_signed_each_other() {
        let keys = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
        for (count, accepted) in [(1, true), (3, true), (4, true), (5, false), (9, false)] {
            let mut chain = vec![("web", "x", "0")];
            chain.extend(keys[..count].iter().map(|key| ("x", "x", *key)));
            assert_eq!(is_accepted(&chain), accepted, "{count}");
        }
    }
}
