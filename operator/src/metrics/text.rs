//! The whole text of /metrics.

use std::fmt;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::Registry;

use super::objects::Objects;

/// All that is told at /metrics.
#[derive(Debug)]
pub struct Exposition {
    registry: Registry,
    objects: Objects,
}

impl Exposition {
    /// What was counted, and what the watches hold.
    #[must_use]
    pub fn new(registry: Registry, objects: Objects) -> Self {
        Self { registry, objects }
    }

    /// The text in pages, in the format of OpenMetrics. What was counted is on the first one; it is
    /// small, however many objects there are.
    ///
    /// # Errors
    /// When a metric cannot be written.
    pub fn pages(&self) -> Result<impl Iterator<Item = String> + Send + use<>, fmt::Error> {
        let mut counted = String::new();
        encode_registry(&mut counted, &self.registry)?;
        let end = "# EOF\n".to_owned();
        Ok(std::iter::once(counted).chain(self.objects.pages()).chain(std::iter::once(end)))
    }
}
