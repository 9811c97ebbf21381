//! Every route, with the role that it takes: the one place where routes are registered, and none can be without a role.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::timeout::{DeadlineBody, RequestBodyTimeoutLayer};
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::identity::{self, Identity, forbidden, unauthorized};
use super::problem::{Problem, too_large};
use super::{
    Api, Role, audit, environments, health, instants, metrics, nodes, origin, output, overview, page, runs, schedule,
    scripts, series, session, tasks, tokens, versions,
};

/// The body of a request that brings no script.
const LARGEST_BODY: usize = 1024 * 1024;

/// The body of a request that needs no token, and so comes from anybody: one has a token in it at most.
const LARGEST_OPEN_BODY: usize = 4 * 1024;

/// A body that does not go on for so long is given up.
const BODY_PATIENCE: Duration = Duration::from_secs(20);

/// And one that goes on may take so long on top as its largest size takes at this pace, in bytes a second.
const SLOWEST_BODY: u64 = 64 * 1024;

/// How long a body may take that may be so large.
fn body_deadline(largest: usize) -> Duration {
    BODY_PATIENCE + Duration::from_secs(largest as u64 / SLOWEST_BODY)
}

/// Routes, each with its role. There is no way to add one without.
struct Routes(OpenApiRouter<Arc<Api>>);

impl Routes {
    fn open(self, routes: UtoipaMethodRouter<Arc<Api>>) -> Routes {
        self.add(None, LARGEST_OPEN_BODY, routes)
    }

    fn of(self, role: Role, routes: UtoipaMethodRouter<Arc<Api>>) -> Routes {
        self.add(Some(role), LARGEST_BODY, routes)
    }

    /// The same for what brings a script.
    fn of_scripts(self, role: Role, routes: UtoipaMethodRouter<Arc<Api>>) -> Routes {
        self.add(Some(role), scripts::LARGEST_BODY, routes)
    }

    fn add(
        self,
        role: Option<Role>,
        largest_body: usize,
        (schemas, mut paths, methods): UtoipaMethodRouter<Arc<Api>>,
    ) -> Routes {
        for item in paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
            operations
                .into_iter()
                .flatten()
                .for_each(|operation| write_role(operation, role));
        }
        let bounded: UtoipaMethodRouter<Arc<Api>> =
            (schemas, paths, methods).layer(DefaultBodyLimit::max(largest_body));
        let routes: UtoipaMethodRouter<Arc<Api>> =
            bounded.layer(from_fn(move |request, next| bound_body(largest_body, request, next)));
        let routes = match role {
            Some(role) => routes.layer(from_fn(move |request, next| guard(role, request, next))),
            None => routes,
        };
        Routes(self.0.routes(routes))
    }
}

/// Says in the document who may: `x-role`, and the schemes that bring a token.
fn write_role(operation: &mut Operation, role: Option<Role>) {
    let word = role.map_or("none", Role::as_str);
    operation.extensions = Some(ExtensionsBuilder::new().add("x-role", word).build());
    operation.security = Some(match role {
        Some(_) => vec![
            SecurityRequirement::new::<_, [&str; 0], &str>("token", []),
            SecurityRequirement::new::<_, [&str; 0], &str>("session", []),
        ],
        None => Vec::new(),
    });
}

/// Lets those pass whose role suffices.
async fn guard(role: Role, request: Request, next: Next) -> Response {
    match request.extensions().get::<Identity>() {
        None => unauthorized().into_response(),
        Some(who) if who.role < role => forbidden(who.role, role).into_response(),
        Some(_) => next.run(request).await,
    }
}

/// Refuses by its length alone what would be too large: none of it is read. What may come must do so in time.
async fn bound_body(largest: usize, request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > largest as u64) {
        return too_large(largest).into_response();
    }
    let request = request.map(|body| axum::body::Body::new(DeadlineBody::new(body_deadline(largest), body)));
    next.run(request).await
}

fn routes() -> OpenApiRouter<Arc<Api>> {
    use Role::{Admin, Operator, Reader};
    Routes(OpenApiRouter::with_openapi(description()))
        .open(routes!(health::read_alive))
        .open(routes!(health::read_ready))
        .of(Reader, routes!(metrics::read_metrics))
        .of(Reader, routes!(read_document))
        .open(routes!(session::log_in))
        .of(Reader, routes!(session::read_session, session::log_out))
        .of(Reader, routes!(overview::read_overview))
        .of(Reader, routes!(overview::read_timeline))
        .of(Reader, routes!(tasks::list_tags))
        .of(Reader, routes!(tasks::list_tasks))
        .of(Reader, routes!(tasks::read_task))
        .of(Operator, routes!(tasks::pause_task))
        .of(Operator, routes!(tasks::resume_task))
        .of(Operator, routes!(tasks::override_schedule, tasks::drop_override))
        .of(Reader, routes!(instants::list_instants))
        .of(Reader, routes!(instants::explain_instant))
        .of(Reader, routes!(tasks::list_events))
        .of(Reader, routes!(versions::list_versions))
        .of(Reader, routes!(versions::read_version))
        .of(Reader, routes!(versions::compare_versions))
        .of(Operator, routes!(versions::run_version))
        .of(Reader, routes!(runs::list_runs))
        .of(Reader, routes!(runs::read_run))
        .of(Operator, routes!(runs::start_run))
        .of(Operator, routes!(runs::cancel_run))
        .of(Operator, routes!(runs::retry_run))
        .of(Reader, routes!(output::read_output))
        .of(Reader, routes!(output::watch_output))
        .of(Reader, routes!(scripts::list_scripts))
        .of(Reader, routes!(scripts::read_script))
        .of_scripts(Reader, routes!(scripts::validate_script))
        .of_scripts(Admin, routes!(scripts::write_script))
        .of(Admin, routes!(scripts::rename_script))
        .of(Admin, routes!(scripts::remove_script))
        .of_scripts(Admin, routes!(scripts::try_script))
        .of(Reader, routes!(series::list_series))
        .of(Reader, routes!(series::list_points))
        .of(Reader, routes!(series::chart_series))
        .of(Reader, routes!(series::export_series))
        .of(Operator, routes!(series::give_verdict))
        .of(Reader, routes!(schedule::preview_schedule))
        .of(Reader, routes!(nodes::list_nodes))
        .of(Reader, routes!(environments::list_environments))
        .of(Admin, routes!(tokens::list_tokens))
        .of(Admin, routes!(tokens::create_token))
        .of(Admin, routes!(tokens::revoke_token))
        .of(Admin, routes!(audit::list_audit))
        .0
}

fn description() -> OpenApi {
    let token = SecurityScheme::Http(
        HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token, for programs: `dropcron token create` makes one."))
            .build(),
    );
    let session = SecurityScheme::ApiKey(utoipa::openapi::security::ApiKey::Cookie(
        utoipa::openapi::security::ApiKeyValue::with_description(
            "dropcron_session_8642",
            "The cookie of a session, for browsers; its name ends in the port.",
        ),
    ));
    let info = InfoBuilder::new()
        .title("dropcron")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "What runs, what ran and what comes, and everything that can be asked for. Instants are RFC 3339 in UTC, durations \
             are numbers in fields that end in `_seconds` or `_ms`. A name that has `/` in it is one segment of a path: \
             `prices%2Fbtc`. What is refused is said as a problem document (RFC 9457). `x-role` is the least role that may.",
        ))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .components(Some(
            ComponentsBuilder::new()
                // Refusals are not among the bodies of which the routes tell.
                .schema_from::<Problem>()
                .security_scheme("token", token)
                .security_scheme("session", session)
                .build(),
        ))
        .build()
}

/// The document of the API, as `docs/openapi.json` has it.
pub fn document() -> String {
    let document = routes().into_openapi();
    document.to_pretty_json().unwrap_or_default() + "\n"
}

/// Read this document.
#[utoipa::path(get, path = "/api/openapi.json", tag = "health", responses((status = 200, body = serde_json::Value), super::problem::Refusals))]
async fn read_document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document()).into_response()
}

/// Everything that is served.
pub fn router(api: Arc<Api>) -> Router {
    let (router, _) = routes().split_for_parts();
    router
        .fallback(page::serve)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(RequestBodyTimeoutLayer::new(BODY_PATIENCE))
        .layer(from_fn_with_state(api.clone(), identity::identify))
        .layer(from_fn_with_state(api.clone(), origin::check))
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(add_headers))
        .with_state(api)
}

async fn method_not_allowed(method: Method, request: Request) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!(
            "`{method}` is nothing that `{}` knows; `/api/openapi.json` says what there is",
            request.uri().path()
        ),
    )
}

/// A mistake of ours; the panic hook has said where.
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    Problem::internal("a handler panicked").into_response()
}

/// What browsers are told of every answer: to run no script but the page's own files, to show it in no frame, to guess no type,
/// to tell no other site of it, and to keep what needs a token nowhere.
async fn add_headers(request: Request, next: Next) -> Response {
    const POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                          connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
    const HEADERS: [(HeaderName, &str); 6] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
