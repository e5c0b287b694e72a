//! Which of many pods have which labels; pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use kube::ResourceExt;

use crate::kept::MeshPod;

/// For each label the sets of labels that hold it, by number, in order: a selector is compared with the
/// pods that have its rarest label, and with no others.
pub(super) struct LabelIndex<'a> {
    sets: HashMap<(&'a str, &'a str), Vec<usize>>,
}

impl<'a> LabelIndex<'a> {
    pub(super) fn of(pods: impl Iterator<Item = &'a MeshPod>) -> Self {
        let distinct: HashSet<&BTreeMap<String, String>> = pods.map(ResourceExt::labels).collect();
        let mut sets: HashMap<_, Vec<usize>> = HashMap::new();
        for (number, labels) in distinct.into_iter().enumerate() {
            for (name, value) in labels {
                sets.entry((name.as_str(), value.as_str())).or_default().push(number);
            }
        }
        Self { sets }
    }

    /// Whether a pod has all of these labels. No label selects nothing.
    pub(super) fn any_has(&self, selector: &BTreeMap<String, String>) -> bool {
        self.look_up(selector).0
    }

    /// The same, and how many pods were compared.
    fn look_up<'b>(&'b self, selector: &'b BTreeMap<String, String>) -> (bool, usize) {
        let with = selector.iter().map(|(name, value)| self.sets.get(&(&**name, &**value)));
        let Some(mut with) = with.collect::<Option<Vec<_>>>() else { return (false, 0) };
        with.sort_unstable_by_key(|sets| sets.len());
        let Some((rarest, others)) = with.split_first() else { return (false, 0) };
        let has_all = |set: &usize| others.iter().all(|sets| sets.binary_search(set).is_ok());
        let found = rarest.iter().position(has_all);
        (found.is_some(), found.map_or(rarest.len(), |place| place + 1))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(labels: &[(&str, String)]) -> BTreeMap<String, String> {
        labels.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn services_of_other_pods_are_compared_with_none_and_replicas_count_once() {
        let pod = |number: usize| -> MeshPod {
            let labels = labels(&[("app", "web".to_owned()), ("shard", (number % 50).to_string())]);
            serde_json::from_value(json!({ "metadata": { "name": "p", "labels": labels } }))
                .unwrap()
        };
        let pods: Vec<_> = (0..500).map(pod).collect();
        let index = LabelIndex::of(pods.iter());
        let web = || ("app", "web".to_owned());
        let cases = [
            (labels(&[]), false, 0),
            (labels(&[("app", "db".to_owned())]), false, 0),
            (labels(&[web(), ("zone", "a".to_owned())]), false, 0),
            (labels(&[web(), ("shard", "7".to_owned())]), true, 1),
            (labels(&[web()]), true, 1),
        ];
        for (selector, is_there, compared) in cases {
            assert_eq!(index.look_up(&selector), (is_there, compared), "{selector:?}");
        }
        assert_eq!(index.sets[&("app", "web")].len(), 50, "equal sets of labels are one");
        let compared: usize = (0..5000)
            .map(|number| labels(&[web(), ("shard", (number % 100).to_string())]))
            .map(|selector| index.look_up(&selector).1)
            .sum();
        assert_eq!(compared, 2500, "5,000 Services and 500 pods");
    }
}
