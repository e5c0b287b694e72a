//! Where pods are followed that have not the label of injection; pure.
//!
//! Most pods of a cluster are none of our business, and never seen: each namespace that asks for the
//! sidecar is followed by itself. Where these are many, one watch over all is the smaller cost.

use std::collections::BTreeSet;

use countersign_contract::names;

/// So many namespaces are followed one by one.
const MOST: usize = 100;

/// What one watch sees.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// Pods that ask for the sidecar themselves, wherever they are.
    Asking,
    /// Pods whose label of injection has a value that is not known, wherever they are.
    Mistaken,
    /// Pods of a namespace that asks for it.
    Namespace(String),
    /// Pods of these, and of all others, which are not kept. Other namespaces are another scope,
    /// since all must be read anew.
    Everywhere(BTreeSet<String>),
}

impl Scope {
    /// Which pods are asked for.
    pub(super) fn selector(&self) -> String {
        let (inject, injected) = (names::INJECT_LABEL, names::INJECTED_LABEL);
        match self {
            Self::Asking => format!("{inject}=enabled,{injected}!=true"),
            Self::Mistaken => format!("{inject},{inject} notin (enabled,disabled)"),
            Self::Namespace(_) | Self::Everywhere(_) => {
                format!("{inject}!=disabled,{injected}!=true")
            }
        }
    }

    /// Whether a pod of a namespace is looked at.
    pub(super) fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::Asking | Self::Mistaken => true,
            Self::Namespace(name) => name == namespace,
            Self::Everywhere(names) => names.contains(namespace),
        }
    }
}

/// What is followed for these namespaces.
pub(super) fn scopes(enabled: BTreeSet<String>) -> BTreeSet<Scope> {
    let mut all = BTreeSet::from([Scope::Asking, Scope::Mistaken]);
    if enabled.len() > MOST {
        all.insert(Scope::Everywhere(enabled));
    } else {
        all.extend(enabled.into_iter().map(Scope::Namespace));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_namespaces_are_followed_by_themselves_and_many_together() {
        let of = |count: usize| (0..count).map(|number| format!("n-{number:03}")).collect();
        assert_eq!(scopes(of(0)), BTreeSet::from([Scope::Asking, Scope::Mistaken]));
        assert_eq!(scopes(of(MOST)).len(), MOST + 2);
        let many: BTreeSet<_> = of(MOST + 1);
        let everywhere = Scope::Everywhere(many.clone());
        let expected = BTreeSet::from([Scope::Asking, Scope::Mistaken, everywhere]);
        assert_eq!(scopes(many), expected);
    }

    #[test]
    fn a_scope_covers_its_namespaces_only() {
        let two = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let cases = [
            (Scope::Asking, true, true),
            (Scope::Mistaken, true, true),
            (Scope::Namespace("a".to_owned()), true, false),
            (Scope::Everywhere(two), true, false),
        ];
        for (scope, of_a, of_c) in cases {
            assert_eq!((scope.covers("a"), scope.covers("c")), (of_a, of_c), "{scope:?}");
        }
    }
}
