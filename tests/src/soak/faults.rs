//! What goes wrong meanwhile, once in each minute, and what only changes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::application::Application;
use super::sidecar::Sidecar;
use super::site::Site;
use super::weather::Weather;

/// The credentials are replaced every second, for ever.
pub(super) async fn swap(site: Arc<Site>) -> anyhow::Result<()> {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    for version in 1.. {
        ticks.tick().await;
        site.swap(version).context("replacing the credentials")?;
    }
    Ok(())
}

/// A minute in which the application goes away and comes back, and each sidecar has no descriptor
/// left for a while.
pub(super) async fn minute(
    application: &mut Application,
    sidecars: &[Sidecar],
    weather: &Weather,
) -> anyhow::Result<()> {
    let seconds = Duration::from_secs;
    sleep(seconds(10)).await;
    {
        let _storm = weather.storm();
        application.goes().await;
        sleep(seconds(2)).await;
        application.comes().await.context("the application cannot come back")?;
        // Whoever was refused on the way is told of it by now.
        sleep(seconds(1)).await;
    }
    for sidecar in sidecars {
        sleep(seconds(10)).await;
        let _storm = weather.storm();
        let limit = sidecar.starve()?;
        sleep(seconds(2)).await;
        sidecar.limit(limit)?;
        // It waits for up to a second before it accepts again those who came meanwhile.
        sleep(seconds(3)).await;
    }
    sleep(seconds(14)).await;
    Ok(())
}
