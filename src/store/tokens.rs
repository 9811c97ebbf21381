//! Tokens and sessions: who may use the API. Secrets are here as their SHA-256 only.

use std::collections::HashSet;

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Binary, Double, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use super::column::{Instant, MaybeInstant};
use super::statement::statement;
use super::{Connection, StoreError};

/// A token, without its secret.
#[derive(Clone, Debug, QueryableByName)]
#[expect(
    missing_docs,
    reason = "each field is the column of its name, which the database documents"
)]
pub struct TokenRow {
    #[diesel(sql_type = BigInt)]
    pub token_id: i64,
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = Text)]
    pub role: String,
    #[diesel(sql_type = Text)]
    pub origin: String,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub created_at: Timestamp,
    #[diesel(sql_type = Text)]
    pub created_by: String,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub last_used_at: Option<Timestamp>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub revoked_at: Option<Timestamp>,
    #[diesel(sql_type = Nullable<Text>)]
    pub revoked_by: Option<String>,
}

statement! {
    struct CreateToken<'a> = "tokens/create.sql" {
        name: &'a str => Text, role: &'a str => Text, secret_sha256: &'a [u8] => Binary, origin: &'a str => Text,
        created_by: &'a str => Text,
    }
}

/// Makes a token for somebody. None: the name is in use.
pub async fn create(
    connection: &mut Connection,
    name: &str,
    role: &str,
    secret_sha256: &[u8; 32],
    created_by: &str,
) -> Result<Option<TokenRow>, StoreError> {
    let statement = CreateToken {
        name,
        role,
        secret_sha256,
        origin: "person",
        created_by,
    };
    Ok(statement.load(connection).await?.pop())
}

statement! {
    struct CreateFirst<'a> = "tokens/create_first.sql" {
        name: &'a str => Text, secret_sha256: &'a [u8] => Binary, created_by: &'a str => Text,
    }
}

/// Makes the token of the first start. None: there has been a token before.
pub async fn create_first(
    connection: &mut Connection,
    name: &str,
    secret_sha256: &[u8; 32],
    created_by: &str,
) -> Result<Option<TokenRow>, StoreError> {
    let statement = CreateFirst {
        name,
        secret_sha256,
        created_by,
    };
    Ok(statement.load(connection).await?.pop())
}

statement! {
    struct TakeFromFile<'a> = "tokens/take_from_file.sql" {
        name: &'a str => Text, secret_sha256: &'a [u8] => Binary, actor: &'a str => Text,
    }
}

/// Puts the token of a file in force, in the place of the one that stood there before. None: it is known already.
pub async fn take_from_file(
    connection: &mut Connection,
    name: &str,
    secret_sha256: &[u8; 32],
    actor: &str,
) -> Result<Option<TokenRow>, StoreError> {
    let statement = TakeFromFile {
        name,
        secret_sha256,
        actor,
    };
    Ok(statement.load(connection).await?.pop())
}

statement! {
    struct ListTokens = "tokens/list.sql" {}
}

/// Every token.
pub async fn list(connection: &mut Connection) -> Result<Vec<TokenRow>, StoreError> {
    ListTokens {}.load(connection).await
}

statement! {
    struct Revoke<'a> = "tokens/revoke.sql" {
        token_id: Option<i64> => Nullable<BigInt>, name: Option<&'a str> => Nullable<Text>, actor: &'a str => Text,
    }
}

/// Which token is meant.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// That of a number.
    Number(i64),
    /// That of a name, among those in force.
    Name(&'a str),
}

/// Revokes a token and ends its sessions. None: there is none in force.
pub async fn revoke(
    connection: &mut Connection,
    which: Which<'_>,
    actor: &str,
) -> Result<Option<TokenRow>, StoreError> {
    let (token_id, name) = match which {
        Which::Number(number) => (Some(number), None),
        Which::Name(name) => (None, Some(name)),
    };
    Ok(Revoke { token_id, name, actor }.load(connection).await?.pop())
}

/// Whose a secret is.
#[derive(Clone, Debug, QueryableByName)]
pub struct Holder {
    /// The token.
    #[diesel(sql_type = BigInt)]
    pub token_id: i64,
    /// Its name.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Its role.
    #[diesel(sql_type = Text)]
    pub role: String,
}

statement! {
    struct Authenticate<'a> = "tokens/authenticate.sql" {
        token_sha256: Option<&'a [u8]> => Nullable<Binary>, session_sha256: Option<&'a [u8]> => Nullable<Binary>,
    }
}

/// Whose a token is. None: nobody's, or it is revoked.
pub async fn holder_of_token(connection: &mut Connection, sha256: &[u8; 32]) -> Result<Option<Holder>, StoreError> {
    let statement = Authenticate {
        token_sha256: Some(sha256),
        session_sha256: None,
    };
    Ok(statement.load(connection).await?.pop())
}

/// Whose a session is. None: nobody's, it has ended, or its token is revoked.
pub async fn holder_of_session(connection: &mut Connection, sha256: &[u8; 32]) -> Result<Option<Holder>, StoreError> {
    let statement = Authenticate {
        token_sha256: None,
        session_sha256: Some(sha256),
    };
    Ok(statement.load(connection).await?.pop())
}

statement! {
    struct InForce<'a> = "tokens/in_force.sql" { sha256: &'a [&'a [u8]] => Array<Binary> }
}

#[derive(QueryableByName)]
struct SecretRow {
    #[diesel(sql_type = Binary)]
    sha256: Vec<u8>,
}

/// Which of these secrets, of tokens or of sessions, open something still.
pub async fn in_force(connection: &mut Connection, secrets: &[[u8; 32]]) -> Result<HashSet<[u8; 32]>, StoreError> {
    let sha256: Vec<&[u8]> = secrets.iter().map(<[u8; 32]>::as_slice).collect();
    let rows: Vec<SecretRow> = InForce { sha256: &sha256 }.load(connection).await?;
    Ok(rows.into_iter().filter_map(|row| row.sha256.try_into().ok()).collect())
}

statement! {
    struct BeginSession<'a> = "tokens/begin_session.sql" {
        session_sha256: &'a [u8] => Binary, token_id: i64 => BigInt, seconds: f64 => Double,
    }
}

/// Lets a browser in for so long.
pub async fn begin_session(
    connection: &mut Connection,
    session_sha256: &[u8; 32],
    token_id: i64,
    lasts: std::time::Duration,
) -> Result<(), StoreError> {
    let statement = BeginSession {
        session_sha256,
        token_id,
        seconds: lasts.as_secs_f64(),
    };
    statement.execute(connection).await.map(drop)
}

statement! {
    struct EndSession<'a> = "tokens/end_session.sql" { session_sha256: &'a [u8] => Binary }
}

/// Ends a session; whether there was one.
pub async fn end_session(connection: &mut Connection, session_sha256: &[u8; 32]) -> Result<bool, StoreError> {
    let ended = EndSession { session_sha256 }.execute(connection).await?;
    Ok(ended > 0)
}
