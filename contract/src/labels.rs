//! Labels of ours that people write, and what is wrong with them.

use crate::names;

/// What is wrong with a label of a pod or of a namespace, if anything.
#[must_use]
pub fn fault(name: &str, value: &str) -> Option<String> {
    let rest = name.strip_prefix(names::API_GROUP)?.strip_prefix('/')?;
    if name == names::INJECT_LABEL {
        let is_known = ["enabled", "disabled"].contains(&value);
        let why = "is not known, and has no effect: it must be enabled or disabled";
        return (!is_known).then(|| format!("label {name}: value {value:?} {why}"));
    }
    let is_misspelt = name != names::INJECTED_LABEL && sounds_like_inject(rest);
    let nearest = names::INJECT_LABEL;
    is_misspelt.then(|| format!("label {name} is not known: perhaps {nearest} is meant"))
}

/// What is wrong with an annotation of something that the webhook does not look at.
#[must_use]
pub fn misplaced(annotation: &str) -> Option<String> {
    let is_label = annotation == names::INJECT_LABEL;
    is_label.then(|| format!("annotation {annotation} has no effect: it is a label"))
}

fn sounds_like_inject(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("inj") || name.contains("nject")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_with_an_unknown_value_or_a_misspelt_name_is_reported() {
        let cases = [
            ("countersign.dev/inject", "enabled", None),
            ("countersign.dev/inject", "disabled", None),
            ("countersign.dev/inject", "true", Some("value \"true\" is not known")),
            ("countersign.dev/inject", "Enabled", Some("enabled or disabled")),
            ("countersign.dev/injected", "true", None),
            ("countersign.dev/exemptions", "allowed", None),
            ("countersign.dev/policy", "x", None),
            (
                "countersign.dev/injection",
                "enabled",
                Some("perhaps countersign.dev/inject is meant"),
            ),
            ("countersign.dev/Inject", "enabled", Some("perhaps")),
            ("countersign.dev/injet", "enabled", Some("perhaps")),
            ("countersign.develop/inject", "true", None),
            ("app", "inject", None),
        ];
        for (name, value, expected) in cases {
            let fault = fault(name, value);
            assert_eq!(fault.is_some(), expected.is_some(), "{name}: {value}: {fault:?}");
            let fault = fault.unwrap_or_default();
            assert!(fault.contains(expected.unwrap_or_default()), "{fault}");
        }
        assert!(misplaced("countersign.dev/inject").is_some_and(|why| why.contains("label")));
        assert_eq!(misplaced("countersign.dev/mode"), None);
    }
}
