//! Whether and when a certificate is renewed.

use kube::KubeSchema;
use kube::core::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether and when a certificate is renewed.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("self.policy != 'Disabled' || !has(self.windows) || size(self.windows) == 0")
        .message("windows must not be set where policy is Disabled")
)]
#[serde(rename_all = "camelCase")]
pub struct Renewal {
    /// Whether it is renewed at all.
    pub policy: RenewalPolicy,
    /// When it may be renewed; whenever it is due unless set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub windows: Vec<RenewalWindow>,
}

/// Whether a certificate is renewed at all.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum RenewalPolicy {
    /// Before it expires, see renewBefore and renewBeforePercentage.
    RenewBefore,
    /// Not before somebody asks for it, or the spec changes.
    Disabled,
}

/// A time that comes again and again.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewalWindow {
    /// The time zone of `cron`, by its IANA name; UTC unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[A-Za-z0-9_+/-]*$"))]
    pub timezone: Option<String>,
    /// How long it lasts, a Go duration in hours, minutes and seconds.
    #[schemars(length(max = 64), regex(pattern = r"^([0-9]{1,7}(\.[0-9]{1,9})?(s|m|h))+$"))]
    pub window_duration: Duration,
    /// When it begins: minute, hour, day of the month, month, day of the week.
    #[schemars(length(min = 9, max = 128), regex(pattern = r"^\S+( +\S+){4}$"))]
    pub cron: String,
}
