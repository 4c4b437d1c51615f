#!/usr/bin/env bash
# Gets what the comparisons measure against, into .cache/bench (never committed):
#   bench/tools.sh rdkafka   librdkafka's rdkafka_performance, built from the source inside the crate rdkafka-sys
#   bench/tools.sh kafka     Apache Kafka by its Maven coordinates: a file `classpath` with every jar of the broker and its tools
# Each is done once; remove its folder to do it again.
set -euo pipefail
cd "$(dirname "$0")/.."
cache="$PWD/.cache/bench"
mkdir -p "$cache"

RDKAFKA_SYS_VERSION="=4.10.0"
KAFKA_VERSION="4.3.1"

rdkafka() {
    local out="$cache/rdkafka"
    [ -x "$out/rdkafka_performance" ] && return
    rm -rf "$out" && mkdir -p "$out/fetch/src"
    cat >"$out/fetch/Cargo.toml" <<TOML
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"
[dependencies]
rdkafka-sys = "$RDKAFKA_SYS_VERSION"
[workspace]
TOML
    touch "$out/fetch/src/lib.rs"
    # `vendor` and not `build`: only the source is wanted, its own build would ask for cmake and OpenSSL.
    (cd "$out/fetch" && cargo vendor -q --versioned-dirs vendor >/dev/null)
    cp -r "$out"/fetch/vendor/rdkafka-sys-*/librdkafka "$out/src"
    rm -rf "$out/fetch"
    cd "$out/src"
    chmod +x configure configure.self mklove/* mklove/*/* 2>/dev/null || true
    ./configure --disable-gssapi --disable-ssl --disable-curl >"$out/build.log" 2>&1
    make -j2 -C src >>"$out/build.log" 2>&1
    make -C examples rdkafka_performance >>"$out/build.log" 2>&1 ||
        gcc -O2 -Isrc examples/rdkafka_performance.c src/librdkafka.a -o examples/rdkafka_performance \
            -lpthread -lz -lm -ldl -lrt $(pkg-config --libs libzstd liblz4 2>/dev/null || true) >>"$out/build.log" 2>&1
    cp examples/rdkafka_performance "$out/rdkafka_performance"
}

kafka() {
    local out="$cache/kafka"
    [ -s "$out/classpath" ] && return
    rm -rf "$out" && mkdir -p "$out"
    cat >"$out/pom.xml" <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>bench</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA_VERSION</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$KAFKA_VERSION</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version></dependency>
  </dependencies>
</project>
XML
    (cd "$out" && mvn -q -B dependency:build-classpath -Dmdep.outputFile=classpath.part >mvn.log 2>&1) ||
        { tail -20 "$out/mvn.log" >&2; exit 1; }
    mv "$out/classpath.part" "$out/classpath"
}

case "${1:-}" in
    rdkafka) rdkafka ;;
    kafka) kafka ;;
    all) rdkafka; kafka ;;
    *) sed -n '2,6p' "$0"; exit 2 ;;
esac
