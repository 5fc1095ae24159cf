# syntax=docker/dockerfile:1
# Hookwright's image: one binary, and Postgres' programs so that it runs without a database too:
#   docker run --publish 127.0.0.1:8080:8080 --volume hookwright:/data hookwright
# With DATABASE_URL it uses that database instead (docker-compose.yml shows how).

ARG RUST_VERSION=1.95
ARG DEBIAN_RELEASE=trixie

# --- cargo-chef builds the dependencies in a layer of their own: a change of ours keeps it.
FROM rust:${RUST_VERSION}-${DEBIAN_RELEASE} AS chef
RUN cargo install cargo-chef --locked --version ^0.1
WORKDIR /build

FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS builder
# Queries were checked where they were written; no database is needed here.
ENV SQLX_OFFLINE=true
COPY --from=planner /build/recipe.json recipe.json
RUN cargo chef cook --locked --profile dist --recipe-path recipe.json
COPY . .
RUN cargo build --locked --profile dist --bin hookwright

# --- what runs
FROM debian:${DEBIAN_RELEASE}-slim AS runtime
# postgresql-common first: told not to make a cluster, the server package brings programs only.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates postgresql-common \
 && sed --in-place --regexp-extended 's/^#?(create_main_cluster) .*$/\1 = false/' \
      /etc/postgresql-common/createcluster.conf \
 && apt-get install --yes --no-install-recommends postgresql \
 && rm --recursive --force /var/lib/apt/lists/*
# The entry in passwd is needed: initdb asks for the name of its user. Nobody can log in with it.
RUN groupadd --gid 65532 hookwright \
 && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /data \
      --shell /usr/sbin/nologin hookwright \
 && install --directory --owner=65532 --group=65532 --mode=0700 /data
COPY --from=builder /build/target/dist/hookwright /usr/local/bin/hookwright

LABEL org.opencontainers.image.title="Hookwright" \
      org.opencontainers.image.description="Self-hosted webhook automation server" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV HOOKWRIGHT_ENVIRONMENT=production
USER 65532:65532
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8080
# SIGTERM drains; give it 45 seconds (docker stop --time 45).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["hookwright", "healthcheck"]
ENTRYPOINT ["hookwright"]
CMD ["serve", "--listen", "0.0.0.0:8080", "--data-dir", "/data"]
