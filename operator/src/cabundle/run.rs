//! Who is looked at and when: an object that changed, and every object whose Secret or Certificate
//! changed.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{Store, store};
use kube::{Api, ResourceExt};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::observe::points_at;
use super::reconcile::{Injection, error_policy, reconcile};
use super::source::{Source, asked, is_asked};
use super::targets::Target;
use crate::context::Context;
use crate::last_word::LastWords;
use crate::watch::{Change, Key, Queue, Scope, follow};
use crate::worker::Worker;

/// So many objects of a kind are looked at at once.
const AT_ONCE: u16 = 4;

/// Runs until `stop` is cancelled.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let injection = Arc::new(Injection { context, said: LastWords::default() });
    tokio::join!(
        inject::<ValidatingWebhookConfiguration>(&injection, &stop),
        inject::<MutatingWebhookConfiguration>(&injection, &stop),
        inject::<APIService>(&injection, &stop),
        inject::<CustomResourceDefinition>(&injection, &stop),
    );
}

/// Follows one kind by its metadata: of those that ask for nothing, no more is ever read.
async fn inject<K: Target>(injection: &Arc<Injection>, stop: &CancellationToken) {
    let api: Api<PartialObjectMeta<K>> = Api::all(injection.context.client.clone());
    let (objects, writer) = store();
    let metrics = &injection.context.metrics;
    let (queue, waiting) = Queue::new(&metrics.work);
    let told = |change: Change<'_, PartialObjectMeta<K>>| match change {
        Change::There(object) if is_asked(object.annotations()) => queue.put(object),
        Change::There(_) => {}
        Change::Gone(object) => injection.said.forget(&object.uid().unwrap_or_default()),
    };
    let everything = Scope::default();
    let following = follow(api, everything, writer, &metrics.watch_restarts, told);
    let waking = wake(&injection.context, &objects, &queue);
    let reconciling = Worker::new(&objects, waiting, AT_ONCE, stop).run(
        reconcile::<K>,
        error_policy::<K>,
        injection.clone(),
    );
    tokio::select! {
        // It ends with `stop`, once what is under way is done.
        () = reconciling => {}
        () = following => {}
        () = waking => {}
    }
}

/// What a change concerns: of a decision that rests on two watches, either wakes.
enum Changed {
    Secret(Key),
    Certificate(Key),
    /// So many changed at once that some were missed.
    Any,
}

impl Changed {
    fn concerns(&self, context: &Context, source: &Source) -> bool {
        match self {
            Self::Secret(key) => points_at(context, source).is_some_and(|at| at == *key),
            Self::Certificate(key) => *source == Source::Certificate(key.clone()),
            Self::Any => true,
        }
    }
}

async fn next(changes: &mut Receiver<Key>, changed: fn(Key) -> Changed) -> Changed {
    match changes.recv().await {
        Ok(key) => changed(key),
        Err(RecvError::Lagged(_)) => Changed::Any,
        Err(RecvError::Closed) => std::future::pending().await,
    }
}

/// Puts the objects into the queue whose Secret changed, or whose Certificate names another one.
async fn wake<K: Target>(
    context: &Context,
    objects: &Store<PartialObjectMeta<K>>,
    queue: &Queue<PartialObjectMeta<K>>,
) {
    let mut secrets = context.seen.secrets.changes();
    let mut certificates = context.seen.claims.changes();
    loop {
        let changed = tokio::select! {
            changed = next(&mut secrets, Changed::Secret) => changed,
            changed = next(&mut certificates, Changed::Certificate) => changed,
        };
        let is_concerned = |object: &PartialObjectMeta<K>| {
            let source = asked(object.annotations()).ok().flatten();
            source.is_some_and(|source| changed.concerns(context, &source))
        };
        objects.state_filter(is_concerned).iter().for_each(|object| queue.put(object));
    }
}
