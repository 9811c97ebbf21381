//! The audit, for those who may see who did what.

use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::App;
use super::extract::{Params, bad_cursor, page_size, storable};
use super::problem::Problem;
use super::tasks::PageQuery;
use crate::store::audit::{self, Entry, Place};

/// What somebody changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who: a token, or a person as the command line or the database knows them.
    pub actor: String,
    /// From where; none: not over the API.
    pub address: Option<String>,
    /// What was done: `script.write`, `script.rename`, `script.delete`, `script.try`, `run.request`, `run.retry`, `run.cancel`,
    /// `value.judge`, `token.create`, `token.revoke`, `session.begin`, `session.end`, `task.pause`, `task.resume`, `task.override`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// What was, as far as it changed.
    #[schema(value_type = Option<serde_json::Value>)]
    pub before: Option<Box<RawValue>>,
    /// What is.
    #[schema(value_type = Option<serde_json::Value>)]
    pub after: Option<Box<RawValue>>,
}

impl From<Entry> for AuditEntry {
    fn from(entry: Entry) -> AuditEntry {
        let raw = |text: Option<String>| text.and_then(|text| RawValue::from_string(text).ok());
        AuditEntry {
            at: entry.at,
            actor: entry.actor,
            address: entry.address,
            action: entry.action,
            subject: entry.subject,
            before: raw(entry.before),
            after: raw(entry.after),
        }
    }
}

/// What people changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditPage {
    /// Newest first.
    pub items: Vec<AuditEntry>,
    /// What to send as `cursor` for those behind; none: these are the last.
    pub next_cursor: Option<String>,
}

/// List what people changed, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(PageQuery), responses((status = 200, body = AuditPage), super::problem::Refusals))]
pub async fn list_audit(State(api): App, Params(query): Params<PageQuery>) -> Result<axum::Json<AuditPage>, Problem> {
    let limit = page_size(query.limit)?;
    let place = query.cursor.as_deref().map(read_place).transpose()?;
    let mut connection = api.database.connection().await?;
    let mut rows = audit::list(&mut connection, place.as_ref(), limit + 1).await?;
    let next_cursor = (rows.len() as i64 > limit).then(|| {
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        rows.last()
            .map(|entry| format!("{}_{}_{}", entry.at, entry.number, entry.source))
    });
    Ok(axum::Json(AuditPage {
        items: rows.into_iter().map(AuditEntry::from).collect(),
        next_cursor: next_cursor.flatten(),
    }))
}

fn read_place(cursor: &str) -> Result<Place, Problem> {
    let read = || {
        let mut parts = cursor.splitn(3, '_');
        let (at, number, source) = (parts.next()?, parts.next()?, parts.next()?);
        let source = ["audit", "task_event"].into_iter().find(|known| *known == source)?;
        Some(Place {
            at: storable(at.parse().ok()?),
            source: source.to_owned(),
            number: number.parse().ok()?,
        })
    };
    read().ok_or_else(|| bad_cursor(cursor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let place = read_place("2026-11-01T02:30:00Z_7_task_event").unwrap();
        assert_eq!((place.number, place.source.as_str()), (7, "task_event"));
        for wrong in [
            "",
            "x_1_audit",
            "2026-11-01T02:30:00Z_7",
            "2026-11-01T02:30:00Z_7_passwords",
        ] {
            assert!(read_place(wrong).is_err(), "{wrong}");
        }
    }
}
