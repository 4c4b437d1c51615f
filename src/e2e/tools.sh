#!/usr/bin/env bash
# Gets the clients that the tests drive, into .cache (never committed); what is there already is not fetched again.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=$PWD/.cache
mkdir -p "$cache"
# One at a time: tests may ask for the clients beside each other.
exec 9>"$cache/tools.lock"
flock 9
mkdir -p "$cache/npm" "$cache/java"

missing=()
command -v kcat >/dev/null || missing+=(kcat)
command -v javac >/dev/null || missing+=(default-jdk-headless)
command -v mvn >/dev/null || missing+=(maven)
command -v npm >/dev/null || missing+=(nodejs npm)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "these packages are missing and installing them needs root: sudo apt-get install -y ${missing[*]}" >&2
    exit 1
  fi
  echo "installing ${missing[*]}"
  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${missing[@]}"
fi

# fetch FOLDER PACKAGES COMMAND...: what was got is written down, so that a change of the list is noticed and a fetch cut short begins again.
fetch() {
  local folder=$1 packages=$2
  shift 2
  [ "$(cat "$folder/ready" 2>/dev/null)" = "$packages" ] && return
  echo "getting $packages"
  "$@" $packages || { echo "could not get $packages (is a package registry within reach?)" >&2; exit 1; }
  echo "$packages" >"$folder/ready"
}

[ -e "$cache/venv/bin/pip" ] || python3 -m venv "$cache/venv"
fetch "$cache/venv" "confluent-kafka==2.16.1 kafka-python==3.0.12 aiokafka==0.14.0 lz4 zstandard python-snappy cramjam" \
  "$cache/venv/bin/pip" install -q --disable-pip-version-check
fetch "$cache/npm" "kafkajs@2.2.4 kafkajs-snappy@1.1.0 @platformatic/kafka@1.35.0 zstd-codec@0.1.5" \
  npm install --silent --no-fund --no-audit --prefix "$cache/npm"
# @platformatic/kafka wants Node 20.19 or newer; distributions often have an older one, and npm has them all.
if ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)'; then
  mkdir -p "$cache/node"
  fetch "$cache/node" "node@22" npm install --silent --no-fund --no-audit --prefix "$cache/node"
fi
if [ ! -s "$cache/java/classpath" ]; then
  cat >"$cache/java/pom.xml" <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>e2e</groupId><artifactId>clients</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-clients</artifactId><version>4.3.1</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
XML
  echo "getting kafka-clients 4.3.1"
  (cd "$cache/java" && mvn -q -B dependency:build-classpath -Dmdep.outputFile=classpath.part) ||
    { echo "could not get kafka-clients (is a Maven repository within reach?)" >&2; exit 1; }
  mv "$cache/java/classpath.part" "$cache/java/classpath"
fi
newest=$(ls -t src/e2e/clients/*.java | head -1)
if [ ! "$cache/java/classes/ready" -nt "$newest" ]; then
  javac -d "$cache/java/classes" -cp "$(cat "$cache/java/classpath")" src/e2e/clients/*.java
  touch "$cache/java/classes/ready"
fi
