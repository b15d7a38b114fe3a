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
take bundles/aa.tar.gz aa runtime || { [ "${status:-74}" = 0 ] || { echo 'elsewhere: it ends'; for try in 1 2 3; do grep -qs '^elsewhere: it ends' boot.log && break; sleep 1; done; send boot.log ''"$ELSEWHERE_MACHINE"; }; shutdown -h now; kill -KILL $switch; exit 74; }
take bundles/bb.tar.gz bb code || { [ "${status:-74}" = 0 ] || { echo 'elsewhere: it ends'; for try in 1 2 3; do grep -qs '^elsewhere: it ends' boot.log && break; sleep 1; done; send boot.log ''"$ELSEWHERE_MACHINE"; }; shutdown -h now; kill -KILL $switch; exit 74; }
for python in python3.12 python3 python ""; do [ -n "$python" ] || break; "$python" -ISc 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null && break; done
[ -n "$python" ] || { take bundles/cc.tar.gz cc uv && uv="$HERE/uv/bin/uv"; "$uv" python install --quiet 3.12 && python=$("$uv" python find 3.12); } || { echo 'elsewhere: there is no Python 3.12 here, and uv could not bring it' >&2; false; } || { [ "${status:-74}" = 0 ] || { echo 'elsewhere: it ends'; for try in 1 2 3; do grep -qs '^elsewhere: it ends' boot.log && break; sleep 1; done; send boot.log ''"$ELSEWHERE_MACHINE"; }; shutdown -h now; kill -KILL $switch; exit 74; }
[ -n "$python" ] || { echo 'elsewhere: there is no Python 3.12 here' >&2; false; } || { [ "${status:-74}" = 0 ] || { echo 'elsewhere: it ends'; for try in 1 2 3; do grep -qs '^elsewhere: it ends' boot.log && break; sleep 1; done; send boot.log ''"$ELSEWHERE_MACHINE"; }; shutdown -h now; kill -KILL $switch; exit 74; }
echo "elsewhere: the agent begins, with $python"
export PYTHONPATH="$HERE"/runtime
"$python" -S -m elsewhere.agent 'sqs:us-east-1?job=job-1' --directory "$HERE" --agent "$ELSEWHERE_MACHINE" --slots 4 --term 43200 --lease 120 --idle 60
status=$?
[ "${status:-74}" = 0 ] || { echo 'elsewhere: it ends'; for try in 1 2 3; do grep -qs '^elsewhere: it ends' boot.log && break; sleep 1; done; send boot.log ''"$ELSEWHERE_MACHINE"; }; shutdown -h now
kill -KILL $switch
exit $status
