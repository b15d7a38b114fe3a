#!/bin/sh
HERE="${HOME:-/root}"/.elsewhere/job-1; (trap '' TERM INT HUP; left=1200 last=; while [ "$left" -gt 0 ]; do sleep 5; left=$((left - 5)); if read -r word serial <"$HERE/switch" && [ "$serial" != "$last" ]; then left=$word last=$serial; fi; done 2>/dev/null; echo 'the dead man switch ends this machine' >&2; kill -TERM 0; sleep 10; shutdown -h now; kill -KILL 0) & switch=$!
[ "$(date +%s)" -le 1767323045 ] || { echo 'too late: its work was given to others' >&2; shutdown -h now; kill -KILL $switch; exit 75; }
trap : TERM INT HUP
umask 077
mkdir -p "$HERE" && cd "$HERE" || exit 73
send() { :; }; [ ! -e said ] || rm -f said; mkfifo -m 600 said && { (trap '' TERM INT HUP; exec <said; rm -f said; exec tee -a boot.log) & exec >said 2>&1; }
imds() {
  for path; do set -- "$@" "$metadata/latest/$path"; shift; done
  printf 'header = "X-aws-ec2-metadata-token: %s"' "$token" |
    curl -sf -m 5 --retry 4 --retry-connrefused -w '\n' -K - "$@"
}
metadata=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}; metadata=${metadata%/}
token=$(curl -sf -m 5 --retry 4 --retry-connrefused -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 21600' \
  "$metadata/latest/api/token")
{ read -r ELSEWHERE_MACHINE; read -r AWS_DEFAULT_REGION; read -r role; } <<facts
$(imds meta-data/instance-id meta-data/placement/region meta-data/iam/security-credentials/)
facts
export AWS_DEFAULT_REGION
# A busy service is asked again: the SDK's own patience is one second, once.
export AWS_METADATA_SERVICE_TIMEOUT=5 AWS_METADATA_SERVICE_NUM_ATTEMPTS=4
signed() {
  keys=${keys:-$(imds "meta-data/iam/security-credentials/$role")} || return 1
  word() { printf %s "$keys" | sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p" | head -n 1; }
  printf 'user = "%s:%s"\nheader = "x-amz-security-token: %s"\n' \
    "$(word AccessKeyId)" "$(word SecretAccessKey)" "$(word Token)" |
    curl -sf -m 600 --retry 3 -K - --aws-sigv4 "aws:amz:us-east-1:s3" -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' \
      "$2" "$3" "${AWS_ENDPOINT_URL_S3:-${AWS_ENDPOINT_URL:-https://s3.us-east-1.amazonaws.com}}"/'my bucket'"'"'s/elsewhere/'"$1"
}
fetch() { signed "$1" -o "$2" || { keys=; return 1; }; }
send() { keys=; signed "$2" -T "$1"; }
take() {
  its=$3
  if [ -e "$3" ]; then [ -e "$3/.whole" ] && return 0; else its=$3.$$; fi
  mkdir -p "$its" || return 1
  for try in 1 2 3 4 5; do
    fetch "$1" "$its.tar.gz" && [ "$(sha256sum <"$its.tar.gz")" = "$2  -" ] && break
    [ $try -lt 5 ] || { echo "elsewhere: $1 could not be fetched" >&2; rm -rf "$its" "$its.tar.gz"; return 1; }
    sleep $try
  done
  tar -xzf "$its.tar.gz" -C "$its" && : >"$its/.whole" || { rm -rf "$its" "$its.tar.gz"; return 1; }
  rm -f "$its.tar.gz"
  [ "$its" = "$3" ] || { [ -e "$3" ] || mv "$its" "$3"; rm -rf "$its" "$3/${its##*/}"; }
  [ -e "$3/.whole" ] && echo "elsewhere: $3 is here"
}
take jobs/job-1/startup.tar.gz bb startup || { [ "${status:-74}" = 0 ] || { echo 'elsewhere: it ends'; for try in 1 2 3; do grep -qs '^elsewhere: it ends' boot.log && break; sleep 1; done; send boot.log ''"$ELSEWHERE_MACHINE"; }; shutdown -h now; kill -KILL $switch; exit 74; }
export HOME="${HOME:-/root}"
export ELSEWHERE_AGENT_ADDRESS='sqs:us-east-1?job=job-1&it'"'"'s'
export ELSEWHERE_AGENT_BORN="$(date +%s)"
export ELSEWHERE_AGENT_DIRECTORY="$HERE"
export ELSEWHERE_AGENT_AGENT="$ELSEWHERE_MACHINE"
export ELSEWHERE_AGENT_SLOTS=4
export ELSEWHERE_AGENT_TERM=43200
export ELSEWHERE_AGENT_LEASE=120
export ELSEWHERE_AGENT_IDLE=60
export RMS_CLOUD_TASKS_JOB_ID='it'"'"'s $(mine)'
: >startup.log; tail -c +1 -f startup.log & tail=$!
(umask 022; cd "$OLDPWD" && exec bash "$HERE"/startup/startup.sh) >>startup.log 2>&1 </dev/null
status=$? tries=0
while [ $status = 0 ] && [ ! -s worker ] && [ $tries -lt 10 ]; do tries=$((tries + 1)); sleep 1; done
{ read -r pid <worker && while kill -0 "$pid"; do sleep 1; done; } 2>/dev/null
if [ ! -e switch ]; then
  echo "elsewhere: the startup script ended with status $status and started no worker" >&2
  (take bundles/aa.tar.gz aa runtime || exit 74
  for python in python3.12 python3 python ""; do [ -n "$python" ] || break; "$python" -ISc 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null && break; done
  [ -n "$python" ] || { echo 'elsewhere: there is no Python 3.12 here' >&2; false; } || exit 74
  echo "elsewhere: the agent begins, with $python"
  export PYTHONPATH="$HERE"/runtime
  "$python" -m elsewhere.agent 'sqs:us-east-1?job=job-1&it'"'"'s' --directory "$HERE" --agent "$ELSEWHERE_MACHINE" --slots 4 --term 43200 --lease 120 --idle 60 --failed "$status" --log startup.log) && sleep 30  # whoever was told stops us before
  [ $status != 0 ] || status=70
fi
kill $tail
[ "${status:-74}" = 0 ] || { echo 'elsewhere: it ends'; for try in 1 2 3; do grep -qs '^elsewhere: it ends' boot.log && break; sleep 1; done; send boot.log ''"$ELSEWHERE_MACHINE"; }; shutdown -h now
kill -KILL $switch
exit $status
