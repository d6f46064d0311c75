#!/bin/sh
# Fetch a schema registry (Apicurio) into .cache/registry/, once per version of registry-pom.xml. Needs Maven and
# Java 17.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
pom="$here/registry-pom.xml"
target="$here/../../.cache/registry"
if [ -f "$target/registry-pom.xml" ] && cmp -s "$pom" "$target/registry-pom.xml"; then
    exit 0
fi
rm -rf "$target.part"
mkdir -p "$target.part"
mvn --quiet --batch-mode --file "$pom" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$target.part"
tar -xzf "$target.part"/*.tar.gz -C "$target.part"
rm "$target.part"/*.tar.gz
cp "$pom" "$target.part/" # last: its presence says that the folder is complete
rm -rf "$target"
mv "$target.part" "$target"
