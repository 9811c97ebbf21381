//! Columns as Rust values: instants of jiff and hashes of content.

use diesel::deserialize::{FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::{Binary, Nullable, Timestamptz};
use jiff::Timestamp;

use crate::script::ContentHash;

/// An instant as a parameter. Postgres keeps microseconds; the rest is cut off.
pub(super) type Instant = jiff_diesel::Timestamp;

/// Instants as an array parameter.
pub(super) fn instants(values: impl IntoIterator<Item = Timestamp>) -> Vec<Instant> {
    values.into_iter().map(Instant::from).collect()
}

/// Instants that may be absent, as an array parameter.
pub(super) fn maybe_instants(values: impl IntoIterator<Item = Option<Timestamp>>) -> Vec<Option<Instant>> {
    values.into_iter().map(|value| value.map(Instant::from)).collect()
}

/// A column that holds an instant or nothing.
#[derive(FromSqlRow)]
pub(super) struct MaybeInstant(Option<Timestamp>);

impl FromSql<Nullable<Timestamptz>, Pg> for MaybeInstant {
    fn from_sql(bytes: PgValue<'_>) -> diesel::deserialize::Result<Self> {
        let instant: Instant = FromSql::<Timestamptz, Pg>::from_sql(bytes)?;
        Ok(MaybeInstant(Some(instant.into())))
    }

    fn from_nullable_sql(bytes: Option<PgValue<'_>>) -> diesel::deserialize::Result<Self> {
        bytes.map_or(Ok(MaybeInstant(None)), Self::from_sql)
    }
}

impl From<MaybeInstant> for Option<Timestamp> {
    fn from(column: MaybeInstant) -> Self {
        column.0
    }
}

/// A column that holds a content hash.
#[derive(FromSqlRow)]
pub(super) struct HashColumn(ContentHash);

impl FromSql<Binary, Pg> for HashColumn {
    fn from_sql(bytes: PgValue<'_>) -> diesel::deserialize::Result<Self> {
        let bytes: [u8; 32] = bytes
            .as_bytes()
            .try_into()
            .map_err(|_| "a content hash has 32 bytes; the database holds another length")?;
        Ok(HashColumn(ContentHash::from(bytes)))
    }
}

impl From<HashColumn> for ContentHash {
    fn from(column: HashColumn) -> Self {
        column.0
    }
}

/// A column that holds a content hash or nothing.
#[derive(FromSqlRow)]
pub(super) struct MaybeHashColumn(Option<ContentHash>);

impl FromSql<Nullable<Binary>, Pg> for MaybeHashColumn {
    fn from_sql(bytes: PgValue<'_>) -> diesel::deserialize::Result<Self> {
        let hash: HashColumn = FromSql::<Binary, Pg>::from_sql(bytes)?;
        Ok(MaybeHashColumn(Some(hash.0)))
    }

    fn from_nullable_sql(bytes: Option<PgValue<'_>>) -> diesel::deserialize::Result<Self> {
        bytes.map_or(Ok(MaybeHashColumn(None)), Self::from_sql)
    }
}

impl From<MaybeHashColumn> for Option<ContentHash> {
    fn from(column: MaybeHashColumn) -> Self {
        column.0
    }
}
