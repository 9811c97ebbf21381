//! The document of the API that is committed is the one that the routes make.

use std::path::Path;

/// Set, and the test writes the document instead of comparing it.
const WRITE: &str = "DROPCRON_TEST_WRITE_DOCUMENT";

#[test]
fn the_document_of_the_api_is_the_one_that_the_routes_make() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let made = dropcron::api::document();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "docs/openapi.json is not what the routes make; write it anew: {WRITE}=1 cargo test --locked --test it the_document_of_the_api"
    );
}
