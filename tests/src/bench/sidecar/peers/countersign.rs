//! Ours, as the image starts it: it logs each connection to its standard output.

use super::super::terminator::{Setting, free};
use super::Arguments;

pub(super) fn arguments(setting: &Setting<'_>) -> anyhow::Result<Arguments> {
    let arguments = [
        "--log-format=json",
        "inbound",
        "--listen",
        &setting.listen.to_string(),
        "--to",
        &setting.to.to_string(),
        "--credentials",
        &setting.credentials.display().to_string(),
        "--admin",
        &free()?.to_string(),
        "--workers",
        "1",
    ];
    Ok((arguments.map(str::to_owned).to_vec(), Vec::new()))
}
