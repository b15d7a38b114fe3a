"""PROVISION on EC2: machines asked for under a token, labelled in the call that creates them, that end themselves.

No part of botocore is imported before a verb needs it; no exception of it leaves this package.
"""

from elsewhere.backends.aws.ec2 import Aws
from elsewhere.backends.aws.settings import AwsSettings

__all__ = ["Aws", "AwsSettings"]
