#!/bin/sh
# A stand-in for the AWS CLI, for the tests: `aws s3 cp --only-show-errors s3://BUCKET/KEY FILE`, and nothing else. The object is
# at /BUCKET/KEY of the server AWS_ENDPOINT_URL, which knows the two halves of the key as user and password: it signs nothing.
set -eu
if [ $# != 5 ] || [ "$1 $2 $3" != "s3 cp --only-show-errors" ] || [ "${4#s3://?*/?*}" = "$4" ]; then
  echo "usage: aws s3 cp --only-show-errors s3://BUCKET/KEY FILE" >&2
  exit 252
fi
: "${AWS_REGION:?You must specify a region.}"
key=$(printf %s "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" | base64)
mkdir -p "$(dirname "$5")"
exec wget -q --header "Authorization: Basic $key" -O "$5" "$AWS_ENDPOINT_URL/${4#s3://}"
