//! The page: files of `web/dist`, embedded where it was built before the program; else a page that says how.

use std::borrow::Cow;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::problem::Problem;

/// The built page; nothing where it was not built.
#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Files;

/// What every path of the page's own router is answered with.
const INDEX: &str = "index.html";

/// Answers for everything that no route answers for: a file of the page, or the page itself, which has routes of its own.
pub async fn serve(request: Request) -> Response {
    let path = request.uri().path();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("`{path}` can only be read"))
            .with_header(header::ALLOW, HeaderValue::from_static("GET, HEAD"))
            .into_response();
    }
    if path.starts_with("/api") {
        return Problem::not_found(format!("there is no `{path}`; `/api/openapi.json` says what there is"))
            .into_response();
    }
    let name = path.trim_start_matches('/');
    if let Some(response) = file(name, request.headers()) {
        return response;
    }
    // What looks like a file and is none must not come back as a page: browsers would run it as a script.
    if name.rsplit('/').next().is_some_and(|last| last.contains('.')) {
        return Problem::not_found(format!("there is no `{path}`")).into_response();
    }
    file(INDEX, request.headers()).unwrap_or_else(not_built)
}

fn file(name: &str, headers: &HeaderMap) -> Option<Response> {
    let file = Files::get(name)?;
    let etag = format!("\"{}\"", hex(&file.metadata.sha256_hash()[..16]));
    let is_known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|value| value.as_bytes() == etag.as_bytes());
    // The names of assets change with their content; that of the page does not.
    let caching = if name.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type(name))),
        (header::CACHE_CONTROL, HeaderValue::from_static(caching)),
        (header::ETAG, HeaderValue::from_str(&etag).ok()?),
    ];
    if is_known {
        return Some((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    // What is part of the program is sent from there: a copy for each who asks would be theirs to keep.
    let bytes = match file.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    Some((headers, bytes).into_response())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// What is shown where the program was built without the page.
fn not_built() -> Response {
    const TEXT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>dropcron</title>\
        <h1>dropcron runs; its page was not built</h1>\
        <p>This program was built by <code>cargo build</code> alone. <code>make web</code> builds the page (it needs Node.js), and \
        another <code>cargo build</code> puts it into the program; <code>make serve</code> does both.</p>\
        <p>The API is there: <a href=\"api/openapi.json\">api/openapi.json</a> describes it.</p></html>";
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, TEXT).into_response()
}
