#!/bin/sh
: "${ELSEWHERE_MACHINE:=$(hostname)}"; HERE=/scratch/machines/$ELSEWHERE_MACHINE; (trap '' TERM INT HUP; left=1200 last=; while [ "$left" -gt 0 ]; do sleep 5; left=$((left - 5)); if read -r word serial <"$HERE/switch" && [ "$serial" != "$last" ]; then left=$word last=$serial; fi; done 2>/dev/null; echo 'the dead man switch ends this machine' >&2; kill -TERM 0; sleep 10; :; kill -KILL 0) & switch=$!
[ "$(date +%s)" -le 1767323045 ] || { echo 'too late: its work was given to others' >&2; :; kill -KILL $switch; exit 75; }
trap : TERM INT HUP
umask 077
mkdir -p "$HERE" && cd "$HERE" || exit 73
PYTHONPATH='/opt/it'"'"'s ours:/usr/lib/python3/dist-packages' /usr/bin/python3 -S -m elsewhere.agent 'spool:/scratch/jobs/one?job=job-1&key=00ff' --directory "$HERE" --agent "$ELSEWHERE_MACHINE" --slots 4 --term 43200 --lease 120 --idle 60
status=$?
:
kill -KILL $switch
exit $status
