#!/bin/sh
# Submit one instance with redis-cli alone, and read its report from Redis. Usage: redis_cli.sh BK_HOST_ID
set -eu
# Redis' own client takes no URL with a password and no user.
broker=$(printf %s "${BKSI_BROKER:-redis://127.0.0.1:6379/0}" | sed 's|//:|//default:|')
redis() { redis-cli -e --no-auth-warning -u "$broker" "$@"; }
id=$(python3 -c 'import uuid; print(uuid.uuid4().hex)')
kwargs="{\"request_id\": \"$id\", \"batch\": {\"bk_biz_id\": 1, \"bk_module_id\": 60, \"instances\": [{\"bk_host_id\": $1}]},
  \"caller\": {\"bk_app_code\": \"${BKSI_APP_CODE:-}\"}}"
body=$(printf '[[], %s, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]' "$kwargs" | base64 | tr -d '\n')

redis LPUSH service_instance '{"body": "'"$body"'", "content-encoding": "utf-8", "content-type": "application/json",
  "headers": {"lang": "sh", "task": "service_instance.create_batch.v1", "id": "'"$id"'", "root_id": "'"$id"'", "parent_id": null,
    "group": null, "eta": null, "expires": null, "retries": 0, "timelimit": [null, null],
    "argsrepr": "biz=1 module=60 instances=1", "kwargsrepr": "", "ignore_result": true},
  "properties": {"correlation_id": "'"$id"'", "reply_to": "", "delivery_mode": 2, "priority": 0, "body_encoding": "base64",
    "delivery_tag": "'"$id"'", "delivery_info": {"exchange": "", "routing_key": "service_instance"}}}' > /dev/null

# The report begins with the six keys of the envelope. Over HTTP it is GET /v1/batches/$id.
until report=$(redis GET "bksi:result:$id") && [ -n "$report" ]; do sleep 0.1; done
case $report in *'"status":"SUCCESS"'*) status=SUCCESS ;; *) status=FAILED ;; esac
echo "$id $status $(printf %s "$report" | sed -n 's/.*"data":\(\[[0-9,]*\]\).*/\1/p')"
[ $status = SUCCESS ]
