//! What a delivery says: one readable sentence first, the facts after it, and every fact by its name for templates.
//!
//! Pure: a row of `delivery` becomes a [`Message`], the same one at every try.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::schedule::format_duration;
use crate::store::deliveries::Delivery;

/// A subject is at most so long: it stands on one line of a telephone.
const SUBJECT_CHARACTERS: usize = 160;

/// An error within a text is at most so long; the run log has all of it.
const ERROR_CHARACTERS: usize = 1500;

/// The facts as a row keeps them; what does not apply is not there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Facts {
    status: Option<String>,
    reason: Option<String>,
    detail: Option<String>,
    trigger: Option<String>,
    error_type: Option<String>,
    error: Option<String>,
    exit_code: Option<i32>,
    signal: Option<i16>,
    due_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    duration_ms: Option<f64>,
    failures: Option<i64>,
    late_seconds: Option<f64>,
    missed_count: Option<i64>,
    missed_until: Option<Timestamp>,
    timezone: Option<String>,
    owner: Option<String>,
    description: Option<String>,
    requested_by: Option<String>,
}

/// What templates see. A fact that does not apply is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    /// What the receiver tells repetitions by.
    pub delivery_id: String,
    /// `failed`, `recovered`, `missed`, `late`, `breach`, `stale` or `test`.
    pub kind: String,
    /// One sentence on one line.
    pub subject: String,
    /// The sentence, then the facts, a line each.
    pub text: String,
    /// The lines of `text` behind the first.
    pub lines: Vec<String>,
    /// The task's name.
    pub task: Option<String>,
    /// The run, or the row of the run log.
    pub run_id: Option<i64>,
    /// Its instant.
    pub scheduled_for: Option<Timestamp>,
    /// Its attempt.
    pub attempt: Option<i16>,
    /// What asked for it.
    pub trigger: Option<String>,
    /// How it stands or ended.
    pub status: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The facts behind the reason, in words.
    pub detail: Option<String>,
    /// Type of the exception.
    pub error_type: Option<String>,
    /// Its message.
    pub error: Option<String>,
    /// Exit code of the process.
    pub exit_code: Option<i32>,
    /// Signal that ended the process.
    pub signal: Option<i16>,
    /// When it should have started.
    pub due_at: Option<Timestamp>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How long it ran, milliseconds.
    pub duration_ms: Option<f64>,
    /// How many failures in a row there are; for `recovered`, were.
    pub failures: Option<i64>,
    /// How late it is or was, seconds.
    pub late_seconds: Option<f64>,
    /// How many instants were missed.
    pub missed_count: Option<i64>,
    /// The last of them.
    pub missed_until: Option<Timestamp>,
    /// The task's zone.
    pub timezone: Option<String>,
    /// Who to ask.
    pub owner: Option<String>,
    /// What the task is for.
    pub description: Option<String>,
    /// When what it tells was written.
    pub created_at: Timestamp,
}

impl Message {
    /// Of a delivery. Facts that cannot be read are left out rather than the message.
    pub fn of(delivery: &Delivery) -> Message {
        let facts: Facts = serde_json::from_str(&delivery.facts).unwrap_or_default();
        let subject = subject(delivery, &facts);
        let lines = lines(delivery, &facts);
        let text = std::iter::once(subject.as_str())
            .chain(lines.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join("\n");
        Message {
            delivery_id: delivery.delivery_id.to_string(),
            kind: delivery.kind.clone(),
            subject,
            text,
            lines,
            task: delivery.task_name.clone(),
            run_id: delivery.run_id,
            scheduled_for: delivery.scheduled_for,
            attempt: delivery.attempt,
            trigger: facts.trigger,
            status: facts.status,
            reason: facts.reason,
            detail: facts.detail,
            error_type: facts.error_type,
            error: facts.error,
            exit_code: facts.exit_code,
            signal: facts.signal,
            due_at: facts.due_at,
            started_at: facts.started_at,
            finished_at: facts.finished_at,
            duration_ms: facts.duration_ms,
            failures: facts.failures,
            late_seconds: facts.late_seconds,
            missed_count: facts.missed_count,
            missed_until: facts.missed_until,
            timezone: facts.timezone,
            owner: facts.owner,
            description: facts.description,
            created_at: delivery.created_at,
        }
    }
}

/// `backup failed: raised ValueError: disk full (3 in a row)`.
fn subject(delivery: &Delivery, facts: &Facts) -> String {
    let task = delivery.task_name.as_deref().unwrap_or("a task");
    let in_a_row = match facts.failures {
        Some(failures) if failures > 1 => format!(" ({failures} in a row)"),
        _ => String::new(),
    };
    let sentence = match delivery.kind.as_str() {
        "failed" => format!("{task} {}", cause(facts)),
        "recovered" => match facts.failures {
            Some(failures) if failures > 1 => format!("{task} has recovered after {failures} failures in a row"),
            _ => format!("{task} has recovered"),
        },
        "missed" => missed(task, facts),
        "late" => late(task, facts),
        "breach" | "stale" => format!("{task}: {}", facts.detail.as_deref().unwrap_or("its values")),
        _ => format!("this is a test of the channel {}", delivery.channel),
    };
    let room = SUBJECT_CHARACTERS.saturating_sub(in_a_row.chars().count());
    match delivery.kind.as_str() {
        "failed" => cut_characters(&single_line(&sentence), room) + &in_a_row,
        _ => cut_characters(&single_line(&sentence), SUBJECT_CHARACTERS),
    }
}

/// How a run failed.
fn cause(facts: &Facts) -> String {
    let error = match (&facts.error_type, &facts.error) {
        (Some(kind), Some(error)) if facts.reason.as_deref() == Some("raised") => Some(format!("{kind}: {error}")),
        (_, Some(error)) => Some(error.clone()),
        (Some(kind), None) => Some(kind.clone()),
        (None, None) => facts.detail.clone(),
    };
    let (verb, words) = match (facts.status.as_deref(), facts.reason.as_deref()) {
        (Some("timed_out"), _) => ("timed out", None),
        (Some("lost"), _) => ("was lost", None),
        (_, Some("exited")) => ("failed", facts.exit_code.map(|code| format!("exit code {code}"))),
        (_, Some("signal")) => ("failed", facts.signal.map(|signal| format!("signal {signal}"))),
        (_, Some(reason)) => ("failed", Some(reason.replace('_', " "))),
        (_, None) => ("failed", None),
    };
    match (words, error) {
        (Some(words), Some(error)) if words == "raised" => format!("{verb}: raised {error}"),
        (Some(words), Some(error)) => format!("{verb}: {words}: {error}"),
        (Some(words), None) => format!("{verb}: {words}"),
        (None, Some(error)) => format!("{verb}: {error}"),
        (None, None) => verb.to_owned(),
    }
}

fn missed(task: &str, facts: &Facts) -> String {
    let why = match facts.reason.as_deref() {
        Some("limit") => "more than its catch_up_limit makes up for",
        Some("grace") => "later than its grace",
        _ => "no dropcron was there",
    };
    match facts.missed_count {
        Some(count) if count > 1 => format!("{task} missed {count} instants: {why}"),
        _ => format!("{task} missed an instant: {why}"),
    }
}

fn late(task: &str, facts: &Facts) -> String {
    let by = duration(facts.late_seconds.unwrap_or_default());
    match (facts.started_at, facts.detail.as_deref()) {
        (Some(_), _) => format!("{task} started {by} late"),
        (None, Some(detail)) => format!("{task} is {by} late and has not started: {detail}"),
        (None, None) => format!("{task} is {by} late and has not started"),
    }
}

/// The facts, a line each.
fn lines(delivery: &Delivery, facts: &Facts) -> Vec<String> {
    let zone = facts.timezone.as_deref().unwrap_or("UTC");
    let at = |at: Timestamp| instant(at, zone);
    let attempt = match delivery.attempt {
        Some(attempt) if attempt > 1 => format!(", attempt {attempt}"),
        _ => String::new(),
    };
    let error = match (&facts.error_type, &facts.error) {
        (Some(kind), Some(error)) => Some(format!("{kind}: {error}")),
        (kind, error) => error.clone().or_else(|| kind.clone()),
    };
    let rows = [
        ("Due", delivery.scheduled_for.map(at)),
        (
            "Until",
            facts
                .missed_until
                .filter(|until| Some(*until) != delivery.scheduled_for)
                .map(at),
        ),
        ("Started", facts.started_at.map(at)),
        (
            "Ended",
            facts.finished_at.filter(|_| facts.started_at.is_some()).map(at),
        ),
        (
            "Took",
            facts.duration_ms.map(|duration_ms| duration(duration_ms / 1000.0)),
        ),
        ("Run", delivery.run_id.map(|run_id| format!("{run_id}{attempt}"))),
        ("Error", error.map(|error| cut_characters(&error, ERROR_CHARACTERS))),
        ("Detail", facts.detail.clone()),
        ("Asked by", facts.requested_by.clone()),
        ("Owner", facts.owner.clone()),
        ("About", facts.description.clone()),
        ("Delivery", Some(delivery.delivery_id.to_string())),
    ];
    rows.into_iter()
        .filter_map(|(name, value)| Some(format!("{name}: {}", value?)))
        .collect()
}

/// In the task's zone, and in UTC where that is another.
fn instant(at: Timestamp, zone: &str) -> String {
    let utc = at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    match TimeZone::get(zone) {
        Ok(timezone) if zone != "UTC" => {
            let local = at.to_zoned(timezone).strftime("%Y-%m-%d %H:%M:%S").to_string();
            format!("{local} {zone} ({utc})")
        }
        _ => utc,
    }
}

/// Whole seconds as people read them, milliseconds below ten seconds.
fn duration(seconds: f64) -> String {
    let seconds = seconds.clamp(0.0, 1e12);
    if seconds < 10.0 {
        return format!("{seconds:.3}s");
    }
    format_duration(std::time::Duration::from_secs(seconds.round() as u64))
}

fn single_line(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}

fn cut_characters(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some(_) => text.chars().take(characters.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn delivery(kind: &str, facts: serde_json::Value) -> Delivery {
        Delivery {
            delivery_id: Uuid::nil(),
            channel: "ops".to_owned(),
            kind: kind.to_owned(),
            task_name: Some("backup".to_owned()),
            run_id: Some(7),
            scheduled_for: Some("2027-07-01T00:30:00Z".parse().unwrap()),
            attempt: Some(1),
            facts: facts.to_string(),
            attempts: 1,
            created_at: "2027-07-01T00:31:00Z".parse().unwrap(),
        }
    }

    fn subject(kind: &str, facts: serde_json::Value) -> String {
        Message::of(&delivery(kind, facts)).subject
    }

    #[test]
    fn the_first_sentence_says_what_happened() {
        use serde_json::json;
        let raised = json!({ "status": "failed", "reason": "raised", "error_type": "ValueError", "error": "disk full", "failures": 3 });
        for (kind, facts, sentence) in [
            (
                "failed",
                raised,
                "backup failed: raised ValueError: disk full (3 in a row)",
            ),
            (
                "failed",
                json!({ "status": "failed", "reason": "exited", "exit_code": 3, "failures": 1 }),
                "backup failed: exit code 3",
            ),
            (
                "failed",
                json!({ "status": "timed_out", "reason": "timeout", "detail": "after 5m" }),
                "backup timed out: after 5m",
            ),
            (
                "failed",
                json!({ "status": "lost", "reason": "node_gone", "detail": "the process is gone" }),
                "backup was lost: the process is gone",
            ),
            (
                "recovered",
                json!({ "failures": 4 }),
                "backup has recovered after 4 failures in a row",
            ),
            ("recovered", json!({ "failures": 1 }), "backup has recovered"),
            (
                "missed",
                json!({ "reason": "down", "missed_count": 12 }),
                "backup missed 12 instants: no dropcron was there",
            ),
            (
                "missed",
                json!({ "reason": "grace", "missed_count": 1 }),
                "backup missed an instant: later than its grace",
            ),
            (
                "late",
                json!({ "late_seconds": 90.2 }),
                "backup is 1m30s late and has not started",
            ),
            (
                "late",
                json!({ "late_seconds": 600, "started_at": "2027-07-01T00:40:00Z" }),
                "backup started 10m late",
            ),
            ("test", json!({}), "this is a test of the channel ops"),
        ] {
            assert_eq!(subject(kind, facts), sentence);
        }
    }

    #[test]
    fn a_subject_is_one_short_line_that_keeps_the_count() {
        let facts = serde_json::json!({ "status": "failed", "reason": "raised", "error_type": "E", "error": "é\n".repeat(500), "failures": 12 });
        let subject = subject("failed", facts);
        assert!(subject.ends_with("… (12 in a row)"), "{subject}");
        assert_eq!(subject.chars().count(), SUBJECT_CHARACTERS);
        assert!(!subject.contains('\n'));
    }

    #[test]
    fn times_stand_in_the_zone_of_the_task_and_in_utc() {
        let text = Message::of(&delivery("failed", serde_json::json!({ "timezone": "Europe/Berlin" }))).text;
        assert!(
            text.contains("\nDue: 2027-07-01 02:30:00 Europe/Berlin (2027-07-01 00:30:00 UTC)\n"),
            "{text}"
        );
        assert!(
            text.ends_with("Delivery: 00000000-0000-0000-0000-000000000000"),
            "{text}"
        );
    }

    #[test]
    fn facts_that_cannot_be_read_do_not_cost_the_message() {
        let message = Message::of(&delivery("failed", serde_json::json!({ "due_at": 7 })));
        assert_eq!(message.subject, "backup failed");
    }
}
