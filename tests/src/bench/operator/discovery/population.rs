//! A mesh as the API tells of it: pods that nobody runs, with the sidecar and addresses, Services, and
//! their slices.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::super::site::{AT_ONCE, Site};
use super::ENDPOINTS;
use crate::mesh::Credentials;

/// So many pods are in one namespace.
const EACH: usize = 100;

/// So many nodes do they run on.
const NODES: usize = 100;

/// Whose they are.
const ACCOUNT: &str = "web";

/// The first pod's address.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 0);

/// What was made.
pub(in crate::bench::operator) struct Population {
    /// Where each Service is called.
    services: Vec<SocketAddr>,
    /// The identity of each namespace's account.
    credentials: Vec<Credentials>,
    /// The endpoints of the first Service.
    first: Vec<Value>,
}

impl Population {
    /// Makes pods, and a Service for each few of them.
    ///
    /// # Errors
    /// When the API server refuses something.
    pub(in crate::bench::operator) async fn make(site: &Site, pods: usize) -> anyhow::Result<Self> {
        for number in 0..pods.div_ceil(EACH) {
            let ns = namespace(number * EACH);
            site.namespace(&ns).await?;
            let account: ServiceAccount = object(json!({ "metadata": { "name": ACCOUNT } }))?;
            let api: Api<ServiceAccount> = Api::namespaced(site.client(), &ns);
            api.create(&PostParams::default(), &account).await.context("making an account")?;
        }
        let making = (0..pods).map(|number| make_pod(site, number));
        let pods: Vec<Pod> = stream::iter(making).buffered(AT_ONCE).try_collect().await?;
        let behind: Vec<Vec<Value>> =
            pods.chunks_exact(ENDPOINTS).map(|few| few.iter().map(endpoint).collect()).collect();
        let first = behind.first().cloned().context("there are no pods")?;
        let making = behind.into_iter().enumerate().map(|(at, few)| make_service(site, at, few));
        let services = stream::iter(making).buffered(AT_ONCE).try_collect().await?;
        let identities = (0..pods.len().div_ceil(EACH)).map(|number| credentials(site, number));
        let credentials = stream::iter(identities).buffered(AT_ONCE).try_collect().await?;
        Ok(Self { services, credentials, first })
    }

    /// Where the Services are called.
    pub(in crate::bench::operator) fn services(&self) -> &[SocketAddr] {
        &self.services
    }

    /// A pod's name, and its identity.
    pub(in crate::bench::operator) fn pod(&self, number: usize) -> (String, &Credentials) {
        (name(number), &self.credentials[number / EACH])
    }

    /// How many pods have a Service.
    pub(super) fn pods(&self) -> usize {
        self.services.len() * ENDPOINTS
    }

    /// Leaves the first Service so many of its endpoints.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(super) async fn change(&self, site: &Site, endpoints: usize) -> anyhow::Result<()> {
        let api: Api<EndpointSlice> = Api::namespaced(site.client(), &namespace(0));
        let patch = Patch::Merge(json!({ "endpoints": &self.first[..endpoints] }));
        api.patch(&name(0), &PatchParams::default(), &patch).await.context("changing a slice")?;
        Ok(())
    }
}

fn namespace(pod: usize) -> String {
    format!("mesh-{}", pod / EACH)
}

fn name(number: usize) -> String {
    format!("web-{number}")
}

fn object<K: serde::de::DeserializeOwned>(value: Value) -> anyhow::Result<K> {
    serde_json::from_value(value).context("an object of the bench's")
}

/// A pod that runs, as far as the API tells.
async fn make_pod(site: &Site, number: usize) -> anyhow::Result<Pod> {
    let address = u32::from(FIRST) + u32::try_from(number)?;
    let ip = Ipv4Addr::from(address).to_string();
    let pod: Pod = object(json!({
        "metadata": { "name": name(number), "labels": { "app": name(number / ENDPOINTS), "countersign.dev/injected": "true" } },
        "spec": {
            "nodeName": format!("node-{}", number % NODES), "serviceAccountName": ACCOUNT, "automountServiceAccountToken": false,
            "containers": [{ "name": "app", "image": "example.org/app:1" }],
            "initContainers": [
                { "name": "countersign-redirect", "image": "example.org/sidecar:1", "command": ["/countersign-sidecar", "redirect", "--inbound", "14143"] },
                { "name": "countersign-sidecar", "image": "example.org/sidecar:1", "command": ["/countersign-sidecar", "pod"], "restartPolicy": "Always" },
            ],
        },
    }))?;
    let api: Api<Pod> = Api::namespaced(site.client(), &namespace(number));
    api.create(&PostParams::default(), &pod).await.context("making a pod")?;
    let status = json!({ "status": { "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }] } });
    let patch = Patch::Merge(status);
    let patched = api.patch_status(&name(number), &PatchParams::default(), &patch).await;
    patched.context("giving a pod its address")
}

fn endpoint(pod: &Pod) -> Value {
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    let target = json!({ "kind": "Pod", "namespace": pod.namespace(), "name": pod.name_any(), "uid": pod.uid() });
    json!({ "addresses": [ip], "conditions": { "ready": true }, "targetRef": target })
}

/// A Service and its slice; returns where it is called.
async fn make_service(site: &Site, at: usize, few: Vec<Value>) -> anyhow::Result<SocketAddr> {
    let (ns, name) = (namespace(at * ENDPOINTS), name(at));
    let service: Service = object(json!({
        "metadata": { "name": name },
        "spec": { "selector": { "app": name }, "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
    }))?;
    let api: Api<Service> = Api::namespaced(site.client(), &ns);
    let made = api.create(&PostParams::default(), &service).await.context("making a Service")?;
    let slice: EndpointSlice = object(json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/service-name": name } },
        "addressType": "IPv4", "ports": [{ "name": "http", "port": 8080 }], "endpoints": few,
    }))?;
    let api: Api<EndpointSlice> = Api::namespaced(site.client(), &ns);
    api.create(&PostParams::default(), &slice).await.context("making a slice")?;
    let ip = made.spec.and_then(|spec| spec.cluster_ip).context("a Service's address")?;
    Ok(SocketAddr::new(ip.parse()?, 80))
}

/// The identity that the operator made for a namespace's pods.
async fn credentials(site: &Site, number: usize) -> anyhow::Result<Credentials> {
    let ns = namespace(number * EACH);
    let api: Api<Secret> = Api::namespaced(site.client(), &ns);
    let name = countersign_contract::names::identity_name(ACCOUNT);
    let data = loop {
        let found = api.get_opt(&name).await.context("reading an identity")?;
        if let Some(data) = found.and_then(|secret| secret.data) {
            break data;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let part = |key: &str| data.get(key).map(|bytes| bytes.0.clone()).context("a part of it");
    Ok(Credentials { chain: part("tls.crt")?, key: part("tls.key")?, roots: part("ca.crt")? })
}
