//! Writes the document of a namespace into the ConfigMap that its pods mount.

use std::time::{Duration, Instant};

use countersign_contract::names::{POLICIES_FILE, POLICY_CONFIG_MAP};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use serde_json::json;
use tracing::{info, warn};

use super::compile::text;
use super::error::Error;
use super::observe::Observed;
use crate::context::{Context, FIELD_MANAGER};
use crate::rate::{Rate, Used};
use crate::watch::{Found, POLICY_LABEL};

/// So far apart the same is written again, where somebody else keeps changing it.
const APART: Duration = Duration::from_secs(1);

/// How often a namespace's document is written: each time has its pods annotated.
const RATE: Rate = Rate { at_once: 4, interval: Duration::from_secs(1) };

/// What was written last, and when.
pub(super) struct Written {
    digest: String,
    at: Instant,
    used: Used,
}

impl Written {
    /// The same, after another one.
    pub(super) fn after(self, before: Option<&Self>) -> Self {
        let used = before.map(|before| before.used).unwrap_or_default();
        Self { used: RATE.after(used, self.at), ..self }
    }
}

/// What to do about the ConfigMap.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Keep,
    /// Write it.
    Apply,
    /// It was written too often of late, or what was just written was changed: write it after so long.
    Wait(Duration),
}

/// Pods mount it and do not start without it, so that it is there before the first of them; and once
/// it is there, it is never left to grow old.
pub(super) fn step(seen: &Observed, written: Option<&Written>, now: Instant) -> Step {
    let has_readers = seen.is_labelled || !seen.pods.is_empty() || !seen.policies.is_empty();
    let is_wanted = !seen.is_home && (has_readers || seen.published.is_some());
    if !is_wanted || is_right(seen) {
        return Step::Keep;
    }
    let same = written.filter(|written| *written.digest == *seen.compiled.digest);
    let left = same.and_then(|same| APART.checked_sub(now.saturating_duration_since(same.at)));
    let rests = written.and_then(|written| RATE.wait(written.used, now));
    let wait = left.filter(|left| !left.is_zero()).max(rests);
    wait.map_or(Step::Apply, Step::Wait)
}

/// Where the policies are too large, whatever was there before a restart stays.
fn is_right(seen: &Observed) -> bool {
    let Some(Found { digest, revision, .. }) = &seen.published else { return false };
    match seen.compiled.too_large {
        None => digest.as_deref() == Some(&*seen.compiled.digest),
        Some(_) => revision.is_some(),
    }
}

/// Writes it.
pub(super) async fn apply(context: &Context, seen: &Observed) -> Result<Written, Error> {
    let namespace = &seen.namespace;
    let document = &seen.compiled.document;
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": POLICY_CONFIG_MAP,
            "namespace": namespace,
            "labels": { POLICY_LABEL: "true" },
        },
        "data": { POLICIES_FILE: text(document) },
    });
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let at = Instant::now();
    match api.patch(POLICY_CONFIG_MAP, &parameters, &Patch::Apply(&map)).await {
        Ok(map) => context.seen.published.note(&map),
        Err(source) => {
            let map = ObjectRef::new(POLICY_CONFIG_MAP).within(namespace);
            return Err(Error::Apply { map, source });
        }
    };
    let policies = document.policies.len();
    info!(namespace, revision = document.revision, policies, "policies published");
    if let Some(excess) = seen.compiled.too_large {
        warn!(namespace, %excess, "they are too large: nobody is let in until they fit");
    }
    Ok(Written { digest: seen.compiled.digest.to_string(), at, used: Used::default() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;
    use crate::policy::bounds::Excess;
    use crate::policy::compile::compile;
    use crate::policy::compiled::Compiled;
    use crate::policy::support::{pod, settings};
    use crate::watch::Published;

    fn seen() -> Observed {
        let digest = crate::pki::sha256_hex(b"right").into();
        let compiled = Compiled { digest, ..Compiled::of(compile([], &settings())).0 };
        Observed {
            namespace: "shop".to_owned(),
            policies: Vec::new(),
            pods: Vec::new(),
            compiled,
            published: None,
            is_home: false,
            is_labelled: false,
        }
    }

    fn found(text: &str) -> Option<Found> {
        let metadata = json!({ "name": "x", "namespace": "shop", "resourceVersion": "1" });
        let map = json!({ "metadata": metadata, "data": { POLICIES_FILE: text } });
        let map: ConfigMap = serde_json::from_value(map).unwrap();
        let published = Published::default();
        published.note(&map);
        published.of("shop")
    }

    fn with(change: impl FnOnce(&mut Observed)) -> Step {
        let mut seen = seen();
        change(&mut seen);
        step(&seen, None, Instant::now())
    }

    #[test]
    fn it_is_there_for_whoever_may_mount_it_and_says_what_it_should() {
        let pods = || vec![Arc::new(pod("web-0", "web"))];
        assert_eq!(with(|_| ()), Step::Keep, "nobody mounts it");
        assert_eq!(with(|seen| seen.is_labelled = true), Step::Apply);
        assert_eq!(with(|seen| seen.pods = pods()), Step::Apply);
        let at_home = |seen: &mut Observed| (seen.pods, seen.is_home) = (pods(), true);
        assert_eq!(with(at_home), Step::Keep);
        assert_eq!(with(|seen| seen.published = found("right")), Step::Keep);
        assert_eq!(with(|seen| seen.published = found("wrong")), Step::Apply);
        let too_large = |published: Option<Found>| {
            with(|seen| {
                (seen.is_labelled, seen.published) = (true, published);
                seen.compiled.too_large = Some(Excess::Bytes(1));
            })
        };
        assert_eq!(too_large(None), Step::Apply, "pods would not start");
        assert_eq!(too_large(found(r#"{"revision":"before"}"#)), Step::Keep);
        assert_eq!(too_large(found("garbage")), Step::Apply);
    }

    #[test]
    fn first_documents_are_written_at_once_and_then_one_a_second() {
        let mut seen = seen();
        seen.published = found("wrong");
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut last: Option<Written> = None;
        let wait = |left| Step::Wait(ms(left));
        let cases = [
            (0, Step::Apply),
            (50, Step::Apply),
            (100, Step::Apply),
            (150, Step::Apply),
            (200, wait(800)),
            (1000, Step::Apply),
            (1000, wait(1000)),
            (60_000, Step::Apply),
        ];
        for (after, expected) in cases {
            let at = start + ms(after);
            assert_eq!(step(&seen, last.as_ref(), at), expected, "{after}");
            if expected == Step::Apply {
                let written = Written { digest: format!("of {after}"), at, used: Used::default() };
                last = Some(written.after(last.as_ref()));
            }
        }
    }

    #[test]
    fn what_somebody_else_keeps_changing_is_put_right_at_once_and_then_every_second() {
        let mut seen = seen();
        seen.published = found("wrong");
        let at = Instant::now();
        let used = Used::default();
        let written = |digest: &str| Written { digest: digest.to_owned(), at, used };
        let ours = seen.compiled.digest.to_string();
        let ms = Duration::from_millis;
        let cases = [
            (None, 0, Step::Apply),
            (Some(written("another")), 0, Step::Apply),
            (Some(written(&ours)), 0, Step::Wait(ms(1000))),
            (Some(written(&ours)), 400, Step::Wait(ms(600))),
            (Some(written(&ours)), 1000, Step::Apply),
        ];
        for (written, after, expected) in cases {
            assert_eq!(step(&seen, written.as_ref(), at + ms(after)), expected, "{after}");
        }
    }
}
