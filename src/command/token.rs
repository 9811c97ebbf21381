//! `dropcron token`: who may use the API and the page.

use serde_json::json;

use super::access::with_connection;
use super::output::{maybe_instant, print, print_json, say, table};
use super::{Exit, actor, not_found, usage};
use crate::api::{Role, Token, check_token_name, secret};
use crate::cli::{JsonArgs, TokenCreateArgs, TokenRevokeArgs, TokenRole};
use crate::config::Config;
use crate::store::audit::{self, Change};
use crate::store::requests::in_transaction;
use crate::store::tokens::{self, TokenRow, Which};

/// Makes a token; only its secret goes to standard output.
pub(super) async fn create(arguments: &TokenCreateArgs, config: &Config) -> anyhow::Result<Exit> {
    check_token_name(&arguments.name).map_err(usage)?;
    let role = match arguments.role {
        TokenRole::Reader => Role::Reader,
        TokenRole::Operator => Role::Operator,
        TokenRole::Admin => Role::Admin,
    };
    let token = secret::new_token()?;
    let by = actor();
    let row = with_connection(config, async |connection| {
        in_transaction(connection, async |connection| {
            let hash = secret::hash(&token);
            let row = tokens::create(connection, &arguments.name, role.as_str(), &hash, &by).await?;
            let row = row.ok_or_else(|| {
                usage(format!(
                    "there is a token `{0}` already; choose another name, or `dropcron token revoke {0}` first",
                    arguments.name
                ))
            })?;
            let after = json!({ "token_id": row.token_id, "role": row.role });
            record(connection, &by, "token.create", &row.name, None, Some(&after)).await?;
            Ok::<_, anyhow::Error>(row)
        })
        .await
    })
    .await?;
    if arguments.json {
        print_json(&json!({ "token": Token::from(row), "secret": token }))?;
        return Ok(Exit::Ok);
    }
    print(&format!("{token}\n"))?;
    say(&format!(
        "the token `{}` has the role `{}`; keep it now, it cannot be shown again\n",
        row.name, row.role
    ));
    Ok(Exit::Ok)
}

async fn record(
    connection: &mut crate::store::Connection,
    actor: &str,
    action: &str,
    subject: &str,
    before: Option<&serde_json::Value>,
    after: Option<&serde_json::Value>,
) -> anyhow::Result<()> {
    let change = Change {
        actor,
        address: None,
        action,
        subject,
        before,
        after,
    };
    audit::write(connection, change).await?;
    Ok(())
}

/// Lists tokens.
pub(super) async fn list(arguments: &JsonArgs, config: &Config) -> anyhow::Result<Exit> {
    let rows = with_connection(config, async |connection| Ok(tokens::list(connection).await?)).await?;
    if arguments.json {
        print_json(&rows.into_iter().map(Token::from).collect::<Vec<_>>())?;
    } else {
        let columns = ["token", "role", "created", "by", "last used", "revoked"];
        print(&table(&columns, rows.iter().map(cells)))?;
    }
    Ok(Exit::Ok)
}

fn cells(row: &TokenRow) -> Vec<String> {
    vec![
        row.name.clone(),
        row.role.clone(),
        maybe_instant(Some(row.created_at)),
        row.created_by.clone(),
        maybe_instant(row.last_used_at),
        maybe_instant(row.revoked_at),
    ]
}

/// Revokes a token.
pub(super) async fn revoke(arguments: &TokenRevokeArgs, config: &Config) -> anyhow::Result<Exit> {
    let by = actor();
    let row = with_connection(config, async |connection| {
        in_transaction(connection, async |connection| {
            let row = tokens::revoke(connection, Which::Name(&arguments.name), &by).await?;
            let row = row.ok_or_else(|| {
                not_found(format!(
                    "there is no token `{}` in force; `dropcron token list` lists them",
                    arguments.name
                ))
            })?;
            let before = json!({ "token_id": row.token_id, "role": row.role });
            record(connection, &by, "token.revoke", &row.name, Some(&before), None).await?;
            Ok::<_, anyhow::Error>(row)
        })
        .await
    })
    .await?;
    if arguments.json {
        print_json(&Token::from(row))?;
    } else {
        print(&format!(
            "`{}` opens nothing any more, and whoever logged in with it is logged out\n",
            row.name
        ))?;
    }
    Ok(Exit::Ok)
}
