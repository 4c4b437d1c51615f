#!/usr/bin/env bash
# kcat: topics come into being on first use; it writes text records with keys, headers and its own timestamps, so it has records of its
# own: `write` sends N numbered lines through a codec, `lines` reads them back and compares all of them, by offset and by time.
set -euo pipefail
bootstrap=$1 command=$2 topic=$3 codec=$4 n=$5
lines() { seq "$1" "$((n - 1))" | sed 's/.*/key-&:value &/'; }
case $command in
  write)
    lines 0 | kcat -b "$bootstrap" -P -t "$topic" -p 0 -K: -z "$codec" -H trace=e2e -X enable.idempotence=true -X linger.ms=20
    ;;
  lines)
    cmp <(lines 0) <(kcat -b "$bootstrap" -C -q -t "$topic" -p 0 -o beginning -e -f '%k:%s\n')
    cmp <(lines $((n / 2))) <(kcat -b "$bootstrap" -C -q -t "$topic" -p 0 -o $((n / 2)) -e -f '%k:%s\n')
    [ "$(kcat -b "$bootstrap" -C -q -t "$topic" -p 0 -o $((n - 1)) -e -f '%h %o\n')" = "trace=e2e $((n - 1))" ]
    first=$(kcat -b "$bootstrap" -C -q -t "$topic" -p 0 -o beginning -c 1 -f '%T')
    kcat -b "$bootstrap" -Q -t "$topic:0:$first" | grep -q 'offset 0$'
    ;;
  *) echo "unknown command $command" >&2; exit 2 ;;
esac
