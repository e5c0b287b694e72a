//! The best way from a certificate up to a root.
//!
//! A bundle may hold several forms of one authority: its own root, the same key signed by an older
//! root, a renewed one. Which of them stands first in the file decides nothing.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use super::leaf::CertificateFacts;
use super::verify::Verdict;

/// How many signatures are checked for one path, and how many certificates are visited. Bundles of
/// honest authorities need a dozen; a bundle made for it would need millions.
const MAX_CHECKS: usize = 300;
const MAX_VISITS: usize = 2000;

/// The best path, and what was found on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BestPath {
    /// Positions in the pool, from the certificate itself upwards.
    pub path: Vec<usize>,
    /// Whether the last one is a root.
    pub ends_in_root: bool,
    /// Positions of all certificates that are on some path upwards, or another form of one.
    pub related: BTreeSet<usize>,
    /// A certificate whose signature cannot be checked, and why, where that may be what ends the path.
    pub unchecked: Option<(usize, String)>,
}

/// There are more possible paths than are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are too many certificates of the same names to find a chain among them")]
pub struct TooManyPaths;

/// The best path among `pool` that begins with one of `starts`.
///
/// Best is a path that ends in a root, then one whose certificates may all sign, then the one that is
/// valid longest, then the shortest.
///
/// # Errors
/// When there are too many.
pub fn best_path(pool: &[CertificateFacts], starts: &[usize]) -> Result<BestPath, TooManyPaths> {
    let mut search = Search::new(pool);
    for start in starts {
        search.climb(&mut vec![*start])?;
    }
    let bearers: BTreeSet<usize> =
        search.visited.iter().map(|position| search.bearers[*position]).collect();
    let is_related = |position: &usize| bearers.contains(&search.bearers[*position]);
    let related = (0..pool.len()).filter(is_related).collect();
    let (rank, path) = search.best.unwrap_or_default();
    Ok(BestPath { path, ends_in_root: rank.ends_in_root, related, unchecked: search.unchecked })
}

/// Larger is better.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'a> {
    ends_in_root: bool,
    may_sign: bool,
    not_after: Timestamp,
    length: Reverse<usize>,
    /// So that the order of the file decides nothing at all.
    certificates: Reverse<Vec<&'a [u8]>>,
}

struct Search<'a> {
    pool: &'a [CertificateFacts],
    /// For each certificate, the first one with the same name and key.
    bearers: Vec<usize>,
    by_subject: HashMap<&'a [u8], Vec<usize>>,
    /// By certificate and bearer.
    verdicts: HashMap<(usize, usize), Verdict>,
    roots: HashMap<usize, bool>,
    visited: BTreeSet<usize>,
    visits: usize,
    unchecked: Option<(usize, String)>,
    best: Option<(Rank<'a>, Vec<usize>)>,
}

impl<'a> Search<'a> {
    fn new(pool: &'a [CertificateFacts]) -> Self {
        let mut by_subject: HashMap<_, Vec<_>> = HashMap::new();
        let mut first = HashMap::new();
        let mut bearers = Vec::new();
        for (position, facts) in pool.iter().enumerate() {
            by_subject.entry(facts.subject_der.as_slice()).or_default().push(position);
            let bearer = (&facts.subject_der, &facts.public_key_spki);
            bearers.push(*first.entry(bearer).or_insert(position));
        }
        Self {
            pool,
            bearers,
            by_subject,
            verdicts: HashMap::new(),
            roots: HashMap::new(),
            visited: BTreeSet::new(),
            visits: 0,
            unchecked: None,
            best: None,
        }
    }

    /// Goes on upwards from the last certificate of `path`, which is as before afterwards.
    fn climb(&mut self, path: &mut Vec<usize>) -> Result<(), TooManyPaths> {
        self.visits += 1;
        if self.visits > MAX_VISITS {
            return Err(TooManyPaths);
        }
        let Some(top) = path.last().copied() else { return Ok(()) };
        self.visited.insert(top);
        // A root has nothing above it. What else bears its name and key is another form of it.
        if self.is_root(top)? {
            self.offer(path, true);
            return Ok(());
        }
        let mut is_top = true;
        let pool = self.pool;
        let above = self.by_subject.get(pool[top].issuer_der.as_slice()).cloned();
        for next in above.unwrap_or_default() {
            let is_on_path = path.iter().any(|on| self.bearers[*on] == self.bearers[next]);
            if !is_on_path && self.signed(top, self.bearers[next])? {
                is_top = false;
                path.push(next);
                self.climb(path)?;
                path.pop();
            }
        }
        if is_top {
            self.offer(path, false);
        }
        Ok(())
    }

    fn is_root(&mut self, position: usize) -> Result<bool, TooManyPaths> {
        if let Some(is_root) = self.roots.get(&position) {
            return Ok(*is_root);
        }
        self.counts()?;
        let is_root = self.pool[position].is_self_signed();
        self.roots.insert(position, is_root);
        Ok(is_root)
    }

    fn signed(&mut self, position: usize, bearer: usize) -> Result<bool, TooManyPaths> {
        if let Some(verdict) = self.verdicts.get(&(position, bearer)) {
            return Ok(*verdict == Verdict::Holds);
        }
        self.counts()?;
        let verdict = self.pool[position].judged_by(&self.pool[bearer]);
        if let Verdict::Unchecked(why) = &verdict {
            self.unchecked.get_or_insert_with(|| (position, why.clone()));
        }
        let holds = verdict == Verdict::Holds;
        self.verdicts.insert((position, bearer), verdict);
        Ok(holds)
    }

    fn counts(&self) -> Result<(), TooManyPaths> {
        match self.verdicts.len() + self.roots.len() < MAX_CHECKS {
            true => Ok(()),
            false => Err(TooManyPaths),
        }
    }

    fn offer(&mut self, path: &[usize], ends_in_root: bool) {
        let pool = self.pool;
        let facts = || path.iter().map(|position| &pool[*position]);
        let rank = Rank {
            ends_in_root,
            may_sign: facts().all(CertificateFacts::may_sign) && lengths_fit(facts()),
            not_after: facts().map(|facts| facts.validity.not_after).min().unwrap_or_default(),
            length: Reverse(path.len()),
            certificates: Reverse(facts().map(|facts| facts.der.as_ref()).collect()),
        };
        if self.best.as_ref().is_none_or(|(best, _)| *best < rank) {
            self.best = Some((rank, path.to_vec()));
        }
    }
}

fn lengths_fit<'a>(path: impl Iterator<Item = &'a CertificateFacts>) -> bool {
    (0u32..).zip(path).all(|(below, facts)| facts.path_len.is_none_or(|allowed| below <= allowed))
}
