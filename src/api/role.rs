//! What a token may do: a ladder of three roles.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a token may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees everything but tokens and the audit.
    Reader,
    /// Pauses, runs, cancels, judges values.
    Operator,
    /// Changes scripts, which are code that runs, and tokens.
    Admin,
}

impl Role {
    /// Every role, from the least on.
    pub const ALL: [Role; 3] = [Role::Reader, Role::Operator, Role::Admin];

    /// The word as it stands in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Reader => "reader",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// The role of a word; none: it is no role.
    pub fn of_word(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_those_before_it_may() {
        assert!(Role::Reader < Role::Operator && Role::Operator < Role::Admin);
        for role in Role::ALL {
            assert_eq!(Role::of_word(role.as_str()), Some(role));
        }
        assert_eq!(Role::of_word("root"), None);
    }
}
