//! What is read of a pod under review: the fields that injection uses, and no others.
//!
//! Kubernetes' own type takes two kilobytes for a container of two bytes (`{}`). The webhook cannot
//! know its callers, so that a review is read into these types, whose lists are bounded.

use std::collections::BTreeMap;
use std::fmt;

use countersign_contract::names;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::bounded;

/// The maximum number of containers of each sort.
pub(super) const MAX_CONTAINERS: usize = 64;

/// The maximum number of ports, variables and mounts of one container.
const MAX_PORTS: usize = 4096;
const MAX_ENV: usize = 16_384;
const MAX_MOUNTS: usize = 4096;

/// The maximum number of words of a command, and of those that are read: ours have fewer.
const MAX_WORDS: usize = 16_384;
const READ_WORDS: usize = 128;

/// The maximum number of volumes of a pod, and of headers of a probe.
const MAX_VOLUMES: usize = 4096;
const MAX_HEADERS: usize = 1024;

/// The maximum number of labels and of annotations of ours.
const MAX_OURS: usize = 64;

/// Variables whose values are read.
const OUR_VARIABLES: &str = "COUNTERSIGN_";

/// A pod under review.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    pub(super) metadata: Metadata,
    pub(super) spec: Option<PodSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: Option<String>,
    pub(super) generate_name: Option<String>,
    pub(super) labels: Option<Ours>,
    pub(super) annotations: Option<Ours>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub(super) host_network: Option<bool>,
    pub(super) service_account_name: Option<String>,
    pub(super) termination_grace_period_seconds: Option<i64>,
    pub(super) security_context: Option<SecurityContext>,
    #[serde(deserialize_with = "init_containers")]
    pub(super) init_containers: Vec<Container>,
    #[serde(deserialize_with = "containers")]
    pub(super) containers: Vec<Container>,
    #[serde(deserialize_with = "volumes")]
    pub(super) volumes: Named,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SecurityContext {
    pub(super) run_as_user: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: Option<Box<str>>,
    #[serde(deserialize_with = "words")]
    pub(super) command: Words,
    #[serde(deserialize_with = "words")]
    pub(super) args: Words,
    pub(super) security_context: Option<SecurityContext>,
    #[serde(deserialize_with = "ports")]
    pub(super) ports: Vec<Port>,
    #[serde(deserialize_with = "env")]
    pub(super) env: Env,
    #[serde(deserialize_with = "mounts")]
    pub(super) volume_mounts: Named,
    pub(super) liveness_probe: Option<Probe>,
    pub(super) readiness_probe: Option<Probe>,
    pub(super) startup_probe: Option<Probe>,
    pub(super) lifecycle: Option<Lifecycle>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Port {
    pub(super) name: Option<Box<str>>,
    pub(super) container_port: i32,
    pub(super) protocol: Option<Box<str>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Probe {
    pub(super) http_get: Option<HttpGet>,
    pub(super) tcp_socket: Option<TcpSocket>,
    pub(super) grpc: Option<Grpc>,
    pub(super) timeout_seconds: Option<i32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct HttpGet {
    pub(super) host: Option<String>,
    pub(super) port: IntOrString,
    pub(super) path: Option<String>,
    pub(super) scheme: Option<String>,
    #[serde(deserialize_with = "headers")]
    pub(super) http_headers: Vec<Header>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Header {
    pub(super) name: Box<str>,
    pub(super) value: Box<str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TcpSocket {
    pub(super) host: Option<String>,
    pub(super) port: IntOrString,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Grpc {
    pub(super) port: i32,
    pub(super) service: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Lifecycle {
    pub(super) post_start: Option<Handler>,
    pub(super) pre_stop: Option<Handler>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Handler {
    pub(super) http_get: Option<HttpGet>,
}

/// A command: its first words, and how many there are.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) count: usize,
    first: Vec<Box<str>>,
}

impl Words {
    /// Whether these are the words of an array of JSON, and all of them.
    pub(super) fn are(&self, expected: &[serde_json::Value]) -> bool {
        self.count == expected.len()
            && expected
                .iter()
                .map(serde_json::Value::as_str)
                .eq(self.first.iter().map(|it| Some(&**it)))
    }

    fn with(mut self, word: Box<str>) -> Self {
        if self.first.len() < READ_WORDS {
            self.first.push(word);
        }
        self.count += 1;
        self
    }
}

/// What is read of a list of things with names: whether there are any, and whether one of them has the
/// name of the sidecar's volume.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Named {
    pub(super) any: bool,
    pub(super) has_credentials: bool,
}

/// The variables of a container: how many there are, and those of ours.
#[derive(Debug, Default)]
pub(super) struct Env {
    pub(super) count: usize,
    pub(super) ours: Vec<Variable>,
}

#[derive(Debug)]
pub(super) struct Variable {
    /// Its place in the container's list.
    pub(super) place: usize,
    pub(super) name: String,
    pub(super) value: Option<String>,
}

impl Env {
    /// Whether some of ours were not read.
    pub(super) fn is_cut(&self) -> bool {
        self.ours.len() == MAX_OURS
    }

    /// The variable of a name.
    pub(super) fn of(&self, name: &str) -> Option<&Variable> {
        self.ours.iter().find(|variable| variable.name == name)
    }

    fn with(mut self, NameAndValue { name, value }: NameAndValue) -> Self {
        if name.starts_with(OUR_VARIABLES) && self.ours.len() < MAX_OURS {
            self.ours.push(Variable { place: self.count, name, value });
        }
        self.count += 1;
        self
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NameAndValue {
    name: String,
    value: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Name {
    name: String,
}

impl Named {
    fn with(self, Name { name }: Name) -> Self {
        Self {
            any: true,
            has_credentials: self.has_credentials || name == names::CREDENTIALS_VOLUME,
        }
    }
}

impl Pod {
    /// The annotations of ours.
    pub(super) fn annotations(&self) -> &BTreeMap<String, String> {
        entries(self.metadata.annotations.as_ref())
    }

    /// The labels of ours.
    pub(super) fn labels(&self) -> &BTreeMap<String, String> {
        entries(self.metadata.labels.as_ref())
    }
}

fn entries(ours: Option<&Ours>) -> &BTreeMap<String, String> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    ours.map_or(&NONE, |ours| &ours.0)
}

/// Labels or annotations of ours; those of others are passed over.
#[derive(Debug, Default)]
pub(super) struct Ours(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Ours {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(OursVisitor)
    }
}

struct OursVisitor;

impl<'de> Visitor<'de> for OursVisitor {
    type Value = Ours;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of strings")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Ours, M::Error> {
        let mut ours = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if name.strip_prefix(names::API_GROUP).is_none_or(|rest| !rest.starts_with('/')) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if ours.len() == MAX_OURS {
                let why = format!(
                    "a pod may have at most {MAX_OURS} annotations of {}",
                    names::API_GROUP
                );
                return Err(M::Error::custom(why));
            }
            ours.insert(name, map.next_value()?);
        }
        Ok(Ours(ours))
    }
}

fn containers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Container>, D::Error> {
    bounded::list(from, MAX_CONTAINERS, "containers")
}

fn init_containers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Container>, D::Error> {
    bounded::list(from, MAX_CONTAINERS, "init containers")
}

fn words<'de, D: Deserializer<'de>>(from: D) -> Result<Words, D::Error> {
    bounded::fold(from, MAX_WORDS, "words in a command", Words::default(), Words::with)
}

fn ports<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Port>, D::Error> {
    bounded::list(from, MAX_PORTS, "ports in a container")
}

fn headers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Header>, D::Error> {
    bounded::list(from, MAX_HEADERS, "headers in a probe")
}

fn volumes<'de, D: Deserializer<'de>>(from: D) -> Result<Named, D::Error> {
    bounded::fold(from, MAX_VOLUMES, "volumes", Named::default(), Named::with)
}

fn mounts<'de, D: Deserializer<'de>>(from: D) -> Result<Named, D::Error> {
    bounded::fold(from, MAX_MOUNTS, "mounts in a container", Named::default(), Named::with)
}

fn env<'de, D: Deserializer<'de>>(from: D) -> Result<Env, D::Error> {
    bounded::fold(from, MAX_ENV, "variables in a container", Env::default(), Env::with)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(pod: &Value) -> Result<Pod, String> {
        serde_json::from_str(&pod.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn keeps_only_what_injection_uses() {
        let pod = json!({
            "metadata": {
                "name": "web", "creationTimestamp": null,
                "labels": { "app": "web", "countersign.dev/inject": "enabled" },
                "annotations": { "note": "x", "countersign.develop/a": "b", "countersign.dev/mode": "explicit" },
            },
            "spec": {
                "volumes": [{ "name": "data", "emptyDir": {} }, { "name": "countersign-credentials" }],
                "containers": [{
                    "name": "app", "image": "app:1",
                    "env": [
                        { "name": "HOME", "value": "/" },
                        { "name": "COUNTERSIGN_PROBES", "value": "{}" },
                        { "name": "NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } },
                    ],
                    "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                    "ports": [{ "containerPort": 53, "protocol": "UDP" }],
                }],
            },
            "status": {},
        });
        let pod = read(&pod).unwrap();
        assert_eq!(pod.labels().keys().collect::<Vec<_>>(), ["countersign.dev/inject"]);
        assert_eq!(pod.annotations().keys().collect::<Vec<_>>(), ["countersign.dev/mode"]);
        let spec = pod.spec.unwrap();
        assert!(spec.volumes.any && spec.volumes.has_credentials);
        let app = &spec.containers[0];
        assert!(app.volume_mounts.any && !app.volume_mounts.has_credentials);
        let probes = app.env.of("COUNTERSIGN_PROBES").unwrap();
        assert_eq!((app.env.count, probes.place, app.env.ours.len()), (3, 1, 1));
        assert_eq!(
            (app.ports[0].container_port, app.ports[0].protocol.as_deref()),
            (53, Some("UDP"))
        );
    }

    #[test]
    fn null_is_the_same_as_nothing() {
        let pod = json!({ "metadata": { "labels": null }, "spec": {
            "containers": null, "initContainers": null, "volumes": null, "securityContext": null,
        } });
        let spec = read(&pod).unwrap().spec.unwrap();
        assert!(spec.containers.is_empty() && !spec.volumes.any);
        assert!(read(&json!({ "metadata": {} })).unwrap().spec.is_none());
    }

    #[test]
    fn a_list_that_is_too_long_is_refused_by_its_name() {
        let many = |count: usize| Value::Array(vec![json!({}); count]);
        let in_container = |field: &str, value: Value| json!({ "containers": [{ field: value }] });
        let annotations: serde_json::Map<_, _> =
            (0..=MAX_OURS).map(|n| (format!("countersign.dev/{n}"), json!(""))).collect();
        let cases = [
            (json!({ "containers": many(MAX_CONTAINERS + 1) }), "64 containers"),
            (json!({ "initContainers": many(MAX_CONTAINERS + 1) }), "64 init containers"),
            (json!({ "volumes": many(MAX_VOLUMES + 1) }), "volumes"),
            (in_container("ports", many(MAX_PORTS + 1)), "ports"),
            (in_container("env", many(MAX_ENV + 1)), "variables"),
            (in_container("volumeMounts", many(MAX_MOUNTS + 1)), "mounts"),
            (
                in_container(
                    "livenessProbe",
                    json!({ "httpGet": { "httpHeaders": many(MAX_HEADERS + 1) } }),
                ),
                "headers",
            ),
        ];
        for (spec, named) in cases {
            let error = read(&json!({ "spec": spec })).unwrap_err();
            assert!(error.contains("at most") && error.contains(named), "{error}");
        }
        let error = read(&json!({ "metadata": { "annotations": annotations } })).unwrap_err();
        assert!(error.contains("annotations of countersign.dev"), "{error}");
    }

    /// The whole of a review's memory beside its body: at most so much for each container.
    #[test]
    fn a_container_that_says_nothing_is_small() {
        assert!(size_of::<Container>() <= 1536, "{}", size_of::<Container>());
    }
}
