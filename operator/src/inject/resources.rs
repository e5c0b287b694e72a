//! What the sidecar's container may use; pure.

use countersign_contract::names;
use serde_json::{Map, Value, json};

use super::args::InjectArgs;
use super::quantity::nanos;

/// What a pod asks for of one resource.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) request: Option<String>,
    pub(super) limit: Option<String>,
}

/// What is asked for, and what may not be exceeded, where there is a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resources {
    cpu: Bounds,
    memory: Bounds,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Bounds {
    request: String,
    limit: Option<String>,
}

impl Resources {
    /// What holds for a pod, and what to tell of mistakes.
    pub(super) fn of(args: &InjectArgs, cpu: Asked, memory: Asked) -> (Self, Vec<String>) {
        let usual = |request: &str, limit: &str| Bounds {
            request: request.to_owned(),
            limit: (!limit.is_empty()).then(|| limit.to_owned()),
        };
        let of_cpu = usual(&args.sidecar_cpu_request, &args.sidecar_cpu_limit);
        let of_memory = usual(&args.sidecar_memory_request, &args.sidecar_memory_limit);
        let (cpu, cpu_note) = bounds(of_cpu, cpu, names::SIDECAR_CPU_LIMIT_ANNOTATION);
        let (memory, note) = bounds(of_memory, memory, names::SIDECAR_MEMORY_LIMIT_ANNOTATION);
        (Self { cpu, memory }, cpu_note.into_iter().chain(note).collect())
    }

    /// As a container has it.
    pub(super) fn value(&self) -> Value {
        let requests = json!({ "cpu": self.cpu.request, "memory": self.memory.request });
        let limits = [("cpu", &self.cpu.limit), ("memory", &self.memory.limit)];
        let limits = limits.into_iter().filter_map(|(name, limit)| {
            limit.as_ref().map(|limit| (name.to_owned(), json!(limit)))
        });
        let limits: Map<_, _> = limits.collect();
        if limits.is_empty() {
            return json!({ "requests": requests });
        }
        json!({ "requests": requests, "limits": limits })
    }
}

/// A pod whose sidecar asks for more than it may use would never start. Of the two, what the pod
/// says holds; where it says both, and they do not fit, neither does.
fn bounds(usual: Bounds, asked: Asked, name: &str) -> (Bounds, Option<String>) {
    let exceeds = |request: &str, limit: &str| nanos(request) > nanos(limit);
    match (asked.request, asked.limit) {
        (None, None) => (usual, None),
        (Some(request), Some(limit)) if exceeds(&request, &limit) => {
            let note = format!(
                "annotation {name}: {limit} is less than the {request} that are requested; what is usual here holds"
            );
            (usual, Some(note))
        }
        (Some(request), Some(limit)) => (Bounds { request, limit: Some(limit) }, None),
        (Some(request), None) => {
            let raised =
                |limit: String| if exceeds(&request, &limit) { request.clone() } else { limit };
            (Bounds { limit: usual.limit.map(raised), request }, None)
        }
        (None, Some(limit)) => {
            let request =
                if exceeds(&usual.request, &limit) { limit.clone() } else { usual.request };
            (Bounds { request, limit: Some(limit) }, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sidecar_asks_for_more_than_it_may_use() {
        let asked = |request: &str, limit: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Asked { request: some(request), limit: some(limit) }
        };
        let cases = [
            (asked("", ""), "16Mi", Some("128Mi"), false),
            (asked("64Mi", ""), "64Mi", Some("128Mi"), false),
            (asked("256Mi", ""), "256Mi", Some("256Mi"), false),
            (asked("", "8Mi"), "8Mi", Some("8Mi"), false),
            (asked("", "1Gi"), "16Mi", Some("1Gi"), false),
            (asked("64Mi", "1Gi"), "64Mi", Some("1Gi"), false),
            (asked("1Gi", "64Mi"), "16Mi", Some("128Mi"), true),
        ];
        for (asked, request, limit, is_told) in cases {
            let usual = Bounds { request: "16Mi".into(), limit: Some("128Mi".into()) };
            let (bounds, note) = bounds(usual, asked.clone(), "the-limit");
            assert_eq!(
                (bounds.request.as_str(), bounds.limit.as_deref()),
                (request, limit),
                "{asked:?}"
            );
            assert_eq!(note.is_some(), is_told, "{note:?}");
        }
        let unlimited = Bounds { request: "10m".into(), limit: None };
        let (bounds, _) = bounds(unlimited, asked("1", ""), "the-limit");
        assert_eq!(bounds, Bounds { request: "1".into(), limit: None });
    }
}
