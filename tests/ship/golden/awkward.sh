#!/bin/sh
: "${ELSEWHERE_MACHINE:=$(hostname)}"; HERE='/tmp/a b'"'"'; rm -rf $HOME; '"'"''/$ELSEWHERE_MACHINE; (trap '' TERM INT HUP; left=300 last=; while [ "$left" -gt 0 ]; do sleep 5; left=$((left - 5)); if read -r word serial <"$HERE/switch" && [ "$serial" != "$last" ]; then left=$word last=$serial; fi; done 2>/dev/null; echo 'the dead man switch ends this machine' >&2; kill -TERM 0; sleep 10; shutdown -h now; kill -KILL 0) & switch=$!
[ "$(date +%s)" -le 1767323045 ] || { echo 'too late: its work was given to others' >&2; shutdown -h now; kill -KILL $switch; exit 75; }
trap : TERM INT HUP
umask 077
mkdir -p "$HERE" && cd "$HERE" || exit 73
'/opt/my python/bin/python' -m elsewhere.agent 'pipe:/tmp/it'"'"'s $(here); `id` "x"' --directory "$HERE" --agent "$ELSEWHERE_MACHINE" --slots 4 --term 300 --lease 120 --idle 60
status=$?
shutdown -h now
kill -KILL $switch
exit $status
