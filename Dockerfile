# One binary on a small Debian, run by a user without rights.
#   docker build -t encdec . && docker run --rm -p 8080:8080 encdec
FROM rust:1.95-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --package server

FROM debian:bookworm-slim
RUN useradd --system --user-group --no-create-home encdec
COPY --from=build /source/target/release/server /usr/local/bin/server
USER encdec
EXPOSE 8080
# On this signal running answers are finished before the process ends.
STOPSIGNAL SIGTERM
ENTRYPOINT ["server"]
# Nobody outside a container reaches its loopback address.
CMD ["serve", "--host", "0.0.0.0"]
