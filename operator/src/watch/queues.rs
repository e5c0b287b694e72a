//! What waits to be reconciled, by kind. The reconcilers take an object that waits twice once.

use countersign_crds::{Certificate, CertificateRequest, ClusterIssuer, Issuer};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::runtime::reflector::{Lookup, ObjectRef};

/// Where objects are put that must be looked at.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each name is the kind")]
pub struct Queues {
    pub certificates: Queue<Certificate>,
    pub issuers: Queue<Issuer>,
    pub cluster_issuers: Queue<ClusterIssuer>,
    pub requests: Queue<CertificateRequest>,
    pub pods: Queue<Pod>,
}

/// Where they are taken from.
#[derive(Debug)]
#[expect(missing_docs, reason = "each name is the kind")]
pub struct Waiting {
    pub certificates: UnboundedReceiver<ObjectRef<Certificate>>,
    pub issuers: UnboundedReceiver<ObjectRef<Issuer>>,
    pub cluster_issuers: UnboundedReceiver<ObjectRef<ClusterIssuer>>,
    pub requests: UnboundedReceiver<ObjectRef<CertificateRequest>>,
    pub pods: UnboundedReceiver<ObjectRef<Pod>>,
}

/// A queue of one kind.
#[derive(Debug)]
pub struct Queue<K: Lookup<DynamicType = ()>>(UnboundedSender<ObjectRef<K>>);

impl<K: Lookup<DynamicType = ()>> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Resource<DynamicType = ()>> Queue<K> {
    fn new() -> (Self, UnboundedReceiver<ObjectRef<K>>) {
        let (sender, receiver) = unbounded();
        (Self(sender), receiver)
    }

    /// An object must be looked at.
    pub fn put(&self, object: &K) {
        self.put_reference(ObjectRef::from_obj(object));
    }

    /// The same, by its name.
    pub fn put_reference(&self, reference: ObjectRef<K>) {
        // Nobody takes any more where the operator is about to end.
        let _ = self.0.unbounded_send(reference);
    }
}

impl Queues {
    /// Queues, and their other ends.
    #[must_use]
    pub fn new() -> (Self, Waiting) {
        let (certificates, waiting_certificates) = Queue::new();
        let (issuers, waiting_issuers) = Queue::new();
        let (cluster_issuers, waiting_cluster_issuers) = Queue::new();
        let (requests, waiting_requests) = Queue::new();
        let (pods, waiting_pods) = Queue::new();
        let waiting = Waiting {
            certificates: waiting_certificates,
            issuers: waiting_issuers,
            cluster_issuers: waiting_cluster_issuers,
            requests: waiting_requests,
            pods: waiting_pods,
        };
        (Self { certificates, issuers, cluster_issuers, requests, pods }, waiting)
    }
}
