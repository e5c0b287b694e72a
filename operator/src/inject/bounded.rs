//! Lists of an admission review, which is read before anything is known about its sender: elements
//! are counted before they are read, and none is allocated that would be one too many.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

/// Reads a list of at most `most` elements; `null` is an empty one.
pub(super) fn list<'de, D, T>(from: D, most: usize, what: &'static str) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    fold(from, most, what, Vec::new(), |mut list, element| {
        list.push(element);
        list
    })
}

/// Reads a list of at most `most` elements, and keeps of them only what `add` does.
pub(super) fn fold<'de, D, T, A>(
    from: D,
    most: usize,
    what: &'static str,
    empty: A,
    add: impl FnMut(A, T) -> A,
) -> Result<A, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    from.deserialize_option(Fold { most, what, empty, add, element: PhantomData })
}

struct Fold<T, A, F> {
    most: usize,
    what: &'static str,
    empty: A,
    add: F,
    element: PhantomData<T>,
}

impl<'de, T, A, F> Visitor<'de> for Fold<T, A, F>
where
    T: Deserialize<'de>,
    F: FnMut(A, T) -> A,
{
    type Value = A;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of {}", self.what)
    }

    fn visit_none<E: Error>(self) -> Result<A, E> {
        Ok(self.empty)
    }

    fn visit_unit<E: Error>(self) -> Result<A, E> {
        Ok(self.empty)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<A, D::Error> {
        from.deserialize_seq(self)
    }

    fn visit_seq<S: SeqAccess<'de>>(mut self, mut elements: S) -> Result<A, S::Error> {
        let mut all = self.empty;
        for _ in 0..self.most {
            match elements.next_element()? {
                Some(element) => all = (self.add)(all, element),
                None => return Ok(all),
            }
        }
        match elements.next_element::<IgnoredAny>()? {
            None => Ok(all),
            Some(_) => {
                Err(S::Error::custom(format!("a pod may have at most {} {}", self.most, self.what)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static READ: Cell<usize> = const { Cell::new(0) };
    }

    /// Counts how many of its kind were read.
    #[derive(Debug)]
    struct Counted;

    impl<'de> Deserialize<'de> for Counted {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            READ.set(READ.get() + 1);
            IgnoredAny::deserialize(from).map(|_| Self)
        }
    }

    fn read(text: &str, most: usize) -> (Result<usize, String>, usize) {
        READ.set(0);
        let mut from = serde_json::Deserializer::from_str(text);
        let found = list::<_, Counted>(&mut from, most, "containers");
        (found.map(|list| list.len()).map_err(|error| error.to_string()), READ.get())
    }

    #[test]
    fn elements_are_counted_before_they_are_read() {
        assert_eq!(read("null", 2), (Ok(0), 0));
        assert_eq!(read("[]", 2), (Ok(0), 0));
        assert_eq!(read("[{},{}]", 2), (Ok(2), 2));
        let (found, elements) = read(&format!("[{}{{}}]", "{},".repeat(400_000)), 64);
        assert!(found.unwrap_err().starts_with("a pod may have at most 64 containers"));
        assert_eq!(elements, 64, "the rest is not read");
    }
}
