//! Takes what waits of one kind, and has it looked at.

use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use kube::Resource;
use kube::runtime::controller::{self, Action, Controller, Error};
use kube::runtime::reflector::{ObjectRef, Store};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::metrics::Tally;
use crate::watch::Outlet;

/// How long until an object is reconciled again whose reconciliation panicked: the same input would do so
/// again at once.
const AFTER_PANIC: Duration = Duration::from_secs(300);

/// What takes the objects of one kind, so many at once, each object once at a time.
pub(crate) struct Worker<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + 'static,
{
    controller: Controller<K>,
    tally: Tally,
}

impl<K> Worker<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    pub(crate) fn new(
        store: &Store<K>,
        waiting: Outlet<K>,
        at_once: u16,
        stop: &CancellationToken,
    ) -> Self {
        let Outlet { references, tally } = waiting;
        let controller = Controller::for_stream(stream::pending(), store.clone())
            .with_config(controller::Config::default().concurrency(at_once))
            .reconcile_on(references)
            .graceful_shutdown_on(stop.clone().cancelled_owned());
        Self { controller, tally }
    }

    /// Ends with the token, once what is under way is done.
    pub(crate) async fn run<C, E, F>(
        self,
        reconcile: fn(Arc<K>, Arc<C>) -> F,
        error_policy: fn(Arc<K>, &E, Arc<C>) -> Action,
        context: Arc<C>,
    ) where
        F: Future<Output = Result<Action, E>> + Send + 'static,
        E: std::error::Error + Send + 'static,
    {
        let Self { controller, tally } = self;
        let taking = tally.clone();
        let counted = move |object: Arc<K>, context| {
            let reference = ObjectRef::from_obj(&*object);
            let running = taking.begin(&reference);
            let reconciling = reconcile(object, context);
            Box::pin(async move {
                let ended = contained(reconciling, &reference).await;
                running.end(&ended);
                ended
            })
        };
        let mut reconciled = std::pin::pin!(controller.run(counted, error_policy, context));
        while let Some(one) = reconciled.next().await {
            match one {
                Ok(_) => {}
                // It was deleted while it waited.
                Err(Error::ObjectNotFound(reference)) => tally.gone(&reference),
                // Errors of reconcilers are logged by their error policies.
                Err(error) => debug!(%error, "reconciliation ended with an error"),
            }
        }
    }
}

/// A panic ends the reconciliation of one object, and not the worker of its whole kind.
async fn contained<K, E>(
    reconciling: impl Future<Output = Result<Action, E>>,
    object: &ObjectRef<K>,
) -> Result<Action, E>
where
    K: Resource<DynamicType = ()>,
{
    let ended = AssertUnwindSafe(reconciling).catch_unwind().await;
    ended.unwrap_or_else(|_| {
        error!(%object, "reconciliation panicked: this is a fault of the operator, please report it");
        Ok(Action::requeue(AFTER_PANIC))
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use countersign_crds::Certificate;

    use super::*;

    #[tokio::test]
    async fn panic_of_one_reconciliation_is_contained() {
        let object = ObjectRef::<Certificate>::new("web").within("shop");
        let panics = async { panic!("an input that nobody thought of") };
        let ended: Result<Action, Infallible> = contained(panics, &object).await;
        assert_eq!(ended, Ok(Action::requeue(AFTER_PANIC)));
    }
}
