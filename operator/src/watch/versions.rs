//! The versions of our Secrets, as the watch and our own writes told them.
//!
//! While a Secret has the version that a Certificate's status is about, it need not be read: ten
//! thousand valid certificates cost no request after a restart. Nothing of what a Secret holds is
//! kept here.

use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock};

use tokio::sync::{broadcast, watch};

/// A namespace, and a name in it.
pub type Key = (String, String);

/// So many changes are kept for who is slow to hear of them; who misses some is told so.
const MOST_CHANGES: usize = 2048;

/// The versions of our Secrets.
#[derive(Debug)]
pub struct Versions {
    inner: RwLock<Inner>,
    was_read: watch::Sender<bool>,
    changes: broadcast::Sender<Key>,
}

impl Default for Versions {
    fn default() -> Self {
        Self {
            inner: RwLock::default(),
            was_read: watch::Sender::new(false),
            changes: broadcast::Sender::new(MOST_CHANGES),
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<Key, String>,
    /// Of Secrets that somebody else wrote to since, and that were looked at and found in order.
    approved: HashMap<Key, String>,
}

/// Whether `one` is the later of two versions. They are numbers that grow (Kubernetes' API
/// conventions, "resource versions"); where they are none, the last word counts.
#[must_use]
pub(super) fn is_later(one: &str, other: &str) -> bool {
    match (one.parse::<u64>(), other.parse::<u64>()) {
        (Ok(one), Ok(other)) => one > other,
        _ => one != other,
    }
}

impl Versions {
    /// A Secret has this version; returns whether that is news.
    pub fn note(&self, key: Key, version: &str) -> bool {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let is_news = inner.known.get(&key).is_none_or(|known| is_later(version, known));
        if is_news {
            inner.known.insert(key.clone(), version.to_owned());
            // An error means that nobody listens.
            let _ = self.changes.send(key);
        }
        is_news
    }

    /// Every Secret that changes, comes or goes from now on, whoever changes it, we ourselves
    /// included.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Key> {
        self.changes.subscribe()
    }

    /// A Secret was deleted at this version.
    pub fn forget(&self, key: &Key, version: &str) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if inner.known.get(key).is_some_and(|known| !is_later(known, version)) {
            inner.known.remove(key);
            inner.approved.remove(key);
            let _ = self.changes.send(key.clone());
        }
    }

    /// These are all that there are; returns those that are gone.
    pub fn keep_only(&self, all: &HashSet<Key>) -> Vec<Key> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<_> = inner.known.keys().filter(|key| !all.contains(*key)).cloned().collect();
        for key in &gone {
            inner.known.remove(key);
            inner.approved.remove(key);
            let _ = self.changes.send(key.clone());
        }
        gone
    }

    /// Every Secret was read once.
    pub fn all_were_read(&self) {
        self.was_read.send_replace(true);
    }

    /// Waits until every Secret was read once.
    pub async fn wait_until_read(&self) {
        // The sender lives as long as `self`, hence this waits for nothing but the word.
        let _ = self.was_read.subscribe().wait_for(|was_read| *was_read).await;
    }

    /// Somebody looked at a Secret of this version, and nothing had to be written.
    pub fn approve(&self, key: Key, version: &str) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.approved.insert(key, version.to_owned());
    }

    /// Whether a Secret is still as it was at `version`, or as it was last found in order.
    #[must_use]
    pub fn is_unchanged(&self, key: &Key, version: Option<&str>) -> bool {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = inner.known.get(key) else { return false };
        version == Some(known) || inner.approved.get(key) == Some(known)
    }

    /// Whether there is a Secret of ours by that name, as far as is known.
    #[must_use]
    pub fn knows(&self, key: &Key) -> bool {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).known.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("shop".to_owned(), name.to_owned())
    }

    #[test]
    fn of_two_versions_the_greater_number_is_the_later() {
        let cases = [("10", "9", true), ("9", "10", false), ("9", "9", false), ("x", "9", true)];
        for (one, other, later) in cases {
            assert_eq!(is_later(one, other), later, "{one} {other}");
        }
    }

    #[test]
    fn a_late_word_of_the_watch_does_not_undo_our_own_write() {
        let versions = Versions::default();
        assert!(versions.note(key("web"), "5"));
        assert!(versions.note(key("web"), "7"), "our write");
        assert!(!versions.note(key("web"), "6"), "the watch, late");
        assert!(versions.is_unchanged(&key("web"), Some("7")));
        versions.forget(&key("web"), "6");
        assert!(versions.knows(&key("web")), "it was made again after that");
        versions.forget(&key("web"), "9");
        assert!(!versions.knows(&key("web")));
        assert!(!versions.is_unchanged(&key("web"), Some("7")));
    }

    #[test]
    fn a_change_is_told_once_to_who_listens() {
        let versions = Versions::default();
        let mut changes = versions.changes();
        versions.note(key("web"), "5");
        versions.note(key("web"), "5");
        versions.note(key("api"), "6");
        assert_eq!(changes.try_recv(), Ok(key("web")));
        assert_eq!(changes.try_recv(), Ok(key("api")));
        assert!(changes.try_recv().is_err());
    }

    #[test]
    fn what_was_found_in_order_need_not_be_read_again_until_it_changes() {
        let versions = Versions::default();
        versions.note(key("web"), "8");
        assert!(!versions.is_unchanged(&key("web"), Some("7")));
        versions.approve(key("web"), "8");
        assert!(versions.is_unchanged(&key("web"), Some("7")));
        versions.note(key("web"), "9");
        assert!(!versions.is_unchanged(&key("web"), Some("7")));
    }

    #[test]
    fn a_list_tells_which_are_gone() {
        let versions = Versions::default();
        versions.note(key("a"), "1");
        versions.note(key("b"), "2");
        assert_eq!(versions.keep_only(&HashSet::from([key("b")])), [key("a")]);
        assert!(versions.knows(&key("b")) && !versions.knows(&key("a")));
    }
}
