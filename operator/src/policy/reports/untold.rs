//! What a replica that does not lead has yet to tell the one that does; pure.
//!
//! Of a pod only its name waits, and what it says is looked up when it is told: however slow the leader
//! is, the newest word is told, once. Denials wait where they are added up.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use countersign_contract::discovery::{Denial, Report, Told};
use jiff::Timestamp;

use super::namespace::OfNamespace;

/// So many pods are told of in one message.
const PODS: usize = 256;

/// So many denials, of which none has more than a kilobyte.
const DENIALS: usize = 256;

/// By their names.
pub(super) type Namespaces = BTreeMap<String, OfNamespace>;

/// What is to be told.
#[derive(Debug, Default)]
pub(super) struct Untold {
    /// The pods of which the leader does not know the newest; nothing while it cannot be reached, since
    /// it is told all when it can.
    pods: Option<BTreeSet<(String, String)>>,
    /// The namespace whose denials were told last: the next one has its turn.
    after: String,
    /// Denials that the leader was told of and has not heard yet.
    under_way: Option<(String, Vec<Denial>)>,
}

impl Untold {
    /// A leader can be reached, and knows nothing.
    pub(super) fn begin(&mut self, namespaces: &mut Namespaces, now: Timestamp) {
        self.end(namespaces, now);
        let all = namespaces
            .iter()
            .flat_map(|(namespace, here)| here.pods().map(|pod| (namespace.clone(), pod.clone())));
        self.pods = Some(all.collect());
    }

    /// It cannot be reached any longer, or it is us. What it may not have heard waits again: rather is
    /// a denial counted twice than never.
    pub(super) fn end(&mut self, namespaces: &mut Namespaces, now: Timestamp) {
        self.pods = None;
        if let Some((namespace, denials)) = self.under_way.take() {
            let here = namespaces.entry(namespace).or_default();
            denials.iter().for_each(|denial| here.denied(denial, now));
        }
    }

    /// A pod says something else, or nothing any longer.
    pub(super) fn mark(&mut self, namespace: &str, pod: &str) {
        if let Some(pods) = &mut self.pods {
            pods.insert((namespace.to_owned(), pod.to_owned()));
        }
    }

    /// What is told next; the one before was heard.
    pub(super) fn take(&mut self, namespaces: &mut Namespaces) -> Vec<Told> {
        self.under_way = None;
        let Some(pods) = &mut self.pods else { return Vec::new() };
        let mut told = Vec::new();
        while told.len() < PODS
            && let Some((namespace, pod)) = pods.pop_first()
        {
            let revision = namespaces.get(&namespace).and_then(|here| here.said(&pod)).cloned();
            let report =
                revision.map(|policy_revision| Report { policy_revision, denials: Vec::new() });
            told.push(Told { namespace, pod, gone: report.is_none(), report });
        }
        if let Some((namespace, denials)) = self.denials(namespaces) {
            self.under_way = Some((namespace.clone(), denials.clone()));
            let report = Some(Report { policy_revision: String::new(), denials });
            told.push(Told { namespace, pod: String::new(), report, gone: false });
        }
        told
    }

    /// Those of one namespace, in turn: however many are refused in one, others are heard.
    fn denials(&mut self, namespaces: &mut Namespaces) -> Option<(String, Vec<Denial>)> {
        let later = namespaces.range::<str, _>((Excluded(self.after.as_str()), Unbounded));
        let all = later.chain(namespaces.iter());
        let next = all.filter(|(_, here)| here.has_denials()).map(|(name, _)| name.clone()).next();
        let namespace = next?;
        let here = namespaces.get_mut(&namespace)?;
        let denials = here.take_denials(DENIALS);
        if here.is_empty() {
            namespaces.remove(&namespace);
        }
        self.after.clone_from(&namespace);
        Some((namespace, denials))
    }
}

#[cfg(test)]
mod tests {
    use super::super::namespace::Source;
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn denial(peer: &str, count: u64) -> Denial {
        let policies = vec!["web".to_owned()];
        Denial { peer: peer.to_owned(), port: 80, policies, count, audited: false }
    }

    /// What a message says: pods with their revisions, and denials with their counts.
    fn said(told: &[Told]) -> Vec<String> {
        let one = |told: &Told| {
            let Told { namespace, pod, report, gone } = told;
            let report = report.clone().unwrap_or_default();
            let word = if *gone { "gone" } else { &report.policy_revision };
            let denials = report.denials.iter().map(|it| format!(" {}={}", it.peer, it.count));
            format!("{namespace}/{pod} {word}{}", denials.collect::<String>())
        };
        told.iter().map(one).collect()
    }

    #[test]
    fn all_is_told_first_and_then_what_changed_once_and_as_it_is_by_then() {
        let (mut untold, mut all) = (Untold::default(), Namespaces::new());
        let says = |all: &mut Namespaces, pod: &str, revision: &str| {
            all.entry("shop".to_owned()).or_default().follows(Source::Here, pod, revision);
        };
        says(&mut all, "a", "1");
        says(&mut all, "b", "1");
        untold.mark("shop", "a");
        assert!(untold.take(&mut all).is_empty(), "there is nobody to be told");
        untold.begin(&mut all, NOW);
        assert_eq!(said(&untold.take(&mut all)), ["shop/a 1", "shop/b 1"]);
        assert!(untold.take(&mut all).is_empty());
        for revision in ["2", "3"] {
            says(&mut all, "a", revision);
            untold.mark("shop", "a");
        }
        all.get_mut("shop").unwrap().ends(Source::Here, "b");
        untold.mark("shop", "b");
        assert_eq!(said(&untold.take(&mut all)), ["shop/a 3", "shop/b gone"]);
        says(&mut all, "c", "");
        untold.mark("shop", "c");
        assert_eq!(
            said(&untold.take(&mut all)),
            ["shop/c "],
            "it is heard, and follows nothing yet"
        );
        all.get_mut("shop").unwrap().ends(Source::Here, "c");
        untold.begin(&mut all, NOW);
        assert_eq!(said(&untold.take(&mut all)), ["shop/a 3"], "the next leader is told all");
    }

    #[test]
    fn denials_add_up_until_they_are_told_and_wait_again_if_nobody_heard() {
        let (mut untold, mut all) = (Untold::default(), Namespaces::new());
        let denied = |all: &mut Namespaces, namespace: &str, count| {
            all.entry(namespace.to_owned()).or_default().denied(&denial("x", count), NOW);
        };
        denied(&mut all, "shop", 1);
        denied(&mut all, "shop", 2);
        denied(&mut all, "bank", 5);
        untold.begin(&mut all, NOW);
        assert_eq!(said(&untold.take(&mut all)), ["bank/  x=5"]);
        denied(&mut all, "bank", 1);
        assert_eq!(said(&untold.take(&mut all)), ["shop/  x=3"], "each in turn");
        untold.begin(&mut all, NOW);
        denied(&mut all, "shop", 1);
        assert_eq!(said(&untold.take(&mut all)), ["bank/  x=1"]);
        assert_eq!(said(&untold.take(&mut all)), ["shop/  x=4"], "those that nobody heard too");
        assert!(untold.take(&mut all).is_empty() && all.is_empty(), "nothing is kept");
    }

    #[test]
    fn a_message_has_an_end() {
        let (mut untold, mut all) = (Untold::default(), Namespaces::new());
        let here = all.entry("shop".to_owned()).or_default();
        for number in 0..PODS + 1 {
            here.follows(Source::Here, &format!("{number:04}"), "1");
            let policies = vec![format!("policy-{}", number % 8)];
            here.denied(&Denial { policies, ..denial(&number.to_string(), 1) }, NOW);
        }
        untold.begin(&mut all, NOW);
        let sizes = |told: Vec<Told>| {
            let denials = told.iter().flat_map(|told| &told.report).map(|it| it.denials.len());
            (told.iter().filter(|told| !told.pod.is_empty()).count(), denials.sum::<usize>())
        };
        assert_eq!(sizes(untold.take(&mut all)), (PODS, DENIALS));
        assert_eq!(sizes(untold.take(&mut all)), (1, 1));
    }
}
