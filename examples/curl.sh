#!/bin/sh
# Submit one instance over HTTP and wait for its end. Usage: curl.sh BK_HOST_ID
set -eu
url=${BKSI_URL:-http://127.0.0.1:8080}
identity='{}'
[ -z "${BKSI_APP_CODE:-}" ] || identity="{\"bk_app_code\": \"$BKSI_APP_CODE\", \"bk_app_secret\": \"$BKSI_APP_SECRET\"}"

# One key for all tries: whatever got lost, it is the same request. curl repeats 429 and 503 as late as Retry-After says.
call() {
    curl --silent --show-error --fail-with-body --retry 5 --retry-connrefused \
        --header "X-Bkapi-Authorization: $identity" "$@"
}

request_id=$(call "$url/v1/batches" \
    --header 'Content-Type: application/json' --header "Idempotency-Key: curl-$1-$$" \
    --data "{\"bk_biz_id\": 1, \"bk_module_id\": 60, \"instances\": [{\"bk_host_id\": $1}]}" |
    sed -n 's/.*"request_id":"\([0-9a-f]*\)".*/\1/p')

while report=$(call --header 'Prefer: wait=20' "$url/v1/batches/$request_id"); do
    status=$(printf %s "$report" | sed -n 's/.*"data":[^"]*"status":"\([A-Z_]*\)".*/\1/p')
    case $status in PENDING | RUNNING) ;; *) break ;; esac
done
echo "$request_id $status $(printf %s "$report" | sed -n 's/.*"data":\([^"]*\),"status".*/\1/p')"
[ "$status" = SUCCESS ]
