#!/usr/bin/env bash
# pause-image.sh ARCHIVE IMAGE: a static program that holds a pod's namespaces and ends when told.
set -euo pipefail
archive=$1 image=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/pause.c" <<'C'
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int signal) { (void)signal; _exit(0); }
static void reap(int signal) { (void)signal; while (waitpid(-1, 0, WNOHANG) > 0) {} }
int main(void) {
    signal(SIGINT, end);
    signal(SIGTERM, end);
    signal(SIGCHLD, reap);
    for (;;) pause();
}
C
cc -Os -static -s -o "$folder/pause" "$folder/pause.c"
printf 'FROM scratch\nCOPY pause /pause\nUSER 65535:65535\nENTRYPOINT ["/pause"]\n' >"$folder/Dockerfile"
source "$(dirname "$0")/build.sh"
build "$folder" "$archive" "$image"
