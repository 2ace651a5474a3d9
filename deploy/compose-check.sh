#!/usr/bin/env bash
# Check docker-compose.yml on a real Docker engine: `make compose-check`.
#
# ARGS are the sections to run after the first start, all by default:
#   layers webhooks kills stops restores provider_keys files scales monitoring
#
# It clones this checkout (HEAD) as a user with umask 077 does, builds the image, and runs what
# docs/operating.md says in a Compose project of its own, which it removes at the end. One line a
# check. Exit codes: 0 all passed, 1 a check failed, 2 there is no such section, 3 there is no engine,
# so nothing was checked.
#
# Environment: COMPOSE_CHECK_PORT (18000) and the ports after it are used for the API and the storage;
# BUILD_NETWORK=host where a build reaches its package registry only from this machine's network.
set -uo pipefail

cd "$(dirname "$0")/.." || exit 1
root=$PWD
python=$root/.venv/bin/python
port=${COMPOSE_CHECK_PORT:-18000}
passed=0 failed=0 built=()

sections=(layers webhooks kills stops restores provider_keys files scales monitoring)
for one in "$@"; do
    [[ " ${sections[*]} " = *" $one "* ]] || {
        echo "There is no section $one; the sections are ${sections[*]}." >&2
        exit 2
    }
done
nothing() { echo "Nothing was checked: $*" >&2; exit 3; }
minimum=$(sed -n 's/.*needs Docker Compose \([0-9.]*\) or newer.*/\1/p' docker-compose.yml)
docker info >/dev/null 2>&1 || nothing "no Docker engine answers on this machine (docker info)."
version=$(docker compose version --short 2>/dev/null) || nothing "the Docker engine here has no Compose (docker compose version)."
[ "$(printf '%s\n' "$minimum" "${version#v}" | sort -V | head -n 1)" = "$minimum" ] ||
    nothing "Docker Compose $version is older than $minimum, which docker-compose.yml needs."

work=$(mktemp -d) || exit 1
log=$work/log
clone=$work/darkroom
export COMPOSE_PROJECT_NAME=darkroom-check COMPOSE_FILE=docker-compose.yml:$work/override.yml COMPOSE_PROGRESS=quiet
export DARKROOM_PUBLISH=127.0.0.1:$port DARKROOM_S3_PUBLISH=127.0.0.1:$((port + 2))
export DARKROOM_PUBLIC_URL=http://127.0.0.1:$port DARKROOM_S3_PUBLIC_ENDPOINT=http://127.0.0.1:$((port + 2))
API=$DARKROOM_PUBLIC_URL
image=darkroom:compose-check
allowed=DARKROOM_WEBHOOK_ALLOW_HOSTS=host.docker.internal
# the settings of .env must not come from the shell
unset DARKROOM_ONEMIN_API_KEY_FILE DARKROOM_SANDBOX DARKROOM_API_SCALE DARKROOM_WORKER_GENERATE_SCALE DARKROOM_WORKER_DELIVER_SCALE

# --- helper functions ---

section() { printf '\n%s  %s\n' "$(date +%T)" "$*"; }

# check WHAT COMMAND…: run a command; it passes if the command succeeds.
check() {
    local what=$1
    shift
    if "$@" >"$log" 2>&1; then
        passed=$((passed + 1))
        echo "ok    $what"
    else
        failed=$((failed + 1))
        echo "FAIL  $what: $(tail -c 600 "$log" | tr '\n' ' ')"
    fi
}

not() { ! "$@"; }
# shellcheck disable=SC2119,SC2120 # `check` passes it arguments
start() { timeout 300 docker compose up -d --wait "$@"; }
# configure NAME=VALUE…: write .env and start.
configure() { printf '%s\n' "$@" >.env && start; }
inside() { docker compose exec -T "$@"; }

# field PATH: print a value of the JSON on standard input.
field() {
    "$python" -c 'import json, sys
found = json.load(sys.stdin)
for step in sys.argv[1].split("."):
    found = found[int(step)] if step.isdigit() else found[step]
print(found)' "$1"
}

read_keys() {
    KEY=$(inside api cat /run/darkroom/api_key)
    OPS_KEY=$(inside api cat /run/darkroom/ops_key)
    SECRET=$(inside api cat /run/darkroom/webhook_secret)
}

# job PROMPT: submit a job and wait for it.
job() {
    curl -sS --retry 9 --retry-connrefused -m 70 "$API/v1/jobs" -H "Authorization: Bearer $KEY" \
        -H 'Content-Type: application/json' -H 'Prefer: wait=60' -d "{\"input\": {\"prompt\": \"$1\"}}"
}
is_made() { [ "$(job "$1" | field status)" = succeeded ]; }
get() { curl -sSf --retry 9 --retry-connrefused -H "Authorization: Bearer $KEY" "$API$1"; }
ops() { curl -sSf --retry 9 --retry-connrefused -H "Authorization: Bearer $OPS_KEY" "$API$1" "${@:2}"; }
succeeded() { ops /ops/v1/overview | field jobs.succeeded; }
has_image() { get "/v1/jobs/$1/image" | file - | grep -q Web/P; }
load() { PYTHONPATH=$root "$python" -m deploy.compose_load "$@" --url "$API" --key "$KEY" --secret "$SECRET"; }

# until_true SECONDS COMMAND…: repeat a command until it succeeds.
until_true() {
    local ends=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $ends ] || return 1
        sleep 0.5
    done
}

remove() {
    docker rm -f darkroom-check-1min >/dev/null 2>&1
    docker compose --profile '*' down -v --remove-orphans >/dev/null 2>&1
}
finish() {
    [ ! -d "$clone" ] || { cd "$clone" && remove; }
    [ ${#built[@]} = 0 ] || docker image rm -f "${built[@]}" >/dev/null 2>&1
    cd / && rm -rf "$work"
}
trap finish EXIT

override() {
    local service network=""
    [ -z "${BUILD_NETWORK:-}" ] || network=", build: { network: $BUILD_NETWORK }"
    echo "services:"
    for service in init check-provider api worker-generate worker-deliver provider; do
        [ "$service" = init ] || network=""
        echo "  $service: { image: $image$network }"
    done
}

# --- the checks ---

first_start() {
    section "The first start, in a clone made with umask 077"
    (umask 077 && git clone -q "$root" "$clone") || exit 1
    override >"$work/override.yml"
    cd "$clone" || exit 1
    remove
    docker image rm -f "$image" >/dev/null 2>&1
    local before seconds=$SECONDS
    before=$(docker images -q -f dangling=true | wc -l)
    check "docker compose up -d --wait builds the image and starts the service" timeout 1800 docker compose up -d --wait
    echo "      $((SECONDS - seconds)) s; the image: $(docker image inspect -f '{{.Size}}' "$image" | numfmt --to=si) with its base"
    built+=("$(docker image inspect -f '{{.Id}}' "$image")")
    check "the build leaves no image without a name" [ "$(docker images -q -f dangling=true | wc -l)" -le "$before" ]
    read_keys
    check "an image, at once" is_made "A lighthouse at dawn"
    # in its container the API has port 8000, not the one that is published for this check
    check "darkroom doctor finds nothing" inside -e DARKROOM_PUBLIC_URL=http://127.0.0.1:8000 api darkroom doctor
    local service
    for service in api worker-generate worker-deliver provider; do
        # shellcheck disable=SC2016 # the shell of the container expands it
        check "$service: not root, no capability, no new privilege, only /tmp can be written" inside "$service" sh -c \
            '[ "$(id -u)" = 10001 ] && grep -q "^CapEff:.0*$" /proc/1/status && grep -q "^NoNewPrivs:.1" /proc/1/status && ! touch /x 2>/dev/null && touch /tmp/x'
    done
}

layers() {
    section "Image layers that change with a line of the code"
    local before after
    before=$(docker image inspect -f '{{join .RootFS.Layers "\n"}}' "$image")
    docker history --format '{{.Size}}\t{{.CreatedBy}}' "$image" | grep -v '^0B' | cut -c -100 | sed 's/^/      /'
    echo '# a change' >>api/main.py
    check "the image builds again" docker compose build
    git checkout -q api/main.py
    built+=("$(docker image inspect -f '{{.Id}}' "$image")")
    after=$(docker image inspect -f '{{join .RootFS.Layers "\n"}}' "$image")
    check "one layer of it" [ "$(comm -13 <(sort <<<"$before") <(sort <<<"$after") | wc -l)" = 1 ]
}

webhooks() {
    section "Endpoints on this machine; redirects to the storage"
    check "starts with a .env" configure "$allowed"
    check "100 jobs: each image generated, paid for and notified once, at host.docker.internal" load 100
    cat "$log"
    local id
    id=$(job "a redirect" | field id)
    check "?redirect=1 leads to an address that this machine reaches" bash -c \
        "curl -sSfL -H 'Authorization: Bearer $KEY' '$API/v1/jobs/$id/image?redirect=1' | file - | grep -q Web/P"
}

# killed SERVICE: kill -9 its first process while jobs run; check that it returns and nothing is lost.
killed() {
    local service=$1 options=() container pid other
    [ "$service" != provider ] || options=(--no-calls)
    container=$(docker compose ps -q "$service")
    load 80 --spread 8 --latency 1.5 "${options[@]}" >"$work/load" 2>&1 &
    other=$!
    sleep 4
    pid=$(docker inspect -f '{{.State.Pid}}' "$container")
    # the engine's own kill counts as a stop, after which it starts nothing again
    docker run --rm --pid host --user 0 --entrypoint python "$image" -c "import os; os.kill($pid, 9)"
    wait $other || { cat "$work/load"; return 1; }
    [ "$(docker inspect -f '{{.RestartCount}}' "$container")" -ge 1 ] || { echo "it was not restarted"; return 1; }
    until_true 120 is_healthy "$container"
}
is_healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$1")" = healthy ]; }

kills() {
    section "kill -9 of the first process of each container, under load"
    configure "$allowed" >/dev/null 2>&1
    local service
    for service in worker-generate worker-deliver api redis s3 postgres provider; do
        check "$service: it is started again, and nothing is lost" killed "$service"
        cat "$work/load"
    done
}

stops() {
    section "stop, start, down, up"
    configure "$allowed" >/dev/null 2>&1
    local other id key=$KEY
    id=$(job "before a stop" | field id)
    load 100 --latency 6 --no-calls >"$work/load" 2>&1 &  # a sandbox that is stopped loses its list of calls
    other=$!
    sleep 4
    check "stop, with 100 jobs in progress" docker compose stop
    check "start" start
    check "nothing is lost by it" wait $other
    cat "$work/load"
    check "no call has an unknown outcome" [ "$(tail -n 1 "$work/load" | field unknown_outcomes)" = 0 ]
    docker compose down >"$log" 2>&1
    check "start after down" start
    read_keys
    check "the keys are the same" [ "$KEY" = "$key" ]
    check "the image is still there" has_image "$id"
}

restores() {
    section "Backup and restore of Redis and the history, as in docs/operating.md"
    local archived kept later count
    configure DARKROOM_ARCHIVE_AFTER_SECONDS=15 >/dev/null 2>&1
    archived=$(job "goes to the history" | field id)
    check "a job moves to PostgreSQL" until_true 120 is_archived "$archived"
    check "and is still there" has_image "$archived"
    rm .env
    check "start without .env: jobs stay in Redis for a day" start
    kept=$(job "in the backup" | field id)
    count=$(succeeded)
    inside redis valkey-cli bgsave >/dev/null
    check "Redis is backed up" until_true 60 is_backed_up
    (umask 077 && inside redis cat /data/dump.rdb >dump.rdb)
    check "the backup is whole" inside redis valkey-check-rdb /data/dump.rdb
    (umask 077 && inside postgres pg_dump -U darkroom -Fc darkroom >history.dump)
    later=$(job "after the backup" | field id)
    docker compose stop >/dev/null 2>&1
    head -c 100 dump.rdb >cut.rdb
    check "a backup that is cut off is refused" not restore cut.rdb
    start >/dev/null 2>&1
    check "and changes nothing" has_image "$later"
    docker compose stop >/dev/null 2>&1
    check "the backup is restored" restore dump.rdb
    check "start" start
    check "all $count jobs of it are back, and no other" [ "$(succeeded)" = "$count" ]
    check "with their images" has_image "$kept"
    check "the queue is paused, since today" is_paused_today
    ops /ops/v1/queues/generate/resume -X POST >/dev/null
    docker compose stop api worker-generate worker-deliver >/dev/null 2>&1
    inside postgres psql -q -U darkroom -d darkroom -c 'DROP TABLE jobs CASCADE' >/dev/null 2>&1
    check "the history is restored" restore_history history.dump
    check "start" start
    check "the archived job is back" has_image "$archived"
    check "an image is made after it" is_made "after a restore"
}
is_archived() { [ "$(inside redis valkey-cli exists "{dr}:job:$1")" = 0 ]; }
is_backed_up() { inside redis valkey-cli info persistence | tr -d '\r' | grep -q '^rdb_bgsave_in_progress:0'; }
is_paused_today() { ops /ops/v1/queues | grep -q "\"paused_at\":\"$(date -u +%F)"; }
restore_history() {
    inside postgres pg_restore -U darkroom -d darkroom --clean --if-exists --single-transaction <"$1"
}
restore() { docker compose run --rm --no-deps -T redis sh -c "$(cat deploy/redis/restore.sh)" restore <"$1"; }

# refused SENTENCE: a start fails, the reason is in the log of check-provider, and jobs are accepted all the same.
refused() {
    ! start || { echo "it started"; return 1; }
    docker compose logs check-provider | tail -n 4
    docker compose logs check-provider | grep -q "$1" || return 1
    until_true 60 curl -sSf -o /dev/null "$API/healthz" || return 1
    curl -sSf "$API/v1/jobs" -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' -d '{"input": {"prompt": "waits"}}'
}

provider_keys() {
    section "A key for 1min.ai (for which another sandbox stands in)"
    docker run -d --name darkroom-check-1min --network "${COMPOSE_PROJECT_NAME}_default" --network-alias fake1min "$image" \
        darkroom sandbox --host 0.0.0.0 --port 8081 >/dev/null
    printf '%s\n' DARKROOM_ONEMIN_BASE_URL=http://fake1min:8081 DARKROOM_ONEMIN_IMAGE_HOSTS=fake1min \
        DARKROOM_ONEMIN_ALLOW_PRIVATE_HOSTS=fake1min DARKROOM_SANDBOX=0 >.env
    check "without a key and without the sandbox, it says so" refused "Nothing can make images"
    echo DARKROOM_ONEMIN_API_KEY_FILE=./onemin.key >>.env
    (umask 077 && printf 'a-key-for-this-check-0123\n' >onemin.key)
    check "a key that user 10001 cannot read: it says so" refused "onemin.key (DARKROOM_ONEMIN_API_KEY_FILE) cannot be read"
    chmod 0644 onemin.key
    check "starts with the key" start
    check "an image is made with it" is_made "with a key"
    check "no sandbox beside it" [ -z "$(docker compose ps -q provider)" ]
    echo another-key-for-this-check >onemin.key
    check "another key, as in docs/operating.md" docker compose up -d --wait --force-recreate init worker-generate worker-deliver
    check "the worker has it" [ "$(inside worker-generate cat /run/darkroom/onemin_api_key)" = another-key-for-this-check ]
    check "an image is made with it" is_made "with another key"
    docker rm -f darkroom-check-1min >/dev/null
    rm -f .env onemin.key
    check "the sandbox again" start
}

files() {
    section "A file that a setting names"
    mkdir -p models
    sed -n '/^models:$/,/^    credits:/p' docs/models.md >models/models.yaml
    chmod -R go+rX models
    check "starts with the models of docs/models.md" configure DARKROOM_FILES=./models DARKROOM_MODELS_FILE=/etc/darkroom/models.yaml
    check "the API offers the model" bash -c "curl -sSf $API/v1/models -H 'Authorization: Bearer $KEY' | grep -q acme/painter"
    check "an image is made with it" bash -c "curl -sSf -m 70 $API/v1/jobs -H 'Authorization: Bearer $KEY' -H 'Content-Type: application/json' \
        -H 'Prefer: wait=60' -d '{\"model\": \"acme/painter\", \"input\": {\"prompt\": \"in oil\"}}' | grep -q '\"status\":\"succeeded\"'"
    rm -rf models
    check "without it again" configure ""
}

scales() {
    section "Scales"
    check "3 and 2 workers by .env" configure DARKROOM_WORKER_GENERATE_SCALE=3 DARKROOM_WORKER_DELIVER_SCALE=2
    start >/dev/null 2>&1
    check "another start keeps them" [ "$(docker compose ps -q worker-generate worker-deliver | wc -l)" = 5 ]
    export DARKROOM_PUBLISH=127.0.0.1:$port-$((port + 1))
    check "two APIs on a range of ports" start --scale api=2
    check "both answer" bash -c "curl -sSf -o /dev/null $API/healthz && curl -sSf -o /dev/null http://127.0.0.1:$((port + 1))/healthz"
    export DARKROOM_PUBLISH=127.0.0.1:$port
}

has_grafana() {
    local grafana
    grafana=$(docker compose --profile monitoring config --images | grep '^grafana/')
    docker image inspect "$grafana" >/dev/null 2>&1 || docker pull -q "$grafana" >/dev/null 2>&1
}
prometheus() { curl -sSf "http://127.0.0.1:9090/api/v1/$1"; }
all_up() { [ "$(prometheus targets | "$python" -c 'import json, sys
print(sum(target["health"] == "up" for target in json.load(sys.stdin)["data"]["activeTargets"]))')" = 4 ]; }
rules_are_well() { ! prometheus rules | grep -Eq '"health":"(unknown|err)"'; }

monitoring() {
    section "The profile monitoring, of an API and three workers"
    check "two workers that generate" configure DARKROOM_WORKER_GENERATE_SCALE=2
    local services=(prometheus alertmanager)
    if has_grafana; then services+=(grafana); else echo "      Grafana was not checked: its image is not available here."; fi
    chmod -R go+rX deploy # they read their files as users of their own
    check "it starts" start "${services[@]}"
    check "Prometheus reads the four processes" until_true 120 all_up
    check "every rule can be evaluated" until_true 180 rules_are_well
    check "Prometheus knows Alertmanager" bash -c "curl -sSf http://127.0.0.1:9090/api/v1/alertmanagers | grep -q alertmanager:9093"
}

first_start
for one in "${@:-${sections[@]}}"; do "$one"; done
echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
