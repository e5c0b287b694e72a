//! Turns a pod's probes to the sidecar, which makes them in the kubelet's place; pure.
//!
//! The kubelet has no certificate, so that mutual ports turn it away. What it is to ask instead is a
//! path of the sidecar's own port; what the sidecar asks the container then is in the document.

use countersign_contract::ProbeDocument;
use countersign_contract::names;
use countersign_contract::probe::{
    Check, GrpcCheck, Header, HttpCheck, Kind, LONGEST, LONGEST_HANDLER, MOST, Probe as Made,
    TOKEN_HEADER, TcpCheck, path,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::annotations::{Mode, Wishes};
use super::pod::{Container, Handler, HttpGet, PodSpec, Probe, TcpSocket};

/// What is changed, and what is to be told.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    pub(super) operations: Vec<Value>,
    /// The value of the sidecar's variable.
    pub(super) document: Option<String>,
    pub(super) notes: Vec<String>,
}

/// Turns every probe that the sidecar must make, those that it makes already aside.
pub(super) fn rewrite(spec: &PodSpec, wishes: &Wishes, known: ProbeDocument) -> Rewritten {
    let mut desk = Desk { wishes, document: known, operations: Vec::new(), notes: Vec::new() };
    if !wishes.rewrites_probes {
        return Rewritten::default();
    }
    let inits = spec.init_containers.iter().enumerate();
    let inits =
        inits.map(|(place, container)| (format!("/spec/initContainers/{place}"), container));
    let apps = spec.containers.iter().enumerate();
    let apps = apps.map(|(place, container)| (format!("/spec/containers/{place}"), container));
    let grace = spec.termination_grace_period_seconds.unwrap_or(30);
    for (at, container) in inits.chain(apps) {
        // Our own ask the sidecar already.
        if container.name != names::SIDECAR_CONTAINER {
            desk.container(&at, container, grace);
        }
    }
    desk.done()
}

/// What has been seen so far.
struct Desk<'a> {
    wishes: &'a Wishes,
    document: ProbeDocument,
    operations: Vec<Value>,
    notes: Vec<String>,
}

/// Where something was found.
struct Found<'a> {
    container: &'a Container,
    kind: Kind,
    /// Its place in the pod.
    at: String,
    timeout: u32,
}

impl Desk<'_> {
    fn container(&mut self, at: &str, container: &Container, grace: i64) {
        let probes = [
            (Kind::Liveness, "livenessProbe", &container.liveness_probe),
            (Kind::Readiness, "readinessProbe", &container.readiness_probe),
            (Kind::Startup, "startupProbe", &container.startup_probe),
        ];
        for (kind, field, probe) in probes {
            let Some(probe) = probe else { continue };
            let timeout = seconds(i64::from(probe.timeout_seconds.unwrap_or(1)));
            self.probe(&Found { container, kind, at: format!("{at}/{field}"), timeout }, probe);
        }
        let lifecycle = container.lifecycle.as_ref();
        let handlers = [
            (Kind::PostStart, "postStart", lifecycle.and_then(|it| it.post_start.as_ref()), None),
            (Kind::PreStop, "preStop", lifecycle.and_then(|it| it.pre_stop.as_ref()), Some(grace)),
        ];
        for (kind, field, handler, grace) in handlers {
            let Some(handler) = handler else { continue };
            let timeout = grace.map_or(LONGEST_HANDLER, seconds);
            let at = format!("{at}/lifecycle/{field}");
            self.handler(&Found { container, kind, at, timeout }, handler);
        }
    }

    fn probe(&mut self, found: &Found<'_>, probe: &Probe) {
        if let Some(get) = &probe.http_get {
            self.http(found, get);
        } else if let Some(socket) = &probe.tcp_socket {
            self.tcp(found, socket);
        } else if let Some(grpc) = &probe.grpc {
            let service = grpc.service.clone().unwrap_or_default();
            let check = |port| Check::Grpc(GrpcCheck { port, service });
            self.turn(found, "grpc", &IntOrString::Int(grpc.port), check);
        }
    }

    /// The other forms of a handler make no connection that counts.
    fn handler(&mut self, found: &Found<'_>, handler: &Handler) {
        if let Some(get) = &handler.http_get {
            self.http(found, get);
        }
    }

    fn http(&mut self, found: &Found<'_>, get: &HttpGet) {
        if is_elsewhere(get.host.as_deref()) {
            return;
        }
        let headers = get.http_headers.iter();
        let headers =
            headers.map(|it| Header { name: it.name.to_string(), value: it.value.to_string() });
        let headers = headers.collect();
        let path = get.path.clone().unwrap_or_else(|| "/".to_owned());
        let https =
            get.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        let check = |port| Check::Http(HttpCheck { port, path, https, headers });
        self.turn(found, "httpGet", &get.port, check);
    }

    fn tcp(&mut self, found: &Found<'_>, socket: &TcpSocket) {
        if !is_elsewhere(socket.host.as_deref()) {
            self.turn(found, "tcpSocket", &socket.port, |port| Check::Tcp(TcpCheck { port }));
        }
    }

    fn turn(
        &mut self,
        found: &Found<'_>,
        form: &str,
        port: &IntOrString,
        check: impl FnOnce(u16) -> Check,
    ) {
        let Some(port) = port_of(found.container, port) else {
            let (name, port) = (&found.container.name, shown(port));
            let field = found.at.rsplit('/').next().unwrap_or_default();
            self.notes.push(format!(
                "container {name}, {field}: port {port} is none of the container's; the probe is left as it is"
            ));
            return;
        };
        let Some(loopback) = self.way(port) else { return };
        let path = path(&found.container.name, found.kind);
        let any_status = matches!(found.kind, Kind::PostStart | Kind::PreStop);
        let instead = json!({
            "path": path,
            "port": names::ADMIN_PORT,
            "scheme": "HTTP",
            "httpHeaders": [{ "name": TOKEN_HEADER, "value": self.document.token }],
        });
        let (at, timeout_seconds) = (&found.at, found.timeout);
        if form != "httpGet" {
            self.operations.push(json!({ "op": "remove", "path": format!("{at}/{form}") }));
        }
        let put = json!({ "op": "add", "path": format!("{at}/httpGet"), "value": instead });
        self.operations.push(put);
        let made = Made { timeout_seconds, loopback, any_status, check: check(port) };
        self.document.probes.insert(path, made);
    }

    /// Whether the sidecar is in the way to a port, and on loopback then: what it serves explicitly
    /// need listen nowhere else.
    fn way(&self, port: u16) -> Option<bool> {
        let own = [names::INBOUND_PORT, names::OUTBOUND_PORT, names::ADMIN_PORT];
        match self.wishes.mode {
            _ if own.contains(&port) => None,
            Mode::Redirect => (!self.wishes.skip_inbound.contains(&port)).then_some(false),
            Mode::Explicit => {
                let mut served = self.wishes.served.iter();
                served.any(|served| served.target == port).then_some(true)
            }
        }
    }

    fn done(self) -> Rewritten {
        let Self { document, operations, mut notes, .. } = self;
        if operations.is_empty() {
            return Rewritten { notes, ..Rewritten::default() };
        }
        // No dollar sign: Kubernetes would look for names of variables behind it.
        let text = serde_json::to_string(&document).unwrap_or_default().replace('$', "\\u0024");
        let fits = document.probes.len() <= MOST && text.len() <= LONGEST && !text.is_empty();
        if !fits {
            notes.push(format!(
                "the pod's probes are more than {MOST}, or longer than {LONGEST} bytes: they are left as they are"
            ));
            return Rewritten { notes, ..Rewritten::default() };
        }
        Rewritten { operations, document: Some(text), notes }
    }
}

fn seconds(seconds: i64) -> u32 {
    u32::try_from(seconds).unwrap_or(1).clamp(1, 86400)
}

/// Whether a probe is of another host, as only the node itself, or somebody far away, can be.
fn is_elsewhere(host: Option<&str>) -> bool {
    host.is_some_and(|host| !host.is_empty())
}

fn shown(port: &IntOrString) -> String {
    match port {
        IntOrString::Int(port) => port.to_string(),
        IntOrString::String(name) => format!("{:?}", name.chars().take(64).collect::<String>()),
    }
}

/// A port by its number, or by the name that the container gives it, as the kubelet finds it.
fn port_of(container: &Container, port: &IntOrString) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let mut ports = container.ports.iter();
            let named = ports.find(|port| port.name.as_deref() == Some(name.as_str()));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())?
        }
    };
    u16::try_from(number).ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests;
