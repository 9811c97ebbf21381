//! Tokens over the API: listed, made, revoked. The secret of one is told once, to whoever makes it.

use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::extract::{Body, Segment};
use super::identity::Identity;
use super::problem::Problem;
use super::{App, Role, change, secret};
use crate::store::requests;
use crate::store::tokens::{self, TokenRow, Which};

/// A token, without its secret.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its number.
    pub token_id: i64,
    /// Its name.
    pub name: String,
    /// `reader`, `operator` or `admin`.
    pub role: String,
    /// `person`, `first_start` or `file`.
    pub origin: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it was last used, give or take a minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked; none: it is in force.
    pub revoked_at: Option<Timestamp>,
    /// Who revoked it.
    pub revoked_by: Option<String>,
}

impl From<TokenRow> for Token {
    fn from(row: TokenRow) -> Token {
        Token {
            token_id: row.token_id,
            name: row.name,
            role: row.role,
            origin: row.origin,
            created_at: row.created_at,
            created_by: row.created_by,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
            revoked_by: row.revoked_by,
        }
    }
}

/// Tokens.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenList {
    /// Those in force first.
    pub items: Vec<Token>,
}

/// List tokens.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", responses((status = 200, body = TokenList), super::problem::Refusals))]
pub async fn list_tokens(State(api): App) -> Result<axum::Json<TokenList>, Problem> {
    let mut connection = api.database.connection().await?;
    let rows = tokens::list(&mut connection).await?;
    Ok(axum::Json(TokenList {
        items: rows.into_iter().map(Token::from).collect(),
    }))
}

/// A token that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// A token that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewToken {
    /// The token.
    pub token: Token,
    /// Its secret: it is told here, and never again.
    pub secret: String,
}

/// What is wrong with the name of a token.
///
/// # Errors
/// Says what a name may be.
pub fn check_name(name: &str) -> Result<(), String> {
    const LONGEST: usize = 100;
    let count = name.chars().count();
    if name.trim().is_empty() || name.trim() != name || count > LONGEST || name.chars().any(is_unseen) {
        return Err(format!(
            "{name:?} cannot be the name of a token: it must have 1 to {LONGEST} characters, none of them a control character or invisible, and no space at its ends"
        ));
    }
    Ok(())
}

/// Characters that cannot be seen, or change how others are seen: with them a name could look like another in the audit.
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
        )
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

/// Make a token.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = CreateToken, responses((status = 201, body = NewToken), super::problem::Refusals))]
pub async fn create_token(
    State(api): App,
    who: Identity,
    Body(wanted): Body<CreateToken>,
) -> Result<(StatusCode, axum::Json<NewToken>), Problem> {
    check_name(&wanted.name).map_err(Problem::unprocessable)?;
    let token = secret::new_token().map_err(Problem::internal)?;
    let mut connection = api.database.connection().await?;
    let row = requests::in_transaction(&mut connection, async |connection| {
        let hash = secret::hash(&token);
        let row = tokens::create(connection, &wanted.name, wanted.role.as_str(), &hash, &who.actor())
            .await?
            .ok_or_else(|| {
                Problem::conflict(format!(
                    "there is a token `{}` already; choose another name, or revoke that one",
                    wanted.name
                ))
            })?;
        let after = json!({ "token_id": row.token_id, "role": row.role });
        change::record(connection, &who, "token.create", &row.name, None, Some(after)).await?;
        Ok::<_, Problem>(row)
    })
    .await?;
    let body = NewToken {
        token: row.into(),
        secret: token,
    };
    Ok((StatusCode::CREATED, axum::Json(body)))
}

/// Revoke a token. Its sessions end.
#[utoipa::path(delete, path = "/api/v1/tokens/{token_id}", tag = "tokens", params(("token_id" = i64, Path)), responses((status = 204), super::problem::Refusals))]
pub async fn revoke_token(
    State(api): App,
    who: Identity,
    Segment(token_id): Segment<i64>,
) -> Result<StatusCode, Problem> {
    let mut connection = api.database.connection().await?;
    requests::in_transaction(&mut connection, async |connection| {
        let row = tokens::revoke(connection, Which::Number(token_id), &who.actor())
            .await?
            .ok_or_else(|| Problem::not_found(format!("there is no token {token_id} in force")))?;
        let before = json!({ "token_id": token_id, "role": row.role });
        change::record(connection, &who, "token.revoke", &row.name, Some(before), None).await
    })
    .await?;
    Ok(super::tasks::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_something_that_people_can_read() {
        for right in ["ci", "Zoë's laptop", "a"] {
            assert!(check_name(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            " ",
            " a",
            "a\n",
            "a\u{1b}[31m",
            "a\u{202e}nimda",
            "\u{200b}",
            &"x".repeat(101),
        ] {
            assert!(check_name(wrong).is_err(), "{wrong:?}");
        }
    }
}
