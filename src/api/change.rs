//! What somebody changes through the API, as the audit records it.

use serde_json::Value;

use super::identity::Identity;
use super::problem::Problem;
use crate::store::Connection;
use crate::store::audit::{self, Change};

/// Records a change, in the transaction of whoever makes it; the number of the record.
pub async fn record(
    connection: &mut Connection,
    who: &Identity,
    action: &str,
    subject: &str,
    before: Option<Value>,
    after: Option<Value>,
) -> Result<i64, Problem> {
    let actor = who.actor();
    let change = Change {
        actor: &actor,
        address: who.address.as_deref(),
        action,
        subject,
        before: before.as_ref(),
        after: after.as_ref(),
    };
    Ok(audit::write(connection, change).await?)
}
