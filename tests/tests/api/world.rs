//! The control plane, and the operator that runs against it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use countersign_contract::discovery::Report;
use countersign_operator::cabundle::ApiServerAuthority;
use countersign_operator::certificate::pending::PendingKeys;
use countersign_operator::clock::Clock;
use countersign_operator::context::{Process, Settings};
use countersign_operator::discovery::{self, Leader};
use countersign_operator::inject::audit::Suspects;
use countersign_operator::metrics::{Exposition, Metrics, Objects};
use countersign_operator::policy::Reports;
use countersign_operator::run::Controllers;
use countersign_tests::cluster::{Cluster, Mode, repository};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use prometheus_client::registry::Registry;
use tokio::runtime::Runtime;
use tokio::sync::RwLock;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::issuer_kinds;

/// While a test has a kind of another group with a plural of ours, kubectl may take it for ours: tests that
/// name kinds without their group hold this for reading.
pub(crate) static PLURALS: RwLock<()> = RwLock::const_new(());

/// Where ClusterIssuers find their Secrets.
pub(crate) const HOME: &str = "countersign-system";

/// The pods that the operator says it runs in, and that its other replica does.
pub(crate) const LEADER: &str = "replica-0";
pub(crate) const FOLLOWER: &str = "replica-1";

/// What all tests share.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    cluster: Mutex<Option<Cluster>>,
    client: OnceLock<Client>,
    config: OnceLock<Config>,
    operator: Mutex<Option<Operator>>,
    /// Where the operator answers sidecars, after a restart too.
    discovery: OnceLock<SocketAddr>,
}

/// A replica that does not lead; it ends with this.
pub(crate) struct Follower {
    stop: CancellationToken,
    pub(crate) discovery: SocketAddr,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An operator that runs in this process.
struct Operator {
    stop: CancellationToken,
    running: JoinHandle<()>,
    discovering: JoinHandle<()>,
    exposition: Exposition,
    reports: Arc<Reports>,
    suspects: Arc<Suspects>,
    pending_keys: Arc<PendingKeys>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            runtime: Runtime::new().expect("a runtime"),
            cluster: Mutex::default(),
            client: OnceLock::new(),
            config: OnceLock::new(),
            operator: Mutex::default(),
            discovery: OnceLock::new(),
        }
    }
}

impl World {
    /// Starts everything.
    pub(crate) fn start(&self) {
        let name = format!("api-{}", std::process::id());
        let cluster = Cluster::start(&name, Mode::ControlPlane).expect("a control plane");
        let path = cluster.kubeconfig();
        run(cluster.command("kubectl").args(["apply", "-f"]).arg(repository().join("crds")));
        run(cluster.command("kubectl").args(["create", "namespace", HOME]));
        *self.cluster.lock().unwrap() = Some(cluster);
        self.apply(&issuer_kinds::common()).unwrap_or_else(|error| panic!("{error}"));
        let is_served = "--for=condition=Established";
        run(self.command("kubectl").args(["wait", is_served, "--all", "crd"]));
        let config = self.runtime.block_on(configuration(path));
        let client = self.runtime.block_on(async { Client::try_from(config.clone()) });
        self.client.set(client.expect("a client")).ok().expect("started once");
        self.config.set(config).expect("started once");
        self.runtime.block_on(self.start_operator());
        self.issuers_of_the_chart();
    }

    /// The CAs of identities and of people and devices, as the chart has them. What is known of them stands
    /// in every policy: they are there before the first test.
    fn issuers_of_the_chart(&self) {
        let chart = repository().join("charts/countersign");
        let mut helm = self.command("helm");
        helm.args(["template", "countersign"]).arg(chart).args(["--namespace", HOME]);
        let rendered =
            helm.arg("--show-only=templates/authority.yaml").output().expect("helm runs");
        assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
        let manifest = String::from_utf8(rendered.stdout).expect("text");
        self.apply(&manifest).unwrap_or_else(|error| panic!("{error}"));
        let issuers = ["clusterissuer/countersign", "clusterissuer/countersign-devices"];
        let is_told = "--for=jsonpath={.status.caChain}";
        run(self.command("kubectl").args(["wait", is_told, "--timeout=60s"]).args(issuers));
    }

    /// Ends everything that was started.
    pub(crate) fn stop(&self) {
        self.runtime.block_on(self.stop_operator());
        if let Some(cluster) = self.cluster.lock().unwrap().take() {
            cluster.stop().expect("the control plane ends");
        }
    }

    /// Who may do anything.
    pub(crate) fn client(&self) -> Client {
        self.client.get().expect("it was started").clone()
    }

    /// What kubectl says when it applies a manifest, and whether it could.
    pub(crate) fn apply(&self, manifest: &str) -> Result<String, String> {
        let mut kubectl = self.command("kubectl");
        let arguments = ["apply", "-f", "-"];
        let command = kubectl.args(arguments).stdin(Stdio::piped());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = command.spawn().expect("kubectl runs");
        let mut input = running.stdin.take().expect("its input");
        input.write_all(manifest.as_bytes()).expect("kubectl reads");
        drop(input);
        let output = running.wait_with_output().expect("kubectl ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Somebody else, who may do what RBAC says.
    pub(crate) fn client_of(&self, user: &str) -> Client {
        self.client_with(|who| who.impersonate = Some(user.to_owned()))
    }

    /// The same, with more said of who it is.
    pub(crate) fn client_with(&self, say: impl FnOnce(&mut AuthInfo)) -> Client {
        let mut config = self.config();
        say(&mut config.auth_info);
        Client::try_from(config).expect("a client")
    }

    /// How the API server is reached, and whom it is trusted by.
    pub(crate) fn config(&self) -> Config {
        self.config.get().expect("it was started").clone()
    }

    /// The file of the authority by which the API server is trusted.
    pub(crate) fn authority_of_the_api_server(&self) -> PathBuf {
        let cluster = self.cluster.lock().unwrap();
        cluster.as_ref().expect("it was started").kubeconfig().with_file_name("pki").join("ca.crt")
    }

    /// A program of the cluster's, with an administrator's rights.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.cluster.lock().unwrap().as_ref().expect("it was started").command(program)
    }

    /// Ends the operator as SIGTERM does, and starts another, which knows nothing.
    pub(crate) async fn restart_operator(&self) {
        self.stop_operator().await;
        self.start_operator().await;
    }

    /// What the operator is configured with.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            process: Process {
                pod: LEADER.to_owned(),
                unreached_after: Duration::from_secs(2),
                ..Process::default()
            },
            trust_domain: "cluster.local".parse().unwrap(),
            cluster_domain: "cluster.local".to_owned(),
            cluster_resource_namespace: HOME.to_owned(),
            identity_issuer: "countersign".to_owned(),
            device_issuer: Some("countersign-devices".to_owned()),
            identity_duration: "24h".parse().unwrap(),
            reissue_spread: "2s".parse().unwrap(),
            max_rsa_bits: 4096,
            default_issuer: None,
            approves: true,
            signs_for_kubernetes: true,
            injects_authorities: true,
            access: Default::default(),
            pod_ranges: Vec::new(),
            external_ranges: vec!["198.51.100.0/24".parse().unwrap()],
            excluded_namespaces: vec!["left-alone".to_owned()],
            replaces_uninjected: true,
            api_server_authority: ApiServerAuthority::of(&self.config()),
        }
    }

    fn controllers(&self, pod: &str) -> (Controllers, Registry) {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let client = metrics.api_requests.client(self.config()).expect("a client");
        let mut settings = self.settings();
        settings.process.pod = pod.to_owned();
        (Controllers::new(client, Clock::system(), metrics, settings), registry)
    }

    async fn start_operator(&self) {
        let (mut controllers, registry) = self.controllers(LEADER);
        let exposition = Exposition::new(registry, Objects::of(&controllers.context()));
        let reports = controllers.context().reports.clone();
        let suspects = controllers.context().suspects.clone();
        let pending_keys = controllers.context().pending_keys.clone();
        let stop = CancellationToken::new();
        let before = self.discovery.get().copied();
        let address = before.unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
        // It leads, and is never told who does.
        let (discovering, discovery) = serve(&mut controllers, address, address, &stop).await;
        self.discovery.get_or_init(|| discovery);
        let running = tokio::spawn(controllers.run(stop.clone()));
        let operator =
            Operator { stop, running, discovering, exposition, reports, suspects, pending_keys };
        *self.operator.lock().unwrap() = Some(operator);
    }

    /// Starts another replica, which follows the operator.
    pub(crate) async fn follower(&self) -> Follower {
        let (mut controllers, _) = self.controllers(FOLLOWER);
        let (stop, any) = (CancellationToken::new(), ([127, 0, 0, 1], 0).into());
        let (_, discovery) = serve(&mut controllers, any, self.discovery(), &stop).await;
        Follower { stop, discovery }
    }

    /// Where the operator answers sidecars.
    pub(crate) fn discovery(&self) -> SocketAddr {
        *self.discovery.get().expect("it was started")
    }

    /// What the operator tells at /metrics; nothing while another test has it restarted.
    pub(crate) fn metrics(&self) -> String {
        let operator = self.operator.lock().unwrap();
        let pages = operator.as_ref().map(|operator| operator.exposition.pages().expect("metrics"));
        pages.into_iter().flatten().collect()
    }

    /// Whether the operator has the private key of a request in memory.
    pub(crate) fn has_pending_key(&self, namespace: &str, request: &str) -> bool {
        let operator = self.operator.lock().unwrap();
        operator.as_ref().is_some_and(|it| it.pending_keys.of(namespace, request).is_some())
    }

    /// A sidecar reports to the operator; lost while another test has that restarted.
    pub(crate) fn report(&self, namespace: &str, pod: &str, report: &Report) {
        let operator = self.operator.lock().unwrap();
        if let Some(operator) = operator.as_ref() {
            operator.reports.note(namespace, pod, report, Clock::system().now());
        }
    }

    /// Has the audit look at a pod, as a watch does; lost while another test has the operator restarted.
    pub(crate) fn suspect(&self, namespace: &str, pod: &str) {
        let operator = self.operator.lock().unwrap();
        if let Some(operator) = operator.as_ref() {
            operator.suspects.put(namespace, pod);
        }
    }

    async fn stop_operator(&self) {
        let operator = self.operator.lock().unwrap().take();
        if let Some(operator) = operator {
            operator.stop.cancel();
            operator.running.await.expect("the operator ends");
            operator.discovering.await.expect("discovery ends");
        }
    }
}

/// Has a replica observe and answer sidecars, and tell the leader.
async fn serve(
    controllers: &mut Controllers,
    address: SocketAddr,
    leader: SocketAddr,
    stop: &CancellationToken,
) -> (JoinHandle<()>, SocketAddr) {
    controllers.observe(stop);
    let listener = discovery::listen(address).await.expect("a port");
    let discovery = listener.local_addr().unwrap();
    let (context, hub, leader) = (controllers.context(), controllers.hub(), Leader::At(leader));
    (tokio::spawn(discovery::serve(listener, context, hub, leader, stop.clone())), discovery)
}

fn run(command: &mut Command) {
    let output = command.output().expect("kubectl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn configuration(path: PathBuf) -> Config {
    let kubeconfig = Kubeconfig::read_from(path).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("a config")
}
