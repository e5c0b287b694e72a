//! What waits to be reconciled, by kind. The reconcilers take an object that waits twice once.

use countersign_crds::{Certificate, CertificateRequest, ClusterIssuer, Issuer};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use k8s_openapi::api::core::v1::Namespace;
use kube::Resource;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{Lookup, ObjectRef};

use crate::kept::MeshPod;
use crate::metrics::{Tally, Work};

/// Where objects are put that must be looked at.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each name is the kind")]
pub struct Queues {
    pub certificates: Queue<Certificate>,
    /// Certificates that the operator made for service accounts: they never wait behind others.
    pub identities: Queue<Certificate>,
    pub issuers: Queue<Issuer>,
    pub cluster_issuers: Queue<ClusterIssuer>,
    pub requests: Queue<CertificateRequest>,
    pub pods: Queue<MeshPod>,
    pub namespaces: Queue<PartialObjectMeta<Namespace>>,
}

/// Where they are taken from.
#[derive(Debug)]
#[expect(missing_docs, reason = "each name is the kind")]
pub struct Waiting {
    pub certificates: Outlet<Certificate>,
    pub identities: Outlet<Certificate>,
    pub issuers: Outlet<Issuer>,
    pub cluster_issuers: Outlet<ClusterIssuer>,
    pub requests: Outlet<CertificateRequest>,
    pub pods: Outlet<MeshPod>,
    pub namespaces: Outlet<PartialObjectMeta<Namespace>>,
}

/// A queue of one kind.
#[derive(Debug)]
pub struct Queue<K: Lookup<DynamicType = ()>> {
    sender: UnboundedSender<ObjectRef<K>>,
    tally: Tally,
}

/// The other end of a queue.
#[derive(Debug)]
pub struct Outlet<K: Lookup<DynamicType = ()>> {
    /// What was put, again and again where it was put again and again.
    pub(crate) references: UnboundedReceiver<ObjectRef<K>>,
    /// Who counts what waits.
    pub(crate) tally: Tally,
}

impl<K: Lookup<DynamicType = ()>> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), tally: self.tally.clone() }
    }
}

impl<K: Resource<DynamicType = ()>> Queue<K> {
    /// A queue, and its other end.
    pub(crate) fn new(work: &Work) -> (Self, Outlet<K>) {
        let (sender, references) = unbounded();
        let tally = work.of::<K>();
        (Self { sender, tally: tally.clone() }, Outlet { references, tally })
    }

    /// An object must be looked at.
    pub fn put(&self, object: &K) {
        self.put_reference(ObjectRef::from_obj(object));
    }

    /// The same, by its name.
    pub fn put_reference(&self, reference: ObjectRef<K>) {
        // Nothing takes them where another role has the reconciler, or where the operator is about to end.
        if self.sender.is_closed() {
            return;
        }
        self.tally.put(&reference);
        let _ = self.sender.unbounded_send(reference);
    }
}

impl Queues {
    /// Queues, and their other ends.
    #[must_use]
    pub fn new(work: &Work) -> (Self, Waiting) {
        let (certificates, waiting_certificates) = Queue::new(work);
        let (identities, waiting_identities) = Queue::new(work);
        let (issuers, waiting_issuers) = Queue::new(work);
        let (cluster_issuers, waiting_cluster_issuers) = Queue::new(work);
        let (requests, waiting_requests) = Queue::new(work);
        let (pods, waiting_pods) = Queue::new(work);
        let (namespaces, waiting_namespaces) = Queue::new(work);
        let waiting = Waiting {
            certificates: waiting_certificates,
            identities: waiting_identities,
            issuers: waiting_issuers,
            cluster_issuers: waiting_cluster_issuers,
            requests: waiting_requests,
            pods: waiting_pods,
            namespaces: waiting_namespaces,
        };
        let queues =
            Self { certificates, identities, issuers, cluster_issuers, requests, pods, namespaces };
        (queues, waiting)
    }
}
