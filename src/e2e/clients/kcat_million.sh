#!/usr/bin/env bash
# A million lines through kcat, uncompressed and keyed, to the topic's one partition; then all of them read back and compared.
# Arguments: BOOTSTRAP TOPIC COUNT.
set -euo pipefail
bootstrap=$1 topic=$2 count=$3
lines() { seq 0 "$((count - 1))" | sed 's/.*/key-&:value &/'; }
lines | kcat -b "$bootstrap" -P -t "$topic" -p 0 -K: -X enable.idempotence=true
cmp <(lines) <(kcat -b "$bootstrap" -C -q -t "$topic" -p 0 -o beginning -e -f '%k:%s\n')
echo "$count lines"
