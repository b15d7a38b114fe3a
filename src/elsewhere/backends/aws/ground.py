"""What a boot text stands on at AWS: the instance metadata service says who we are, curl fetches from S3.

Pure text. The role's keys go from a variable to curl's standard input: no process list shows them, no file holds them.
"""

from __future__ import annotations

import shlex

from elsewhere.backends.base import Ground

# IMDSv2: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
# The variables are the SDKs' own, and are set where a cloud is rehearsed on loopback.
_NAME = """\
imds() {
  for path; do set -- "$@" "$metadata/latest/$path"; shift; done
  printf 'header = "X-aws-ec2-metadata-token: %s"' "$token" |
    curl -sf -m 5 --retry 4 --retry-connrefused -w '\\n' -K - "$@"
}
metadata=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}; metadata=${metadata%/}
token=$(curl -sf -m 5 --retry 4 --retry-connrefused -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 21600' \\
  "$metadata/latest/api/token")
{ read -r ELSEWHERE_MACHINE; read -r AWS_DEFAULT_REGION; read -r role; } <<facts
$(imds meta-data/instance-id meta-data/placement/region meta-data/iam/security-credentials/)
facts
export AWS_DEFAULT_REGION
# A busy service is asked again: the SDK's own patience is one second, once.
export AWS_METADATA_SERVICE_TIMEOUT=5 AWS_METADATA_SERVICE_NUM_ATTEMPTS=4"""

_FETCH = """\
signed() {{
  keys=${{keys:-$(imds "meta-data/iam/security-credentials/$role")}} || return 1
  word() {{ printf %s "$keys" | sed -n "s/.*\\"$1\\" *: *\\"\\([^\\"]*\\)\\".*/\\1/p" | head -n 1; }}
  printf 'user = "%s:%s"\\nheader = "x-amz-security-token: %s"\\n' \\
    "$(word AccessKeyId)" "$(word SecretAccessKey)" "$(word Token)" |
    curl -sf -m 600 --retry 3 -K - --aws-sigv4 "aws:amz:{region}:s3" -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' \\
      "$2" "$3" "${{AWS_ENDPOINT_URL_S3:-${{AWS_ENDPOINT_URL:-https://s3.{region}.amazonaws.com}}}}"/{path}"$1"
}}
fetch() {{ signed "$1" -o "$2" || {{ keys=; return 1; }}; }}
send() {{ keys=; signed "$2" -T "$1"; }}"""


def ground(region: str, bucket: str, prefix: str) -> Ground:
    """Of machines that fetch from this bucket; `prefix` ends with a slash, or is empty."""
    path = shlex.quote(f"{bucket}/{prefix}")
    return Ground(_NAME, _FETCH.format(region=region, path=path), "shutdown -h now")
