//! What a pod asks for by annotation; pure. A mistake is noted, and the pod starts without what was
//! meant, unless `known` says that it must not.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_contract::covered::MAX_PORTS;
use countersign_contract::{Served, Upstream, log_filter, names, served, upstream};

use super::args::InjectArgs;
use super::known::{KNOWN, Mistake, fault};
use super::pod::{Pod, PodSpec};
use super::quantity::nanos;
use super::resources::{Asked, Resources};
use super::time_limits::TIME_LIMITS;

/// So many mistakes are told of one pod.
const MOST_NOTES: usize = 16;

/// How long connections may go on at most after the pod was told to end.
const LONGEST_DRAIN: Duration = Duration::from_secs(24 * 3600);

/// How connections come to the sidecar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// By rules in the pod's network, which an init container lays.
    #[default]
    Redirect,
    /// Because they are made to it.
    Explicit,
}

/// What a pod asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) mode: Mode,
    pub(super) served: Vec<Served>,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) skip_inbound: Vec<u16>,
    pub(super) skip_outbound: Vec<u16>,
    pub(super) rewrites_probes: bool,
    pub(super) drain: Duration,
    /// Flags of the sidecar, with how long.
    pub(super) time_limits: Vec<(&'static str, Duration)>,
    pub(super) log: String,
    pub(super) log_format: String,
    pub(super) resources: Resources,
    /// What is to be told of mistakes.
    pub(super) notes: Vec<String>,
}

/// Reads what a pod asks for.
///
/// # Errors
/// When the pod must not start like that; the sentence says why.
pub(super) fn wishes(pod: &Pod, spec: &PodSpec, args: &InjectArgs) -> Result<Wishes, String> {
    let mut reader = Reader { annotations: pod.annotations(), notes: Vec::new() };
    let mode = reader.read(names::MODE_ANNOTATION, is_mode)?.unwrap_or_default();
    let served = reader.read(names::INBOUND_ANNOTATION, served_ports)?.unwrap_or_default();
    let listed = |text: &str| upstream::parse_list(text).map_err(|error| error.to_string());
    let upstreams = reader.read(names::UPSTREAMS_ANNOTATION, listed)?.unwrap_or_default();
    let skip_inbound = reader.read(names::SKIP_INBOUND_PORTS_ANNOTATION, ports)?;
    let skip_outbound = reader.read(names::SKIP_OUTBOUND_PORTS_ANNOTATION, ports)?;
    let rewrites_probes = reader.read(names::PROBES_ANNOTATION, is_rewrite)?;
    let log = reader.read(names::SIDECAR_LOG_ANNOTATION, filter)?;
    let log_format = reader.read(names::SIDECAR_LOG_FORMAT_ANNOTATION, format)?;
    let drain = drain(&mut reader, spec)?;
    let time_limits = time_limits(&mut reader, args)?;
    let resources = resources(&mut reader, args)?;
    reader.unknown();
    reader.fits(mode, &served)?;
    Ok(Wishes {
        mode,
        served,
        upstreams,
        skip_inbound: skip_inbound.unwrap_or_default(),
        skip_outbound: skip_outbound.unwrap_or_default(),
        rewrites_probes: rewrites_probes.unwrap_or(true),
        drain,
        time_limits,
        log: log.unwrap_or_else(|| args.sidecar_log.clone()),
        log_format: log_format.unwrap_or_else(|| args.sidecar_log_format.clone()),
        resources,
        notes: reader.notes,
    })
}

/// A pod's annotations, and what is wrong with them.
struct Reader<'a> {
    annotations: &'a BTreeMap<String, String>,
    notes: Vec<String>,
}

impl Reader<'_> {
    /// One of them. What `parse` says against it may be empty: then what is wanted says enough.
    fn read<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let Some(value) = self.annotations.get(name) else { return Ok(None) };
        let why = match parse(value.trim()) {
            Ok(parsed) => return Ok(Some(parsed)),
            Err(why) => why,
        };
        let known = KNOWN.iter().find(|known| known.name == name);
        let wanted = known.map_or("", |known| known.wanted);
        let why = if why.is_empty() { format!("{} is not {wanted}", quoted(value)) } else { why };
        match known.map(|known| known.mistake) {
            Some(Mistake::Default(instead)) => {
                self.note(format!("annotation {name}: {why}; {instead}"));
                Ok(None)
            }
            _ => Err(format!("annotation {name}: {why}")),
        }
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < MOST_NOTES {
            self.notes.push(note);
        }
    }

    fn unknown(&mut self) {
        self.annotations.keys().filter_map(|name| fault(name)).for_each(|note| self.note(note));
    }

    /// Whether what was said goes with the mode.
    fn fits(&mut self, mode: Mode, served: &[Served]) -> Result<(), String> {
        if mode == Mode::Redirect && !served.is_empty() {
            return Err(format!(
                "annotation {}: ports are served in mode explicit only: set {}",
                names::INBOUND_ANNOTATION,
                names::MODE_ANNOTATION
            ));
        }
        let skipping =
            [names::SKIP_INBOUND_PORTS_ANNOTATION, names::SKIP_OUTBOUND_PORTS_ANNOTATION];
        for name in skipping.into_iter().filter(|_| mode == Mode::Explicit) {
            if self.annotations.contains_key(name) {
                let why = "in mode explicit nothing is redirected that could be skipped";
                self.note(format!("annotation {name} has no effect: {why}"));
            }
        }
        Ok(())
    }
}

/// A value as it was written, as far as there is room.
fn quoted(value: &str) -> String {
    format!("{:?}", value.chars().take(64).collect::<String>())
}

/// One of a few words.
fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(String::new)
}

fn is_mode(text: &str) -> Result<Mode, String> {
    word(text, &[("redirect", Mode::Redirect), ("explicit", Mode::Explicit)])
}

fn is_rewrite(text: &str) -> Result<bool, String> {
    word(text, &[("rewrite", true), ("leave", false)])
}

fn format(text: &str) -> Result<String, String> {
    word(text, &[("json", "json"), ("human", "human")]).map(str::to_owned)
}

/// Each port once, in the order in which they were named first.
fn ports(text: &str) -> Result<Vec<u16>, String> {
    let items = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|item| !item.is_empty());
    let mut ports = Vec::new();
    for item in items {
        let port = item.parse().ok().filter(|port| *port != 0);
        let port: u16 = port.ok_or_else(|| format!("{} is not a port", quoted(item)))?;
        if !ports.contains(&port) {
            ports.push(port);
        }
        if ports.len() > MAX_PORTS {
            return Err(format!("it names more than {MAX_PORTS} ports"));
        }
    }
    Ok(ports)
}

/// As many as there may be of redirected ones.
fn served_ports(text: &str) -> Result<Vec<Served>, String> {
    let items = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|item| !item.is_empty());
    if items.count() > MAX_PORTS {
        return Err(format!("it names more than {MAX_PORTS} ports"));
    }
    served::parse_list(text).map_err(|error| error.to_string())
}

fn filter(text: &str) -> Result<String, String> {
    log_filter::parse(text).ok_or_else(String::new)
}

fn time_limits(
    reader: &mut Reader<'_>,
    args: &InjectArgs,
) -> Result<Vec<(&'static str, Duration)>, String> {
    let mut limits = Vec::new();
    for limit in TIME_LIMITS {
        let asked = reader.read(limit.name, |text| limit.parse(text).ok_or_else(String::new))?;
        limits.extend(asked.or_else(|| limit.usual(args)).map(|time| (limit.flag, time)));
    }
    Ok(limits)
}

fn drain(reader: &mut Reader<'_>, spec: &PodSpec) -> Result<Duration, String> {
    let grace = u64::try_from(spec.termination_grace_period_seconds.unwrap_or(30)).unwrap_or(0);
    let duration = |text: &str| {
        let duration = crate::duration::parse(text);
        duration.filter(|duration| *duration <= LONGEST_DRAIN).ok_or_else(String::new)
    };
    let name = names::DRAIN_TIMEOUT_ANNOTATION;
    let Some(asked) = reader.read(name, duration)? else { return Ok(usual_drain(grace)) };
    if asked > Duration::from_secs(grace) {
        reader.note(format!(
            "annotation {name}: {asked:?} is longer than the pod has to end, {grace}s: raise terminationGracePeriodSeconds"
        ));
    }
    Ok(asked)
}

/// A little less than the pod has to end: whoever is cut is told so by the sidecar.
fn usual_drain(grace: u64) -> Duration {
    if grace >= 10 { Duration::from_secs(grace - 5) } else { Duration::from_millis(grace * 500) }
}

fn resources(reader: &mut Reader<'_>, args: &InjectArgs) -> Result<Resources, String> {
    let at_least = |least: &'static str| {
        move |text: &str| match (nanos(text), nanos(least)) {
            (Some(asked), Some(least)) if asked >= least => Ok(text.to_owned()),
            _ => Err(String::new()),
        }
    };
    let (cpu, memory) = (at_least("1m"), at_least("8Mi"));
    let cpu = Asked {
        request: reader.read(names::SIDECAR_CPU_REQUEST_ANNOTATION, cpu)?,
        limit: reader.read(names::SIDECAR_CPU_LIMIT_ANNOTATION, cpu)?,
    };
    let memory = Asked {
        request: reader.read(names::SIDECAR_MEMORY_REQUEST_ANNOTATION, memory)?,
        limit: reader.read(names::SIDECAR_MEMORY_LIMIT_ANNOTATION, memory)?,
    };
    let (resources, notes) = Resources::of(args, cpu, memory);
    notes.into_iter().for_each(|note| reader.note(note));
    Ok(resources)
}

#[cfg(test)]
mod tests;
