//! What was last said about an object, so that it is not said again each time it is looked at.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What was last said about each object, by its uid.
#[derive(Debug, Default)]
pub struct LastWords(Mutex<HashMap<String, String>>);

impl LastWords {
    /// Whether this is something else than was last said.
    pub fn is_news(&self, uid: &str, word: &str) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.insert(uid.to_owned(), word.to_owned()).is_none_or(|before| before != word)
    }

    /// Nothing is wrong with it any more, or it is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_until_something_else_was() {
        let words = LastWords::default();
        assert!(words.is_news("one", "no Secret"));
        assert!(!words.is_news("one", "no Secret"));
        assert!(words.is_news("two", "no Secret"));
        assert!(words.is_news("one", "no ca.crt"));
        assert!(words.is_news("one", "no Secret"));
        words.forget("one");
        assert!(words.is_news("one", "no Secret"));
    }
}
