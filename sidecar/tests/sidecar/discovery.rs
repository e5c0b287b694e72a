//! The operator's side of discovery, which says what a test has it say.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use countersign_contract::discovery::{
    Answer, Endpoint, Kind, PATH, Protocol, Ranges, Report, Request, Response,
};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::{Stream, StreamExt};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use crate::authority::Set;
use crate::network::inside;
use crate::peer::server_config;
use crate::program::until;

/// Where it serves.
pub(crate) const PORT: u16 = 14142;

/// A discovery that serves until this goes.
pub(crate) struct Discovery {
    said: Arc<Mutex<Said>>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Said {
    answers: BTreeMap<String, Answer>,
    streams: Vec<UnboundedSender<Result<Response, Status>>>,
    followed: Vec<String>,
    pods: Vec<String>,
    reports: Vec<Report>,
}

/// An endpoint that must prove an identity; one that need not, if there is none.
pub(crate) fn endpoint(address: SocketAddr, identity: &str) -> Endpoint {
    let protocol = if identity.is_empty() { Protocol::Plain } else { Protocol::Mutual };
    let (address, identity) = (address.to_string(), identity.to_owned());
    Endpoint { address, protocol: protocol.into(), identity }
}

impl Discovery {
    /// Serves in a namespace.
    pub(crate) fn start(namespace: &str, set: &Set) -> Self {
        let mut config = server_config(set, &set.ca);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = inside(namespace, || TcpListener::bind(("0.0.0.0", PORT)).unwrap());
        listener.set_nonblocking(true).unwrap();
        let said = Arc::new(Mutex::new(Said::default()));
        let runtime = Runtime::new().unwrap();
        runtime.spawn(accept(listener, acceptor, said.clone()));
        Self { said, runtime: Some(runtime) }
    }

    /// Says something of a destination, to everybody and from now on.
    pub(crate) fn say(&self, destination: SocketAddr, kind: Kind, endpoints: Vec<Endpoint>) {
        let (destination, name) = (destination.to_string(), "Service shop/web".to_owned());
        let kind = kind.into();
        let answer = Answer { destination, kind, name, endpoints, sticky: false };
        let mut said = self.said.lock().unwrap();
        let response = Response { answers: vec![answer.clone()], ranges: None };
        said.answers.insert(answer.destination.clone(), answer);
        said.streams.retain(|stream| stream.unbounded_send(Ok(response.clone())).is_ok());
    }

    /// Says which addresses may be of the cluster, to every stream that there is.
    pub(crate) fn say_ranges(&self, inside: &[&str], whole: bool) {
        let inside = inside.iter().map(|range| (*range).to_owned()).collect();
        let response = Response { answers: vec![], ranges: Some(Ranges { inside, whole }) };
        let said = self.said.lock().unwrap();
        said.streams.iter().for_each(|to| drop(to.unbounded_send(Ok(response.clone()))));
    }

    /// Whether a destination was asked for.
    pub(crate) fn has_heard_of(&self, destination: SocketAddr) -> bool {
        self.said.lock().unwrap().followed.contains(&destination.to_string())
    }

    /// Waits until a destination was asked for.
    pub(crate) fn was_asked(&self, destination: SocketAddr) {
        let text = destination.to_string();
        until("the destination is asked for", || {
            self.said.lock().unwrap().followed.contains(&text).then_some(())
        });
    }

    /// Waits for a report that is as it should be.
    pub(crate) fn report(&self, is_it: impl Fn(&Report) -> bool) -> Report {
        until("a report", || self.said.lock().unwrap().reports.iter().find(|r| is_it(r)).cloned())
    }

    /// The pods that said hello.
    pub(crate) fn pods(&self) -> Vec<String> {
        self.said.lock().unwrap().pods.clone()
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, said: Arc<Mutex<Said>>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, said) = (acceptor.clone(), said.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request: axum::http::Request<Incoming>| {
                let method = Method(said.clone());
                async move {
                    assert_eq!(request.uri().path(), PATH);
                    let mut grpc = tonic::server::Grpc::new(ProstCodec::default());
                    Ok::<_, Infallible>(grpc.streaming(method, request).await)
                }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

struct Method(Arc<Mutex<Said>>);

type Responses = Pin<Box<dyn Stream<Item = Result<Response, Status>> + Send>>;

impl tonic::server::StreamingService<Request> for Method {
    type Response = Response;
    type ResponseStream = Responses;
    type Future = std::future::Ready<Result<tonic::Response<Responses>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Request>>) -> Self::Future {
        let (stream, responses) = unbounded();
        let said = self.0.clone();
        said.lock().unwrap().streams.push(stream.clone());
        tokio::spawn(hear(request.into_inner(), said, stream));
        std::future::ready(Ok(tonic::Response::new(responses.boxed())))
    }
}

async fn hear(
    mut requests: Streaming<Request>,
    said: Arc<Mutex<Said>>,
    stream: UnboundedSender<Result<Response, Status>>,
) {
    while let Ok(Some(request)) = requests.message().await {
        let mut said = said.lock().unwrap();
        said.pods.extend(request.hello.map(|hello| hello.pod));
        said.reports.extend(request.report);
        for destination in request.follow {
            if let Some(answer) = said.answers.get(&destination) {
                let response = Response { answers: vec![answer.clone()], ranges: None };
                drop(stream.unbounded_send(Ok(response)));
            }
            said.followed.push(destination);
        }
    }
}
