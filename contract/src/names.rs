//! The names that the operator writes and the sidecar, or a person, reads.

/// The API group of every kind of ours.
pub const API_GROUP: &str = "countersign.dev";

/// Trust domain where none is set: the cluster's own DNS domain.
pub const DEFAULT_TRUST_DOMAIN: &str = "cluster.local";

/// Label of a namespace or of a pod: `enabled` asks for the sidecar, `disabled` on a pod of an
/// enabled namespace declines it.
pub const INJECT_LABEL: &str = "countersign.dev/inject";

/// Label that injection puts on a pod, so that the operator watches only pods that are its own.
pub const INJECTED_LABEL: &str = "countersign.dev/injected";

/// Pod annotation: what injection did, `injected`; its presence makes injection idempotent.
pub const STATUS_ANNOTATION: &str = "countersign.dev/status";

/// Pod annotation: the upstreams that the pod calls, see [`crate::upstream`].
pub const UPSTREAMS_ANNOTATION: &str = "countersign.dev/upstreams";

/// Pod annotation: inbound TCP ports, comma separated, that are left as they are.
pub const SKIP_INBOUND_PORTS_ANNOTATION: &str = "countersign.dev/skip-inbound-ports";

/// Pod annotation that the operator changes when the pod's credentials did, because the kubelet
/// refreshes the volumes of a pod that changed at once, and of others within a minute or two.
pub const CREDENTIALS_REVISION_ANNOTATION: &str = "countersign.dev/credentials-revision";

/// Pod annotation that the operator changes when the policies of the pod's namespace did, for the
/// same reason.
pub const POLICY_REVISION_ANNOTATION: &str = "countersign.dev/policy-revision";

/// Pod annotation: outbound TCP ports, comma separated, that are left as they are.
pub const SKIP_OUTBOUND_PORTS_ANNOTATION: &str = "countersign.dev/skip-outbound-ports";

/// Pod annotation: `redirect` (the default), or `explicit`, which needs no right to the network.
pub const MODE_ANNOTATION: &str = "countersign.dev/mode";

/// Pod annotation: what the sidecar serves in mode `explicit`, see [`crate::served`].
pub const INBOUND_ANNOTATION: &str = "countersign.dev/inbound";

/// Pod annotation: `rewrite` (the default), or `leave`: the pod's probes stay as they are.
pub const PROBES_ANNOTATION: &str = "countersign.dev/probes";

/// Pod annotation: how long live connections may go on once the pod's containers have ended.
pub const DRAIN_TIMEOUT_ANNOTATION: &str = "countersign.dev/drain-timeout";

/// Pod annotation: how long a connection may last over which nothing passes.
pub const IDLE_TIMEOUT_ANNOTATION: &str = "countersign.dev/idle-timeout";

/// Pod annotation: the same, once one of its ends is done.
pub const HALF_CLOSED_TIMEOUT_ANNOTATION: &str = "countersign.dev/half-closed-timeout";

/// Pod annotation: how long either end of a connection may leave unread what it was sent.
pub const STALL_TIMEOUT_ANNOTATION: &str = "countersign.dev/stall-timeout";

/// Pod annotation: how long a connection to the application, or to an upstream, may take.
pub const DIAL_TIMEOUT_ANNOTATION: &str = "countersign.dev/dial-timeout";

/// Pod annotation: how long a connection may go on after its peer's certificate has ended.
pub const PEER_EXPIRY_GRACE_ANNOTATION: &str = "countersign.dev/peer-expiry-grace";

/// Pod annotation: what the sidecar logs, a level or a filter.
pub const SIDECAR_LOG_ANNOTATION: &str = "countersign.dev/sidecar-log";

/// Pod annotation: how the sidecar logs, `json` or `human`.
pub const SIDECAR_LOG_FORMAT_ANNOTATION: &str = "countersign.dev/sidecar-log-format";

/// Pod annotation: CPU that the sidecar requests.
pub const SIDECAR_CPU_REQUEST_ANNOTATION: &str = "countersign.dev/sidecar-cpu-request";

/// Pod annotation: CPU that the sidecar may not exceed.
pub const SIDECAR_CPU_LIMIT_ANNOTATION: &str = "countersign.dev/sidecar-cpu-limit";

/// Pod annotation: memory that the sidecar requests.
pub const SIDECAR_MEMORY_REQUEST_ANNOTATION: &str = "countersign.dev/sidecar-memory-request";

/// Pod annotation: memory that the sidecar may not exceed.
pub const SIDECAR_MEMORY_LIMIT_ANNOTATION: &str = "countersign.dev/sidecar-memory-limit";

/// Pod annotation that injection writes: mistakes in the others, a JSON list of sentences, of which
/// the operator makes Events once the pod is there.
pub const INJECTION_NOTES_ANNOTATION: &str = "countersign.dev/injection-notes";

/// Pod annotation that injection writes: the version of the sidecar.
pub const SIDECAR_VERSION_ANNOTATION: &str = "countersign.dev/sidecar-version";

/// Pod annotation that injection writes: what the init container of the rules needs, and why.
pub const REDIRECT_NEEDS_ANNOTATION: &str = "countersign.dev/redirect-needs";

/// Namespace annotation: `true` has pods evicted that should have the sidecar and do not.
pub const REPLACE_UNINJECTED_ANNOTATION: &str = "countersign.dev/replace-uninjected";

/// Namespace label: with `allowed`, pods may ask for less than the sidecar's whole protection, where the
/// chart restricts that (`injection.restrictExemptions`).
pub const EXEMPTIONS_LABEL: &str = "countersign.dev/exemptions";

/// Namespaces in which nothing is ever injected, beside the operator's own.
pub const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// The variable with the sidecar's probes, [`crate::probe::ProbeDocument`].
pub const PROBES_VARIABLE: &str = "COUNTERSIGN_PROBES";

/// The variable with the pod's address, at which the sidecar probes as the kubelet would.
pub const POD_IP_VARIABLE: &str = "COUNTERSIGN_POD_IP";

/// The ConfigMap of each namespace with its compiled policies, and the key in it.
pub const POLICY_CONFIG_MAP: &str = "countersign-policy";

/// File, and key in that ConfigMap: the compiled policies, [`crate::access::NamespaceDocument`].
pub const POLICIES_FILE: &str = "policies.json";

/// File: the pod's labels, as the kubelet writes them.
pub const LABELS_FILE: &str = "labels";

/// The protocol (RFC 7301) that a sidecar offers when it calls another one.
pub const ALPN: &str = "countersign/1";

/// The Service by which sidecars reach discovery, and its port.
pub const DISCOVERY_SERVICE: &str = "countersign-discovery";

/// The port of discovery.
pub const DISCOVERY_PORT: u16 = 14142;

/// The service account that the operator runs as: whose identity discovery must prove.
pub const OPERATOR_SERVICE_ACCOUNT: &str = "countersign-operator";

/// Annotation of an identity Certificate: the service account whose identity it is.
pub const SERVICE_ACCOUNT_ANNOTATION: &str = "countersign.dev/service-account";

/// Label of Certificates and Secrets that hold the identity of a service account.
pub const IDENTITY_LABEL: &str = "countersign.dev/identity";

/// Name of the native sidecar container.
pub const SIDECAR_CONTAINER: &str = "countersign-sidecar";

/// Name of the init container that lays the pod's nftables rules.
pub const REDIRECT_CONTAINER: &str = "countersign-redirect";

/// Name of the projected volume that only the sidecar mounts.
pub const CREDENTIALS_VOLUME: &str = "countersign-credentials";

/// Where that volume is mounted in the sidecar's container.
pub const CREDENTIALS_DIR: &str = "/var/run/countersign/credentials";

/// File: the leaf, then its intermediates, PEM.
pub const CERTIFICATE_FILE: &str = "tls.crt";

/// File: the leaf's private key, PEM (PKCS#8, PKCS#1 or SEC1).
pub const KEY_FILE: &str = "tls.key";

/// File: the roots that peers must chain to, PEM.
pub const ROOTS_FILE: &str = "ca.crt";

/// File, where there is one: revocation lists of the authorities that peers chain to, PEM.
pub const REVOCATIONS_FILE: &str = "ca.crl";

/// File, instead of certificate and key: the key (PKCS#8), then the chain, PEM; what Kubernetes
/// writes for a pod certificate (KEP-4317, credentialBundlePath).
pub const BUNDLE_FILE: &str = "credentialbundle.pem";

/// The port of the sidecar to which the pod's inbound connections are redirected.
pub const INBOUND_PORT: u16 = 14143;

/// The port of the sidecar to which outbound connections would be redirected.
pub const OUTBOUND_PORT: u16 = 14140;

/// The sidecar's own port: metrics and health, plain HTTP.
pub const ADMIN_PORT: u16 = 14190;

/// The user and group id that the sidecar runs as; the rules leave its own connections alone.
pub const SIDECAR_UID: u32 = 14100;

/// The beginning of the names of identity Certificates and their Secrets. Any service account may get an
/// identity, so every name that begins so is reserved.
pub const IDENTITY_PREFIX: &str = "countersign-";

/// The name of the identity Certificate, and Secret, of a service account: `countersign-<account>`,
/// cut short and made distinct again where that would be longer than a name may be (253).
#[must_use]
pub fn identity_name(service_account: &str) -> String {
    let name = format!("{IDENTITY_PREFIX}{service_account}");
    if name.len() <= 253 {
        return name;
    }
    // FNV-1a, 64 bits: not secret, only distinct, and the same for ever.
    let hash = service_account.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let head: String = name.chars().take(236).collect();
    format!("{}-{hash:016x}", head.trim_end_matches(['-', '.']))
}
