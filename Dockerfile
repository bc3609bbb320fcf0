# One binary on a small Debian, run by a user without rights. docs/docker.md says how to use the image.
#   docker build -t encdec . && docker run --rm -p 8080:8080 encdec
FROM rust:1.95-slim-bookworm AS build
WORKDIR /source
# Line tables and symbols are of no use in an image without a debugger.
ENV CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=symbols
# The libraries first: a layer that stays as it is until a manifest changes.
COPY Cargo.toml Cargo.lock ./
COPY fuzz/Cargo.toml fuzz/
COPY kernels/Cargo.toml kernels/
COPY loadtest/Cargo.toml loadtest/
COPY model/Cargo.toml model/
COPY server/Cargo.toml server/
COPY simulation/Cargo.toml simulation/
COPY scripts/build-dependencies.sh scripts/
RUN scripts/build-dependencies.sh
COPY config.toml ./
COPY kernels kernels
COPY model model
COPY server server
RUN cargo build --release --locked --package server

FROM debian:bookworm-slim
# A number, because Kubernetes' runAsNonRoot checks no names. Named volumes take the owner of the folders.
RUN groupadd --gid 65532 encdec \
    && useradd --uid 65532 --gid encdec --no-create-home --home-dir /work encdec \
    && install -d -o encdec -g encdec /work /var/cache/huggingface
COPY deploy/image/config.toml /usr/local/share/encdec/image.toml
COPY --from=build /source/target/release/server /usr/local/bin/server
ENV ENCDEC_CONFIG=/usr/local/share/encdec/image.toml HF_HOME=/var/cache/huggingface
# --build-arg REVISION=$(git rev-parse HEAD) says what the image was built of.
ARG REVISION=unknown
LABEL org.opencontainers.image.title="encdec" \
    org.opencontainers.image.description="Serves and trains encoder-decoder Gemma (T5Gemma) over an OpenAI-style API" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"
USER 65532:65532
WORKDIR /work
EXPOSE 8080
# Failures count only once a large checkpoint has had its time to load.
HEALTHCHECK --interval=5s --timeout=6s --start-period=10m --retries=3 CMD ["server", "check"]
# On this signal running answers are finished before the process ends.
STOPSIGNAL SIGTERM
ENTRYPOINT ["server"]
CMD ["serve"]
