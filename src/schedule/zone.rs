//! A time zone as stretches of instants with one offset, and the look-up of a zone by its name.
//!
//! Owns what a clock on the wall shows at an instant, and which of its readings were shown before. Knows nothing about
//! schedules. Instants are whole seconds since the Unix epoch, local times whole seconds since 1970-01-01T00:00 on the
//! wall; both are `i64`, and differ by the offset.

use jiff::Timestamp;
use jiff::tz::{self, TimeZone};

use super::ScheduleError;

/// How far offsets can be apart, in seconds: jiff's own limit of 25:59:59 on either side. It bounds how long ago a
/// transition can have been whose repeated local times are still being shown.
const MAX_OFFSET_SPAN: i64 = 2 * 26 * 3_600;

/// How far a local time can be from the instant that shows it, in seconds.
pub(super) const MAX_OFFSET: i64 = 26 * 3_600;

/// The instants `start..end`, during which the offset does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// The first instant: a transition, or the first instant there is.
    pub start: i64,
    /// The instant after the last: the next transition, or the end of time.
    pub end: i64,
    /// Local time minus instant, in seconds.
    pub offset: i64,
    /// The wall clock reached or passed every local time before this one in earlier stretches. Less than
    /// `local_start()`: the clock jumps over a gap. More: the clock goes back and shows some local times again.
    pub reached: i64,
}

impl Stretch {
    /// The stretch that holds `instant`.
    pub(super) fn at(zone: &TimeZone, instant: i64) -> Option<Stretch> {
        let timestamp = Timestamp::from_second(instant).ok()?;
        let offset = offset_at(zone, timestamp);
        let start = transition_at_or_before(zone, instant);
        let first = first_instant();
        Some(Stretch {
            start: start.unwrap_or(first),
            end: zone
                .following(timestamp)
                .next()
                .map_or_else(last_instant, |next| next.timestamp().as_second()),
            offset,
            reached: start.map_or(first + offset, |start| reached_before(zone, start)),
        })
    }

    /// The local time at the first instant.
    pub(super) fn local_start(&self) -> i64 {
        self.start + self.offset
    }

    /// The local time that the stretch just does not show.
    pub(super) fn local_end(&self) -> i64 {
        self.end + self.offset
    }

    /// Whether local times were left out right before this stretch.
    pub(super) fn follows_gap(&self) -> bool {
        self.reached < self.local_start()
    }
}

/// The first instant at which the wall clock shows `local` or, where `local` does not exist, anything later.
pub(super) fn first_instant_reaching(zone: &TimeZone, local: i64) -> Option<i64> {
    let mut instant = (local - MAX_OFFSET_SPAN).max(first_instant());
    loop {
        let stretch = Stretch::at(zone, instant)?;
        if local < stretch.local_end() {
            return Some(stretch.start.max(local - stretch.offset));
        }
        instant = stretch.end;
    }
}

/// The first instant that jiff can represent.
pub(super) fn first_instant() -> i64 {
    Timestamp::MIN.as_second()
}

/// The second after the last one that jiff can represent.
pub(super) fn last_instant() -> i64 {
    Timestamp::MAX.as_second() + 1
}

fn offset_at(zone: &TimeZone, timestamp: Timestamp) -> i64 {
    i64::from(zone.to_offset(timestamp).seconds())
}

fn transition_at_or_before(zone: &TimeZone, instant: i64) -> Option<i64> {
    let just_after = Timestamp::from_second(instant + 1).unwrap_or(Timestamp::MAX);
    zone.preceding(just_after)
        .next()
        .map(|transition| transition.timestamp().as_second())
}

/// The end of the local times that were shown before the transition at `start`. Usually the transition's own, but where
/// transitions follow each other closely an earlier one may have been further.
fn reached_before(zone: &TimeZone, start: i64) -> i64 {
    let mut reached = local_end_before(zone, start);
    let mut transition = start;
    while let Some(earlier) = transition_at_or_before(zone, transition - 1) {
        if start - earlier > MAX_OFFSET_SPAN {
            break;
        }
        reached = reached.max(local_end_before(zone, earlier));
        transition = earlier;
    }
    reached
}

fn local_end_before(zone: &TimeZone, transition: i64) -> i64 {
    let before = Timestamp::from_second(transition - 1).unwrap_or(Timestamp::MIN);
    transition + offset_at(zone, before)
}

/// Names that the zone database has beside the zones: the machine's own zone, placeholders, and copies that count leap
/// seconds. A schedule that named one would fire at other instants on another machine.
const REJECTED_NAMES: [&str; 4] = ["localtime", "posixrules", "factory", "local"];
const REJECTED_DIRECTORIES: [&str; 2] = ["posix/", "right/"];

/// Looks up an IANA time zone and gives it with its canonical spelling.
pub(super) fn find(name: &str) -> Result<(TimeZone, String), ScheduleError> {
    let name = name.trim();
    let unknown = || ScheduleError::UnknownTimezone {
        name: name.to_owned(),
        suggestion: suggest(name),
    };
    if is_rejected(name) {
        return Err(unknown());
    }
    let zone = tz::db().get(name).map_err(|_| unknown())?;
    let canonical = zone.iana_name().unwrap_or(name).to_owned();
    Ok((zone, canonical))
}

fn is_rejected(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    REJECTED_NAMES.contains(&name.as_str()) || REJECTED_DIRECTORIES.iter().any(|directory| name.starts_with(directory))
}

/// Similarity from which a name is worth suggesting (1 is equal): `Europe/Berln` finds `Europe/Berlin`, while `PST` finds
/// nothing rather than a zone on another continent.
const SUGGESTION_THRESHOLD: f64 = 0.8;

fn suggest(name: &str) -> Option<String> {
    let wanted = name.trim().replace(' ', "_").to_ascii_lowercase();
    tz::db()
        .available()
        .map(|candidate| candidate.as_str().to_owned())
        .filter(|candidate| !is_rejected(candidate))
        .map(|candidate| (likeness(&wanted, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= SUGGESTION_THRESHOLD)
        .max_by(|(left, left_name), (right, right_name)| left.total_cmp(right).then_with(|| right_name.cmp(left_name)))
        .map(|(_, candidate)| candidate)
}

/// How alike two names are; the city alone counts as almost the whole name.
fn likeness(wanted: &str, candidate: &str) -> f64 {
    let city = candidate.rsplit('/').next().unwrap_or(candidate);
    let whole = strsim::normalized_damerau_levenshtein(wanted, candidate);
    if wanted.contains('/') {
        return whole;
    }
    whole.max(0.99 * strsim::normalized_damerau_levenshtein(wanted, city))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        find(name).expect("a zone of the database").0
    }

    fn instant(text: &str) -> i64 {
        text.parse::<Timestamp>().expect("an instant").as_second()
    }

    #[test]
    fn a_stretch_knows_the_gap_before_it() {
        let stretch = Stretch::at(&zone("Europe/Berlin"), instant("2027-05-01T00:00Z")).expect("within the calendar");
        assert_eq!(stretch.start, instant("2027-03-28T01:00Z"));
        assert_eq!(stretch.end, instant("2027-10-31T01:00Z"));
        assert_eq!(stretch.offset, 7_200);
        assert_eq!(stretch.local_start() - stretch.reached, 3_600);
        assert!(stretch.follows_gap());
    }

    #[test]
    fn a_stretch_knows_what_it_repeats() {
        let stretch = Stretch::at(&zone("Europe/Berlin"), instant("2027-10-31T01:00Z")).expect("within the calendar");
        assert_eq!(stretch.start, instant("2027-10-31T01:00Z"));
        assert_eq!(stretch.reached - stretch.local_start(), 3_600);
        assert!(!stretch.follows_gap());
    }

    #[test]
    fn a_zone_without_transitions_is_one_stretch() {
        let stretch = Stretch::at(&zone("UTC"), 0).expect("within the calendar");
        assert_eq!((stretch.start, stretch.end), (first_instant(), last_instant()));
        assert_eq!(stretch.reached, stretch.local_start());
    }

    #[test]
    fn what_was_shown_before_an_earlier_transition_still_counts() {
        // On 1 March the clocks go back from 02:00 to 00:00 and, half an hour later, forward to 02:30.
        let zone = TimeZone::posix("AAA0BBB2,J60/2,J60/0:30").expect("a POSIX time zone");
        let stretch = Stretch::at(&zone, instant("2027-03-01T03:00Z")).expect("within the calendar");
        assert_eq!(stretch.local_start(), instant("2027-03-01T02:30Z"));
        assert_eq!(stretch.reached, instant("2027-03-01T02:00Z"));
        assert_eq!(
            first_instant_reaching(&zone, instant("2027-03-01T01:00Z")),
            Some(instant("2027-03-01T01:00Z"))
        );
        assert_eq!(
            first_instant_reaching(&zone, instant("2027-03-01T02:15Z")),
            Some(stretch.start)
        );
    }

    #[test]
    fn a_misspelt_zone_gets_a_suggestion() {
        let message = |name| find(name).expect_err("no zone of the database").to_string();
        assert_eq!(
            message("Europe/Berln"),
            "unknown time zone `Europe/Berln`, did you mean `Europe/Berlin`?"
        );
        assert!(message("Berlin").contains("did you mean `Europe/Berlin`?"));
        assert!(message("New York").contains("did you mean `America/New_York`?"));
        assert!(!message("Middle-earth/Shire").contains("did you mean"));
        assert!(message("+02:00").contains("such as `Europe/Berlin`"));
    }

    #[test]
    fn a_zone_is_found_in_any_letter_case_and_spelt_canonically() {
        assert_eq!(find(" europe/berlin ").expect("a zone").1, "Europe/Berlin");
    }

    #[test]
    fn the_zone_of_the_machine_is_not_a_zone() {
        for name in [
            "",
            "localtime",
            "local",
            "posixrules",
            "Factory",
            "right/Europe/Berlin",
            "posix/UTC",
        ] {
            assert!(find(name).is_err(), "{name}");
        }
    }
}
