//! A `dropcron serve` elsewhere, which commands talk to over the API instead of a database.
