#!/bin/sh
# Fetch Apache Kafka's jars into .cache/kafka/, once per version of kafka-pom.xml. Needs Maven and Java 17.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
pom="$here/kafka-pom.xml"
target="${CEMP_KAFKA_JARS:-$here/../../.cache/kafka}"
if [ -f "$target/kafka-pom.xml" ] && cmp -s "$pom" "$target/kafka-pom.xml"; then
    exit 0
fi
rm -rf "$target.part"
mkdir -p "$target.part"
mvn --quiet --batch-mode --file "$pom" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$target.part"
cp "$pom" "$target.part/" # last: its presence says that the folder is complete
rm -rf "$target"
mv "$target.part" "$target"
