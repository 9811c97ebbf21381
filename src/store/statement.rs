//! One SQL file, one struct: how a statement of this program is written.
//!
//! The text stands in a `.sql` file beside its module. The struct's fields are its parameters, in the order in which `$1`,
//! `$2`, ... stand in the text; each is used once, most often in a first `WITH` that names them. Diesel prepares a statement with a
//! static query id once per connection, which it does not do for `sql_query`.

/// Defines a statement: `statement! { pub struct Name<'a> = "file.sql" { field: type => sql_type, ... } }`.
macro_rules! statement {
    ($(#[$meta:meta])* $vis:vis struct $name:ident $(<$life:lifetime>)? = $file:literal {
        $($(#[$field_meta:meta])* $field:ident : $type:ty => $sql:ty),* $(,)?
    }) => {
        $(#[$meta])*
        $vis struct $name $(<$life>)? { $($(#[$field_meta])* pub $field: $type),* }

        impl $(<$life>)? diesel::query_builder::QueryFragment<diesel::pg::Pg> for $name $(<$life>)? {
            fn walk_ast<'b>(
                &'b self,
                mut out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
            ) -> diesel::QueryResult<()> {
                let rest = include_str!($file);
                $(
                    let (text, rest) = $crate::store::statement::before_parameter(rest);
                    out.push_sql(text);
                    out.push_bind_param::<$sql, _>(&self.$field)?;
                )*
                out.push_sql(rest);
                Ok(())
            }
        }

        impl $(<$life>)? diesel::query_builder::QueryId for $name $(<$life>)? {
            type QueryId = statement!(@static $name $(<$life>)?);
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl $(<$life>)? diesel::query_builder::Query for $name $(<$life>)? {
            type SqlType = diesel::sql_types::Untyped;
        }
    };
    (@static $name:ident) => { $name };
    (@static $name:ident<$life:lifetime>) => { $name<'static> };
}

pub(super) use statement;

/// Splits a text at its next `$n`: what stands before, and what stands after the number.
pub(super) fn before_parameter(text: &'static str) -> (&'static str, &'static str) {
    let mut from = 0;
    while let Some(found) = text[from..].find('$') {
        let at = from + found;
        let digits = text[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            return (&text[..at], &text[at + 1 + digits..]);
        }
        from = at + 1;
    }
    panic!("a statement has fewer parameters in its text than in its struct: {text}")
}
