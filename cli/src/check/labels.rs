//! Labels and annotations of ours that say nothing: with another value, or misspelt; pure.

use countersign_contract::labels;

use super::gather::{Listed, Marked};
use super::{Finding, Part};

pub(super) fn judge(marked: &Listed<Marked>) -> Part {
    let name = "labels";
    let marked = match marked {
        Ok(marked) => marked,
        Err(why) => {
            let findings = vec![Finding::unread("labels of Namespaces and Pods", why)];
            return Part { name, summary: "not seen".to_owned(), findings };
        }
    };
    let findings: Vec<_> = marked.iter().flat_map(faults).collect();
    let summary = match findings.len() {
        0 => "all of ours are known".to_owned(),
        count => format!("{count} without effect"),
    };
    Part { name, summary, findings }
}

fn faults(marked: &Marked) -> impl Iterator<Item = Finding> {
    const ADVICE: &str = "write label countersign.dev/inject: enabled, or disabled on a pod";
    let labels = marked.labels.iter().filter_map(|(name, value)| labels::fault(name, value));
    let annotations = marked.annotations.keys().filter_map(|name| labels::misplaced(name));
    let finding = |message| Finding::new("labelWithoutEffect", &marked.object, message, ADVICE);
    labels.chain(annotations).map(finding)
}
