#!/bin/sh
# queue.sh run MODEL JSON     creates a task, asks for its status every second, prints its result
# queue.sh cancel MODEL ID    cancels one
# queue.sh upload FILE        stores a file and prints its address, for use in an input
# Reads QUERN_URL and QUERN_KEY. Needs curl and jq.
set -eu

ask() { curl --silent --show-error --fail-with-body --max-time 30 -H "Authorization: Bearer $QUERN_KEY" "$@"; }

case "$1" in
  cancel)
    ask -X PUT "$QUERN_URL/v1/queue/$2/requests/$3/cancel"
    exit ;;
  upload)
    ask -F "file=@$2" "$QUERN_URL/v1/files" | jq -r .url
    exit ;;
  run) ;;
  *) echo "usage: queue.sh run MODEL JSON | cancel MODEL ID | upload FILE" >&2; exit 2 ;;
esac

task=$(ask -H 'Content-Type: application/json' -d "$3" "$QUERN_URL/v1/queue/$2") || {
  echo "refused: $task" >&2
  exit 3
}
id=$(echo "$task" | jq -r .request_id)
echo "created $id" >&2

while :; do
  status=$(ask "$QUERN_URL/v1/queue/$2/requests/$id/status")
  state=$(echo "$status" | jq -r .status)
  echo "$state" >&2
  [ "$state" = COMPLETED ] && break
  sleep 1
done

if echo "$status" | jq -e 'has("error")' > /dev/null; then
  echo "$status" | jq -r '"\(.error_type): \(.error)"' >&2
  exit 1
fi
ask "$QUERN_URL/v1/queue/$2/requests/$id/response"
