//! The fault hook: all that an operator says to the API server goes through here, and at one of its
//! requests the operator is killed.
//!
//! A proxy shows its operator one namespace only, so that several can run side by side.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderName, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::operator::Operator;
use crate::world::HOME;

/// The largest object that the API server takes, and more.
const LARGEST: usize = 4 * 1024 * 1024;

/// Kinds that stand in namespaces, and are listed in all of them.
const NAMESPACED: [&str; 8] = [
    "accesspolicies",
    "certificates",
    "certificaterequests",
    "configmaps",
    "issuers",
    "secrets",
    "pods",
    "services",
];

/// A request that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) method: Method,
    pub(crate) path: String,
}

impl Step {
    /// Whether it changes anything.
    pub(crate) fn writes(&self) -> bool {
        self.method != Method::GET
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// On which side of a request the operator is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// The API server never hears of it.
    Before,
    /// The API server has done it, and the operator never hears of that.
    After,
}

/// Which requests are counted. Reads come as watches have it; were they counted with the writes, a
/// write might be missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Each object that is read, once.
    Reads,
    /// Each write.
    Writes,
}

/// Kills the operator at one of its requests, counted from one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) of: Counted,
    pub(crate) when: When,
}

impl Fault {
    /// Whether the last of these steps is the one.
    pub(crate) fn is_due(self, steps: &[Step]) -> bool {
        let is_first = |at: usize| !steps[..at].contains(&steps[at]);
        let counts = |at: &usize| match self.of {
            Counted::Reads => !steps[*at].writes() && is_first(*at),
            Counted::Writes => steps[*at].writes(),
        };
        let count = (0..steps.len()).filter(counts).count();
        steps.len().checked_sub(1).is_some_and(|last| counts(&last)) && count == self.at
    }

    /// Whether one of these steps was the one.
    pub(crate) fn was_due(self, steps: &[Step]) -> bool {
        (1..=steps.len()).any(|count| self.is_due(&steps[..count]))
    }
}

/// What stands between an operator and the API server.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinSet<()>,
}

struct Shared {
    client: Client,
    /// The one namespace that is shown; all where there is none.
    namespace: Option<String>,
    state: Mutex<Doing>,
    killed: watch::Sender<Option<Step>>,
    forwarding: watch::Sender<usize>,
}

#[derive(Default)]
struct Doing {
    operator: Option<Operator>,
    fault: Option<Fault>,
    steps: Vec<Step>,
}

impl Proxy {
    /// Shows one namespace, or all.
    pub(crate) async fn start(client: Client, namespace: Option<String>) -> Self {
        let shared = Arc::new(Shared {
            client,
            namespace,
            state: Mutex::default(),
            killed: watch::Sender::new(None),
            forwarding: watch::Sender::new(0),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("it listens");
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, shared, serving }
    }

    /// Lets an operator speak, once nothing is left of what the last one said.
    pub(crate) async fn admit(&self, start: impl FnOnce() -> Operator) {
        let mut forwarding = self.shared.forwarding.subscribe();
        forwarding.wait_for(|count| *count == 0).await.expect("it is here");
        let mut doing = self.shared.state.lock().unwrap();
        doing.fault = None;
        doing.operator = Some(start());
    }

    /// Counts from now, and kills the operator where that is wanted.
    pub(crate) fn count(&self, fault: Option<Fault>) {
        let mut doing = self.shared.state.lock().unwrap();
        doing.steps.clear();
        doing.fault = fault;
    }

    /// What was counted.
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.shared.state.lock().unwrap().steps.clone()
    }

    /// Waits until the operator was killed.
    pub(crate) async fn killed(&self) {
        let mut killed = self.shared.killed.subscribe();
        killed.wait_for(Option::is_some).await.expect("it is here");
    }

    /// The request at which it was killed.
    pub(crate) fn killed_at(&self) -> Option<Step> {
        self.shared.killed.borrow().clone()
    }

    /// Kills the operator, wherever it is.
    pub(crate) fn stop(mut self) {
        self.shared.state.lock().unwrap().operator.take();
        self.serving.abort_all();
    }
}

/// What is to be done with a request.
enum Verdict {
    Forward,
    ForwardThenKill(Step),
    /// Nobody waits for an answer any more.
    Drop,
}

impl Shared {
    /// Counts a request.
    fn judge(&self, method: &Method, path: &str, query: &str) -> Verdict {
        let mut doing = self.state.lock().unwrap();
        if doing.operator.is_none() {
            return Verdict::Drop;
        }
        if is_step(method, path, query) {
            let step = Step { method: method.clone(), path: path.to_owned() };
            doing.steps.push(step.clone());
            match doing.fault.filter(|fault| fault.is_due(&doing.steps)) {
                Some(Fault { when: When::Before, .. }) => {
                    self.kill(&mut doing, step);
                    return Verdict::Drop;
                }
                Some(Fault { when: When::After, .. }) => {
                    self.forwarding.send_modify(|count| *count += 1);
                    return Verdict::ForwardThenKill(step);
                }
                None => {}
            }
        }
        self.forwarding.send_modify(|count| *count += 1);
        Verdict::Forward
    }

    fn kill(&self, doing: &mut Doing, step: Step) {
        // Its end is waited for: whatever it says after this was said before.
        doing.operator.take();
        self.killed.send_replace(Some(step));
    }

    async fn forward(&self, request: Request<Body>) -> Response {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let uri = match parts.uri.query() {
            Some(query) => self.narrowed(path, query),
            None => path.to_owned(),
        };
        let mut asked = Request::builder().method(parts.method).uri(uri);
        for name in [header::ACCEPT, header::CONTENT_TYPE] {
            asked = carry(asked, &parts.headers, name);
        }
        let body = to_bytes(body, LARGEST).await.expect("a whole request");
        let asked = asked.body(kube::client::Body::from(body)).expect("a request");
        let answer = match self.client.send(asked).await {
            Ok(answer) => answer,
            Err(error) => return (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        };
        let (parts, body) = answer.into_parts();
        let mut answer = Response::new(Body::new(body));
        *answer.status_mut() = parts.status;
        if let Some(value) = parts.headers.get(header::CONTENT_TYPE) {
            answer.headers_mut().insert(header::CONTENT_TYPE, value.clone());
        }
        answer
    }

    /// What is listed in all namespaces, in the one that is shown.
    fn narrowed(&self, path: &str, query: &str) -> String {
        let whole = format!("{path}?{query}");
        let Some(namespace) = &self.namespace else { return whole };
        let Some((group, kind)) = path.rsplit_once('/') else { return whole };
        let is_group = matches!(group, "/api/v1" | "/apis/countersign.dev/v1");
        if is_group && NAMESPACED.contains(&kind) {
            return format!("{group}/namespaces/{namespace}/{kind}?{query}");
        }
        if kind == "certificatesigningrequests" {
            return format!("{whole}&fieldSelector=metadata.name%3D{namespace}");
        }
        whole
    }
}

fn carry(
    asked: axum::http::request::Builder,
    headers: &axum::http::HeaderMap,
    name: HeaderName,
) -> axum::http::request::Builder {
    match headers.get(&name) {
        Some(value) => asked.header(name, value),
        None => asked,
    }
}

/// Whether a request is part of the work: lists and watches are not, nor are Events, which are
/// written behind it, nor what the webhook and the election need.
fn is_step(method: &Method, path: &str, query: &str) -> bool {
    let is_list = *method == Method::GET && !query.is_empty();
    let others = [&format!("/namespaces/{HOME}/") as &str, "/events", "/admissionregistration"];
    !is_list && path != "/version" && !others.iter().any(|part| path.contains(part))
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let uri = request.uri();
    let verdict = shared.judge(request.method(), uri.path(), uri.query().unwrap_or_default());
    let fatal = match verdict {
        Verdict::Drop => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Verdict::Forward => None,
        Verdict::ForwardThenKill(step) => Some(step),
    };
    // What was forwarded is done, also where the operator ends meanwhile.
    let forwarding = tokio::spawn(async move {
        let answer = shared.forward(request).await;
        if let Some(step) = fatal {
            shared.kill(&mut shared.state.lock().unwrap(), step);
        }
        shared.forwarding.send_modify(|count| *count -= 1);
        answer
    });
    forwarding.await.expect("it is forwarded")
}
