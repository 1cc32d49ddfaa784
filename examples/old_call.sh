#!/bin/sh
# The call of CMDB's existing callers: always HTTP 200, an envelope of six keys. Usage: old_call.sh BK_HOST_ID
set -eu
url=${BKSI_URL:-http://127.0.0.1:8080}
body="{\"bk_app_code\": \"${BKSI_APP_CODE:-my_app}\", \"bk_app_secret\": \"${BKSI_APP_SECRET:-}\", \"bk_username\": \"admin\",
  \"bk_biz_id\": 1, \"bk_module_id\": 60, \"instances\": [{\"bk_host_id\": $1}]}"

# It waits for the rows. 1190001 says that it is accepted and still running: the same body again attaches to it.
while :; do
    envelope=$(curl --silent --show-error --fail --header 'Content-Type: application/json' --data "$body" \
        "$url/api/c/compapi/v2/cc/create_service_instance/")
    case $envelope in *'"code":1190001,'*) ;; *) break ;; esac
done
case $envelope in *'"result":true,'*) status=SUCCESS ;; *) status=FAILED ;; esac
echo "$(printf %s "$envelope" | sed -n 's/.*"request_id":"\([0-9a-f]*\)".*/\1/p') $status $envelope"
[ $status = SUCCESS ]
