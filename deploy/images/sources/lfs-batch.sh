#!/bin/sh
# The batch request of Git LFS, for the one file that there is: where its content lies. The request itself is not read.
read -r oid size </data/large
printf 'Content-Type: application/vnd.git-lfs+json\r\n\r\n'
printf '{"transfer": "basic", "objects": [{"oid": "%s", "size": %s, "authenticated": true, ' "$oid" "$size"
printf '"actions": {"download": {"href": "%s://%s/large.bin"}}}]}' "$REQUEST_SCHEME" "$HTTP_HOST"
