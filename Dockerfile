# dropcron as an image: the page, the program, and what they run on.
#
#   docker build -t dropcron .
#
# Other bases, such as mirrors or an internal registry's: --build-arg NODE_IMAGE=... RUST_IMAGE=... RUNTIME_IMAGE=...

ARG NODE_IMAGE=node:24-trixie-slim
ARG RUST_IMAGE=rust:1-slim-trixie
ARG RUNTIME_IMAGE=debian:trixie-slim


# --- The page ---
FROM ${NODE_IMAGE} AS page
WORKDIR /build/web
# Packages first: they change less often than sources.
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web ./
# The page's types come from the description of the API.
COPY docs/openapi.json /build/docs/openapi.json
RUN npm run build


# --- The program ---
FROM ${RUST_IMAGE} AS program
WORKDIR /build
# Dependencies are a layer of their own, built for empty sources: as long as Cargo.lock stays, so does it.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches \
    && echo 'fn main() {}' | tee src/main.rs benches/dropcron.rs > benches/report.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --lib --bins \
    && rm -rf src benches
# A build script is there or not; the manifest beside it makes that no error.
COPY Cargo.toml build.r[s] ./
COPY migrations migrations
COPY runner_shim runner_shim
COPY src src
COPY --from=page /build/web/dist web/dist
# Cargo compares times: the sources must be newer than what was built of the empty ones.
RUN mkdir -p benches && touch src/main.rs src/lib.rs benches/dropcron.rs benches/report.rs \
    && cargo build --release --locked --bin dropcron \
    && cargo metadata --locked --format-version 1 --filter-platform "$(rustc -vV | sed -n 's/^host: //p')" > /build/crates.json


# --- What it runs on ---
FROM ${RUNTIME_IMAGE} AS base
ENV LANG=C.UTF-8
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        ca-certificates libcap2-bin python3 python3-venv tini tzdata \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log /var/log/alternatives.log


# --- uv, for scripts that declare dependencies; the SBOM; the rights of the program ---
FROM base AS parts
ARG UV_VERSION=0.13.9
RUN python3 -m venv /uv && /uv/bin/pip install --no-cache-dir --disable-pip-version-check "uv==${UV_VERSION}"
COPY --from=program /build/target/release/dropcron /parts/usr/local/bin/dropcron
COPY --from=program /build/crates.json /build/crates.json
COPY packaging/sbom.py packaging/container-init.py /build/
COPY web/package-lock.json /build/
COPY LICENSE-APACHE LICENSE-MIT /parts/usr/share/doc/dropcron/
# Scripts run as a user of their own: becoming that user, and cleaning up behind it, is all that these rights are for.
RUN cp /uv/bin/uv /parts/usr/local/bin/uv \
    && install -D -m 755 /build/container-init.py /parts/usr/local/lib/dropcron/container-init \
    && python3 /build/sbom.py --crates /build/crates.json --page /build/package-lock.json --debian --other "pypi:uv:${UV_VERSION}" \
        > /parts/usr/share/doc/dropcron/sbom.cdx.json \
    && chmod 755 /parts/usr/local/bin/* \
    && setcap cap_setuid,cap_setgid,cap_kill,cap_chown,cap_fowner,cap_dac_override=ep /parts/usr/local/bin/dropcron


# --- A session pooler, for compose.two-nodes.yml ---
FROM ${RUNTIME_IMAGE} AS pgbouncer
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends pgbouncer tini \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log /var/log/alternatives.log
COPY packaging/pgbouncer.ini /etc/pgbouncer/pgbouncer.ini
RUN chmod 755 /etc/pgbouncer && chmod 644 /etc/pgbouncer/pgbouncer.ini \
    && groupadd --system --gid 10003 dropcron-pgbouncer \
    && useradd --system --uid 10003 --gid 10003 --no-create-home --shell /usr/sbin/nologin dropcron-pgbouncer
USER dropcron-pgbouncer
EXPOSE 6432
STOPSIGNAL SIGINT
ENTRYPOINT ["tini", "--", "pgbouncer", "/etc/pgbouncer/pgbouncer.ini"]


# --- dropcron ---
FROM base AS dropcron
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dropcron" \
      org.opencontainers.image.description="Runs Python scripts on time and leaves a row in Postgres for every due instant" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Numbers that stay: volumes outlive images.
RUN groupadd --system --gid 10001 dropcron \
    && useradd --system --uid 10001 --gid dropcron --home-dir /data --no-create-home --shell /usr/sbin/nologin dropcron \
    && groupadd --system --gid 10002 runner \
    && useradd --system --uid 10002 --gid runner --home-dir /home/runner --create-home --shell /usr/sbin/nologin runner \
    && install -d -m 755 /scripts \
    && install -d -o dropcron -g dropcron -m 700 /secrets \
    && install -d -o dropcron -g dropcron -m 711 /data
COPY --from=parts /parts /
ENV DROPCRON_SCRIPTS_DIR=/scripts \
    DROPCRON_DATA_DIR=/data \
    DROPCRON_PYTHON=/usr/bin/python3 \
    DROPCRON_RUN_AS=runner
USER dropcron
WORKDIR /
VOLUME /data
STOPSIGNAL SIGTERM
# Any exit code but 0 counts as not healthy.
HEALTHCHECK --interval=15s --timeout=30s --start-period=60s --retries=3 CMD ["dropcron", "health"]
ENTRYPOINT ["tini", "--", "dropcron"]
CMD ["serve"]
