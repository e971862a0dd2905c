#!/bin/sh
# Asks every HTTP endpoint of GoForward once, with curl, and says what it should have answered.
#
# URL    where the server is (http://127.0.0.1:8080)
# TOKEN  a token of a user; ADMIN_TOKEN one of the role service_role. On a development server:
#          export TOKEN=$(python -m actors.main token --role authenticated --sub user123)
#          export ADMIN_TOKEN=$(python -m actors.main token --role service_role)
# TABLE  a published table that the user may read; without it, nothing is asked about row changes
set -eu

URL=${URL:-http://127.0.0.1:8080}
TABLE=${TABLE:-}
: "${TOKEN:?a token of a user is needed}" "${ADMIN_TOKEN:?a token of the role service_role is needed}"

CHANNEL=test-channel-$$
ANSWER=$(mktemp)
trap 'rm -f "$ANSWER"' EXIT
failed=0

# ask STATUS TOKEN METHOD PATH [BODY]
ask() {
    expected=$1 token=$2 method=$3 path=$4 body=${5:-}
    set -- -s -o "$ANSWER" -w '%{http_code}' -X "$method" -H "Authorization: Bearer $token"
    if [ -n "$body" ]; then
        set -- "$@" -H 'Content-Type: application/json' -d "$body"
    fi
    status=$(curl "$@" "$URL/realtime$path")
    if [ "$status" = "$expected" ]; then
        echo "ok      $status $method $path"
    else
        echo "FAILED  $status instead of $expected: $method $path: $(cat "$ANSWER")"
        failed=$((failed + 1))
    fi
}

# answered PATTERN: look at the last answer
answered() {
    if ! grep -q "$1" "$ANSWER"; then
        echo "FAILED  no $1 in $(cat "$ANSWER")"
        failed=$((failed + 1))
    fi
}

ask 201 "$ADMIN_TOKEN" POST /channels "{\"name\": \"$CHANNEL\", \"max_subscribers\": 100}"
answered '"subscriber_count":0'
ask 409 "$ADMIN_TOKEN" POST /channels "{\"name\": \"$CHANNEL\"}"
answered CHANNEL_EXISTS
ask 400 "$ADMIN_TOKEN" POST /channels '{"name": "no such / name"}'
ask 200 "$TOKEN" GET /channels
answered "$CHANNEL"
ask 200 "$TOKEN" GET "/channels/$CHANNEL"
answered '"presence":{}'
ask 404 "$TOKEN" GET /channels/never-created
answered CHANNEL_NOT_FOUND
ask 401 nonsense GET "/channels/$CHANNEL"
answered AUTH_FAILED

ask 200 "$TOKEN" POST "/channels/$CHANNEL/broadcast" \
    '{"type": "message", "event": "test", "payload": {"data": "test"}}'
answered '"id":"msg_'
ask 400 "$TOKEN" POST "/channels/$CHANNEL/broadcast" '{"type": "system", "event": "test"}'

ask 200 "$TOKEN" POST "/channels/$CHANNEL/presence" '{"state": {"status": "busy"}}'
ask 200 "$TOKEN" GET "/channels/$CHANNEL/presence"
answered '"status":"busy"'
answered '"connected_users":\[\]'

ask 200 "$TOKEN" GET "/channels/$CHANNEL/stats"
answered '"connected_users":0'
ask 200 "$TOKEN" GET /stats
answered '"total_channels":'
ask 200 "$TOKEN" GET /subscriptions

if [ -n "$TABLE" ]; then
    ask 200 "$ADMIN_TOKEN" POST "/triggers/$TABLE"
    ask 403 "$TOKEN" POST "/triggers/$TABLE"
    ask 404 "$ADMIN_TOKEN" POST /triggers/nonexistent
    ask 200 "$TOKEN" POST "/channels/$CHANNEL/subscribe" \
        "{\"table\": \"$TABLE\", \"events\": [\"INSERT\", \"UPDATE\"]}"
    ask 404 "$TOKEN" POST "/channels/$CHANNEL/subscribe" '{"table": "nonexistent"}'
    answered DB_SUBSCRIPTION_FAILED
    ask 400 "$TOKEN" POST "/channels/$CHANNEL/subscribe" \
        "{\"table\": \"$TABLE\", \"condition\": \"1 = 1; drop table $TABLE\"}"
    ask 200 "$TOKEN" GET /subscriptions
    answered "\"channel_name\":\"$CHANNEL\""
    id=$(sed 's/.*"id":"\(sub_[0-9]*\)","channel_name":"'"$CHANNEL"'".*/\1/' "$ANSWER")
    ask 200 "$TOKEN" DELETE "/subscriptions/$id"
    ask 404 "$TOKEN" DELETE "/subscriptions/$id"
    ask 200 "$ADMIN_TOKEN" DELETE "/triggers/$TABLE"
fi

ask 405 "$TOKEN" PUT "/channels/$CHANNEL"
ask 200 "$ADMIN_TOKEN" DELETE "/channels/$CHANNEL"
answered 'channel deleted successfully'
ask 404 "$ADMIN_TOKEN" DELETE "/channels/$CHANNEL"

[ "$failed" = 0 ] || { echo "$failed failed"; exit 1; }
echo "all is well"
