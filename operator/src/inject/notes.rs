//! Tells of mistakes on the pod that they were made on. When it was admitted it was not there yet:
//! what was to be told is in an annotation of it, of which Events are made once it is.

use countersign_contract::names;
use kube::ResourceExt;

use crate::context::Context;
use crate::kept::MeshPod;

/// So many sentences are told of one pod, whoever wrote them.
const MOST: usize = 16;

/// Tells what there is to tell of a pod, once.
pub fn tell(context: &Context, pod: &MeshPod) {
    let Some(text) = pod.annotations().get(names::INJECTION_NOTES_ANNOTATION) else { return };
    let notes = read(text);
    if notes.is_empty() || !context.mistakes.is_news(&pod.uid().unwrap_or_default(), text) {
        return;
    }
    for note in notes {
        context.events.warning(pod, "InjectionMistake", note);
    }
}

/// The sentences; pure.
fn read(text: &str) -> Vec<String> {
    let notes: Vec<String> = serde_json::from_str(text).unwrap_or_default();
    notes.into_iter().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_list_of_sentences_is_not_told() {
        assert_eq!(read(r#"["one","two"]"#), ["one", "two"]);
        for text in ["", "[]", "one", "{}", "[1]"] {
            assert!(read(text).is_empty(), "{text}");
        }
        assert_eq!(read(&serde_json::to_string(&vec!["x"; 100]).unwrap()).len(), 16);
    }
}
