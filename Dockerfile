# The image of weir: the API and command line `weir`, and the consumer `weir-worker`.
#   docker build --tag weir .
# It has no cache mounts, because those need BuildKit: plain layers work with every builder.

FROM rust:1.95-slim-trixie AS build
WORKDIR /src

# Dependencies change seldom and take most of the time, so they are a layer of their own, which depends on the manifests
# alone. They are built for programs that do nothing; what became of those is deleted, or cargo would take it for weir.
COPY Cargo.toml Cargo.lock ./
COPY bench/Cargo.toml bench/
COPY workers/Cargo.toml workers/
RUN mkdir src bench/src workers/src \
 && touch src/lib.rs \
 && echo 'fn main() {}' >src/main.rs \
 && cp src/main.rs bench/src/ \
 && cp src/main.rs workers/src/ \
 && cargo build --release --locked --package weir --package weir-worker \
 && cargo clean --release --package weir --package weir-worker

# Everything else that .dockerignore lets in.
COPY . .
RUN cargo build --release --locked --package weir --package weir-worker

FROM debian:trixie-slim
# ca-certificates: to check servers that are reached over TLS. curl: for the health checks.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates curl \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 weir \
 && useradd --uid 10001 --gid weir --home-dir / --no-create-home --shell /usr/sbin/nologin weir
COPY --from=build /src/target/release/weir /src/target/release/weir-worker /usr/local/bin/

ARG REVISION=unknown
LABEL org.opencontainers.image.title="weir" \
      org.opencontainers.image.description="An event service: takes batches of events, keeps each exactly once, answers product questions in milliseconds" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.revision="$REVISION"

# All addresses: the defaults are for a machine of one's own, and inside a container nobody could reach them.
ENV WEIR_HTTP_ADDR=0.0.0.0:8000 \
    WEIR_WORKER_HTTP_ADDR=0.0.0.0:8001
EXPOSE 8000 8001

# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
# Both programs end in order on it: requests and transactions under way are finished.
STOPSIGNAL SIGTERM
# Of the API. A container that runs weir-worker asks port 8001.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", "http://127.0.0.1:8000/health"]
ENTRYPOINT ["weir"]
CMD ["serve"]
