#!/bin/sh
# Consumes events from the shell: consume.sh NAME [CONDITION…]. Each comes at least once, as an object a line; what was printed
# is committed. Goes on by itself when the agent was away: 69 says that it does not answer now. Whatever else ends it does
# not pass by waiting.
name=$1
shift
while :; do
    rodent events --as "$name" --follow -o jsonl "$@" && exit
    code=$?
    [ $code = 69 ] || exit $code
    sleep 0.3
done
