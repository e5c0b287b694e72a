//! When a certificate is renewed; pure.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use countersign_crds::{CertificateSpec, RenewalPolicy, RenewalWindow};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

use super::wanted::InvalidField;
use crate::pki::{BACKDATE, BACKDATED_PART, CertificateFacts, Validity};

/// A certificate is used so long before it is renewed, or a tenth of its lifetime, if that is shorter.
const LEAST_AGE: SignedDuration = SignedDuration::from_mins(1);

/// When a certificate is renewed, as its spec says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// How long before its end.
    pub lead: Lead,
    /// Not at all before somebody asks.
    pub is_disabled: bool,
    /// Only in these windows, where there are any.
    pub windows: Vec<Window>,
    /// So many thousandths of what may be chosen at random: certificates that were issued together
    /// are not renewed together.
    pub spread: u16,
}

/// How long before its end a certificate is renewed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lead {
    /// A third of its lifetime.
    #[default]
    Third,
    /// So long, where that is shorter than it lives.
    Time(Duration),
    /// So many hundredths of its lifetime.
    Percent(u8),
}

/// A time that comes again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    opens: Cron,
    zone: TimeZone,
    length: SignedDuration,
}

impl Terms {
    /// Reads a spec.
    ///
    /// # Errors
    /// When a window makes no sense.
    pub fn of(spec: &CertificateSpec) -> Result<Self, InvalidField> {
        let lead = match (spec.renew_before, spec.renew_before_percentage) {
            (Some(before), _) => Lead::Time(before.into()),
            (None, Some(percent)) => Lead::Percent(u8::try_from(percent).unwrap_or(99).min(99)),
            (None, None) => Lead::Third,
        };
        let renewal = spec.renewal.as_ref();
        let windows = renewal.into_iter().flat_map(|renewal| &renewal.windows);
        Ok(Self {
            lead,
            is_disabled: renewal.is_some_and(|renewal| renewal.policy == RenewalPolicy::Disabled),
            windows: windows.map(Window::of).collect::<Result<_, _>>()?,
            spread: 0,
        })
    }

    /// The same, with its share of chance: always the same for the same object.
    #[must_use]
    pub fn spread_by(self, uid: &str) -> Self {
        Self { spread: share_of(uid), ..self }
    }

    /// When a certificate is renewed, if it is.
    #[must_use]
    pub fn due(&self, leaf: &CertificateFacts) -> Option<Timestamp> {
        (!self.is_disabled).then(|| self.in_window(leaf, self.plain(leaf)))
    }

    /// Windows left aside. A certificate lives from when it was made, which is later than it says
    /// (see `clamp_lifetime`): one that shall be renewed so long before its end as only counts from
    /// what it says would be due as soon as it is issued, and then issued without end. Chance takes
    /// at most a twentieth of the time until then.
    fn plain(&self, leaf: &CertificateFacts) -> Timestamp {
        let Validity { not_before, not_after } = leaf.validity;
        let (said, lives) = (not_after.duration_since(not_before), lifetime(leaf));
        let part = |percent: u8, whole: SignedDuration| whole * i32::from(percent) / 100;
        let asked = match self.lead {
            Lead::Third => None,
            Lead::Time(before) => SignedDuration::try_from(before).ok(),
            Lead::Percent(percent) if part(percent, said) < lives => Some(part(percent, said)),
            Lead::Percent(percent) => Some(part(percent, lives)),
        };
        let before = asked.filter(|before| *before < lives).unwrap_or(said / 3);
        // However late it is asked for, a certificate is not replaced as soon as it is there.
        let before = before.min(lives - LEAST_AGE.min(lives / 10));
        let until = (lives - before).max(SignedDuration::ZERO);
        let chance = until / 20 * i32::from(self.spread) / 1000;
        // Whole seconds, as they are written: a fraction would be gone when the status is read.
        let before = SignedDuration::from_secs((before + chance).as_secs());
        not_after.checked_sub(before).unwrap_or(not_before)
    }

    /// Moved into a window: the one that it falls into, or else the next, or else the last before;
    /// where none comes while the certificate is valid, it is not left to expire.
    fn in_window(&self, leaf: &CertificateFacts, plain: Timestamp) -> Timestamp {
        let Validity { not_before, not_after } = leaf.validity;
        if self.windows.is_empty() || self.windows.iter().any(|window| window.contains(plain)) {
            return plain;
        }
        let reserve = lifetime(leaf) / 20;
        let (earliest, latest) = (not_before + reserve * 2, not_after - reserve);
        let within = |window: &Window, opens: Timestamp| {
            // A tenth is left at its end, for work that takes its time.
            opens + window.length / 10 * 9 * i32::from(self.spread) / 1000
        };
        let next =
            self.windows.iter().filter_map(|window| Some(within(window, window.next(plain)?)));
        let last = self.windows.iter().filter_map(|w| Some(within(w, w.previous(plain)?)));
        let next = next.filter(|time| *time < latest).min();
        let last = || last.filter(|time| *time > earliest).max();
        let time = next.or_else(last).unwrap_or(plain);
        Timestamp::from_second(time.as_second()).unwrap_or(plain)
    }
}

/// An object's own share of chance, in thousandths: always the same for the same uid.
#[must_use]
pub fn share_of(uid: &str) -> u16 {
    let mut hasher = DefaultHasher::new();
    uid.hash(&mut hasher);
    u16::try_from(hasher.finish() % 1000).unwrap_or(0)
}

/// How long a certificate lives from when it was made.
fn lifetime(leaf: &CertificateFacts) -> SignedDuration {
    let Validity { not_before, not_after } = leaf.validity;
    let said = not_after.duration_since(not_before);
    let backdate = SignedDuration::try_from(BACKDATE).unwrap_or(SignedDuration::ZERO);
    // Rounded so that none is taken to live longer than it does.
    said - backdate.min(said / BACKDATED_PART + SignedDuration::from_secs(1)).min(said)
}

/// Whether a cron expression has a day within eight years, in which every date comes at least once. A
/// search for the next time would else go on for thousands of years.
fn has_a_day(parser: &CronParser, cron: &str) -> bool {
    const DAYS: i64 = 8 * 366;
    let fields: Vec<_> = cron.split_whitespace().skip(2).collect();
    let Ok(days) = parser.parse(&format!("* * {}", fields.join(" "))) else { return false };
    let first = Date::constant(2024, 1, 1);
    (0..DAYS).any(|after| {
        let day = first.checked_add(Span::new().days(after));
        let noon = day.ok().and_then(|day| day.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).ok());
        noon.is_some_and(|noon| days.is_time_matching(&noon).unwrap_or(false))
    })
}

impl Window {
    fn of(window: &RenewalWindow) -> Result<Self, InvalidField> {
        let RenewalWindow { timezone, window_duration, cron } = window;
        let zone = timezone.as_deref().filter(|zone| !zone.is_empty()).unwrap_or("UTC");
        let invalid = |field, value: &str, problem| InvalidField::new(field, value, problem);
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed);
        let length = SignedDuration::try_from(Duration::from(*window_duration));
        let parser = parser.build();
        let opens = parser.parse(cron).map_err(|_| {
            invalid("renewal.windows.cron", cron, "is no cron expression of five fields")
        })?;
        if !has_a_day(&parser, cron) {
            let problem =
                "has no occurrence within 8 years: such as 30 February, its day does not exist";
            return Err(invalid("renewal.windows.cron", cron, problem));
        }
        Ok(Self {
            opens,
            zone: TimeZone::get(zone).map_err(|_| {
                invalid("renewal.windows.timezone", zone, "is no time zone of the IANA database")
            })?,
            length: length.ok().filter(|length| length.is_positive()).ok_or_else(|| {
                let text = window_duration.to_string();
                invalid("renewal.windows.windowDuration", &text, "is no positive duration")
            })?,
        })
    }

    fn contains(&self, time: Timestamp) -> bool {
        self.previous(time).is_some_and(|opened| time.duration_since(opened) < self.length)
    }

    /// When it opens after `time`; a date that never comes (30 February) is none.
    fn next(&self, time: Timestamp) -> Option<Timestamp> {
        let from = time.to_zoned(self.zone.clone());
        self.opens.find_next_occurrence(&from, false).ok().map(|found| found.timestamp())
    }

    /// When it opened last, perhaps just at `time`.
    fn previous(&self, time: Timestamp) -> Option<Timestamp> {
        let from = time.to_zoned(self.zone.clone());
        self.opens.find_previous_occurrence(&from, true).ok().map(|found| found.timestamp())
    }
}

#[cfg(test)]
mod tests;
