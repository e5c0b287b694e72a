//! A queue in which namespaces take turns, and within each of them its accounts: however much one of
//! them has waiting, the others are served as soon as it is their turn.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::Hash;
use std::ops::Bound::{Excluded, Unbounded};

/// Whom something is done for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Who {
    pub(super) namespace: Box<str>,
    pub(super) account: Box<str>,
}

/// How much of one may be under way, and how much may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) of_namespace: usize,
    pub(super) of_account: usize,
    pub(super) waiting: usize,
}

/// What waits, and how much is under way.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    bounds: Bounds,
    namespaces: BTreeMap<Box<str>, Namespace<T>>,
    /// The namespace whose turn was last.
    last: Box<str>,
}

#[derive(Debug)]
struct Namespace<T> {
    accounts: BTreeMap<Box<str>, Account<T>>,
    last: Box<str>,
    under_way: usize,
}

#[derive(Debug)]
struct Account<T> {
    waiting: VecDeque<T>,
    /// Nothing waits twice.
    known: HashSet<T>,
    under_way: usize,
}

impl<T: Clone + Eq + Hash> FairQueue<T> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, namespaces: BTreeMap::new(), last: Box::default() }
    }

    /// Puts something at the end of what waits for an account. False, if it waits already, or too much
    /// does.
    pub(super) fn push(&mut self, who: &Who, what: T) -> bool {
        let namespace = self.namespaces.entry(who.namespace.clone()).or_default();
        let account = namespace.accounts.entry(who.account.clone()).or_default();
        if account.waiting.len() >= self.bounds.waiting || !account.known.insert(what.clone()) {
            return false;
        }
        account.waiting.push_back(what);
        true
    }

    /// What is next; `done` must follow. Nothing, if nothing waits, or all that wait have as much under
    /// way as they may.
    pub(super) fn pop(&mut self) -> Option<(Who, T)> {
        let bounds = self.bounds;
        let may = |namespace: &Namespace<T>| {
            namespace.under_way < bounds.of_namespace
                && namespace.accounts.values().any(|account| account.may(bounds))
        };
        let name = next(&self.namespaces, &self.last, may)?;
        let namespace = self.namespaces.get_mut(&name)?;
        let account = next(&namespace.accounts, &namespace.last, |it| it.may(bounds))?;
        let turn = namespace.accounts.get_mut(&account)?;
        let what = turn.waiting.pop_front()?;
        turn.known.remove(&what);
        turn.under_way += 1;
        namespace.under_way += 1;
        namespace.last.clone_from(&account);
        self.last.clone_from(&name);
        Some((Who { namespace: name, account }, what))
    }

    /// Something is done that was popped.
    pub(super) fn done(&mut self, who: &Who) {
        let Some(namespace) = self.namespaces.get_mut(&who.namespace) else { return };
        namespace.under_way = namespace.under_way.saturating_sub(1);
        if let Some(account) = namespace.accounts.get_mut(&who.account) {
            account.under_way = account.under_way.saturating_sub(1);
            if account.under_way == 0 && account.waiting.is_empty() {
                namespace.accounts.remove(&who.account);
            }
        }
        if namespace.accounts.is_empty() {
            self.namespaces.remove(&who.namespace);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }
}

impl<T> Default for Namespace<T> {
    fn default() -> Self {
        Self { accounts: BTreeMap::new(), last: Box::default(), under_way: 0 }
    }
}

impl<T> Default for Account<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), known: HashSet::new(), under_way: 0 }
    }
}

impl<T> Account<T> {
    fn may(&self, bounds: Bounds) -> bool {
        !self.waiting.is_empty() && self.under_way < bounds.of_account
    }
}

/// The first name after the last one, round and round, of which something holds.
fn next<V>(all: &BTreeMap<Box<str>, V>, last: &str, may: impl Fn(&V) -> bool) -> Option<Box<str>> {
    let later = all.range::<str, _>((Excluded(last), Unbounded));
    later.chain(all.iter()).find(|(_, one)| may(one)).map(|(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { of_namespace: 3, of_account: 2, waiting: 100 };

    fn who(namespace: &str, account: &str) -> Who {
        Who { namespace: namespace.into(), account: account.into() }
    }

    #[test]
    fn a_flood_of_one_namespace_delays_no_other() {
        let mut queue = FairQueue::new(BOUNDS);
        for number in 0..50 {
            queue.push(&who("evil", &format!("a{}", number % 7)), number);
        }
        queue.push(&who("shop", "web"), 1000);
        let first: Vec<_> = (0..2).map(|_| queue.pop().unwrap().1).collect();
        assert!(first.contains(&1000), "{first:?}");
    }

    #[test]
    fn accounts_of_a_namespace_take_turns() {
        let mut queue = FairQueue::new(Bounds { of_namespace: 9, ..BOUNDS });
        for number in 0..5 {
            queue.push(&who("shop", "greedy"), number);
        }
        queue.push(&who("shop", "web"), 1000);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(_, what)| what).collect();
        assert_eq!(order, [0, 1000, 1], "no more than two of one are under way");
    }

    #[test]
    fn what_is_under_way_and_what_waits_is_bounded_and_goes_when_it_is_done() {
        let mut queue = FairQueue::new(Bounds { waiting: 3, ..BOUNDS });
        let pushed: Vec<_> =
            [1, 1, 2, 3, 4].map(|what| queue.push(&who("shop", "web"), what)).into();
        assert_eq!(pushed, [true, false, true, true, false]);
        queue.push(&who("shop", "api"), 5);
        queue.push(&who("shop", "db"), 6);
        let under_way: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(under_way.len(), BOUNDS.of_namespace);
        let mut left = under_way;
        let mut count = 0;
        while let Some((of, _)) = left.pop() {
            queue.done(&of);
            left.extend(queue.pop());
            count += 1;
        }
        assert_eq!(count, 5);
        assert!(queue.is_empty(), "{queue:?}");
    }
}
