//! Which namespaces a policy is for.

use std::collections::{BTreeMap, BTreeSet};

use countersign_crds::{LabelExpression, LabelOperator, NamespaceSelector};
use kube::core::{Expression, Selector, SelectorExt};

/// Whether all that is set holds of a namespace.
pub(super) fn selects(
    selector: &NamespaceSelector,
    name: &str,
    labels: &BTreeMap<String, String>,
) -> bool {
    let names = &selector.match_names;
    (names.is_empty() || names.iter().any(|one| one == name))
        && label_selector(selector).matches(labels)
}

fn label_selector(selector: &NamespaceSelector) -> Selector {
    let labels = selector.match_labels.iter();
    let equal = labels.map(|(name, value)| Expression::Equal(name.clone(), value.clone()));
    equal.chain(selector.match_expressions.iter().map(expression)).collect()
}

fn expression(of: &LabelExpression) -> Expression {
    let (key, values) = (of.key.clone(), of.values.iter().cloned().collect::<BTreeSet<_>>());
    match of.operator {
        LabelOperator::In => Expression::In(key, values),
        LabelOperator::NotIn => Expression::NotIn(key, values),
        LabelOperator::Exists => Expression::Exists(key),
        LabelOperator::DoesNotExist => Expression::DoesNotExist(key),
    }
}

/// The selector, for people.
pub(super) fn story(selector: &NamespaceSelector) -> String {
    let labels = label_selector(selector);
    let names = super::rule::listed(selector.match_names.iter().cloned());
    match (selector.match_names.is_empty(), labels.selects_all()) {
        (true, true) => "every namespace".to_owned(),
        (false, true) => format!("namespaces {names}"),
        (true, false) => format!("namespaces with labels {labels}"),
        (false, false) => format!("namespaces {names} with labels {labels}"),
    }
}
