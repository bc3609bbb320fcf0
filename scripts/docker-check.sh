#!/usr/bin/env bash
# Builds the image and tries what docs/docker.md promises of it: user, labels, read-only root, health, signals, a
# mounted checkpoint, training, limits of memory and processors. Needs docker or podman, and curl.
#
#   scripts/docker-check.sh                    builds Dockerfile and checks the image
#   IMAGE=encdec scripts/docker-check.sh       checks an image that is there
#   NETWORK=host scripts/docker-check.sh       where the engine has no bridge: nothing is published, and PORT is taken
#   ENGINE=podman, PORT=18080                  another engine, another port of this machine
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    printf 'docker-check.sh: %s\n' "$*" >&2
    exit 1
}

find_engine() {
    local engine
    for engine in ${ENGINE:-docker podman}; do
        if command -v "$engine" >/dev/null && "$engine" info >/dev/null 2>&1; then
            echo "$engine"
            return
        fi
    done
    fail "no container engine runs here: start docker or podman (dockerd &), or name one in ENGINE"
}

engine=$(find_engine)
port=${PORT:-18080}
url=http://127.0.0.1:$port
name=encdec-check-$$
work=$(mktemp -d)
# What may run under the tightest of usual settings.
locked=(--read-only --cap-drop ALL --security-opt no-new-privileges)
# Containers listen on PORT itself where there is no bridge to publish it from.
if [ "${NETWORK:-}" = host ]; then
    build_flags=(--network host)
    publish=(--network host)
    printf '[server]\nhost = "127.0.0.1"\nport = %d\n' "$port" >"$work/own.toml"
else
    build_flags=()
    publish=(-p "127.0.0.1:$port:8080")
    : >"$work/own.toml"
fi
# The image's settings with those of this machine's network; the health check reads them too.
cat deploy/image/config.toml >"$work/config.toml"
if [ -s "$work/own.toml" ]; then
    sed -i "s/^host = .*/host = \"127.0.0.1\"\nport = $port/" "$work/config.toml"
fi
chmod 755 "$work" && chmod 644 "$work"/*.toml

clean_up() {
    "$engine" rm --force "$name" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap clean_up EXIT

checked() {
    printf '%-10s %s\n' "$((SECONDS)) s" "$*"
}

# Starts the server under the container's name with further flags of the engine.
start() {
    "$engine" rm --force "$name" >/dev/null 2>&1 || true
    local settings=$work/config.toml:/usr/local/share/encdec/image.toml:ro
    "$engine" run -d --name "$name" "${publish[@]}" -v "$settings" "$@" >/dev/null
}

is_ready() {
    curl -fsS "$url/ready" >/dev/null 2>&1
}

complete() {
    curl -fsSN "$url/v1/completions" -H 'content-type: application/json' -d "$1"
}

wait_until() {
    local what=$1 patience=60
    shift
    until "$@"; do
        patience=$((patience - 1))
        if [ "$patience" -eq 0 ]; then
            "$engine" logs "$name" >&2 || true
            fail "not $what within 30 seconds"
        fi
        sleep 0.5
    done
}

inspect() {
    "$engine" inspect --format "$1" "${2:-$image}"
}

is_healthy() {
    [ "$(inspect '{{.State.Health.Status}}' "$name")" = healthy ]
}

said() {
    "$engine" logs "$name" 2>&1
}

build() {
    local format=()
    # Podman's own format has no health checks.
    [ "$(basename "$engine")" = podman ] && format=(--format docker)
    local revision
    revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
    "$engine" build "${build_flags[@]}" "${format[@]}" --build-arg "REVISION=$revision" -t encdec .
}

image_says_what_it_is() {
    local user labels run
    user=$(inspect '{{.Config.User}}')
    [[ $user =~ ^[1-9][0-9]*:[1-9][0-9]*$ ]] || fail "the user is '$user', not a number above 0"
    labels=$(inspect '{{json .Config.Labels}}')
    for label in title description version revision base.name; do
        [[ $labels == *org.opencontainers.image.$label* ]] || fail "no label org.opencontainers.image.$label"
    done
    run=$(inspect '{{json .Config.Entrypoint}} {{json .Config.Cmd}} {{.Config.StopSignal}}')
    [ "$run" = '["server"] ["serve"] SIGTERM' ] || fail "entrypoint, command and signal are $run"
    "$engine" run --rm "$image" --version | grep -q '^server ' || fail "arguments do not reach the program"
    checked "labels, user $user, entrypoint; $(($(inspect '{{.Size}}') / 1000000)) MB"
}

serves_the_demo_without_rights() {
    start "${locked[@]}" "$image"
    wait_until ready is_ready
    [ "$("$engine" exec "$name" id -u)" = 65532 ] || fail "the process is not user 65532"
    if "$engine" exec "$name" touch /work/file 2>/dev/null; then fail "the root file system can be written"; fi
    complete '{"prompt":"A small text editor for the terminal.","max_tokens":48,"temperature":0}' |
        grep -q '"text":"[^"]*text editor' || fail "the demo answers something else"
    complete '{"prompt":"A small text editor.","max_tokens":16,"structured_outputs":{"regex":"[a-z]{3}"}}' |
        grep -Eq '"text":"[a-z]{3}"' || fail "an answer in a form needs a process of its own, which does not run"
    wait_until healthy is_healthy
    checked "demo, read-only root, no capabilities, healthy"
}

finishes_answers_at_stop() {
    local status
    complete '{"prompt":"a","stream":true,"ignore_eos":true,"max_tokens":400,"n":2}' >"$work/stream" &
    local client=$!
    sleep 0.3
    "$engine" stop "$name" >/dev/null
    wait "$client" || fail "the stream was cut off"
    tail -n 2 "$work/stream" | grep -q 'data: \[DONE\]' || fail "the stream has no end"
    status=$(inspect '{{.State.ExitCode}}' "$name")
    [ "$status" = 0 ] || fail "exit code $status after stop"
    checked "stop: a running answer was finished, exit 0"
}

serves_a_mounted_checkpoint() {
    start "${locked[@]}" -v "$PWD/model/demo:/model:ro" "$image"
    wait_until ready is_ready
    curl -fsS "$url/v1/models" | grep -q '"id":"model"' || fail "the mounted checkpoint is not what is served"
    "$engine" stop "$name" >/dev/null
    mkdir "$work/empty"
    start -v "$work/empty:/model:ro" "$image"
    [ "$("$engine" wait "$name")" = 1 ] || fail "an empty folder is served"
    said | grep -q config.json || fail "the error does not say what is missing"
    checked "a checkpoint mounted at /model"
}

trains() {
    local folder=$work/training
    mkdir "$folder" && chmod 777 "$folder"
    cp -r model/tests/fixtures/t5gemma-balanced "$folder/init"
    for row in 1 2 3 4 5 6 7 8; do
        printf '{"input": "You may copy the work %d", "target": "copy"}\n' "$row"
    done >"$folder/rows.jsonl"
    printf '%s\n' 'out = "run"' '[model]' 'init = "init"' '[objective]' 'kind = "seq2seq"' '[data]' \
        'train = ["rows.jsonl"]' 'valid = ["rows.jsonl"]' '[[stage]]' 'steps = 3' 'learning_rate = 1e-3' \
        >"$folder/train.toml"
    "$engine" run --rm "${locked[@]}" -v "$folder:/work" "$image" train --config train.toml >"$work/said" 2>&1 ||
        fail "training failed: $(cat "$work/said")"
    [ -s "$folder/run/final/model.safetensors" ] || fail "training left no model"
    checked "train"
}

keeps_to_its_limits() {
    start --memory 90m "$image"
    [ "$("$engine" wait "$name")" = 1 ] || fail "90 MB are accepted"
    said | grep -q "the server may take .* allows 90 MiB" || fail "the error does not say what fits: $(said)"
    start --memory 700m "$image"
    wait_until ready is_ready
    said | grep -q "page pool is made smaller" || fail "the page pool was not made smaller"
    "$engine" stop "$name" >/dev/null
    if [ "$(nproc)" -gt 1 ]; then
        start --cpus 1 "$image"
        wait_until ready is_ready
        said | grep -q ", 1 thread" || fail "threads are not those of the quota: $(said | head -n 1)"
        "$engine" stop "$name" >/dev/null
    fi
    checked "memory and processors of the container"
}

if [ -z "${IMAGE:-}" ]; then
    build
    checked "built with $engine"
fi
image=${IMAGE:-encdec}
image_says_what_it_is
serves_the_demo_without_rights
finishes_answers_at_stop
serves_a_mounted_checkpoint
trains
keeps_to_its_limits
echo "docker-check.sh: all of it holds"
