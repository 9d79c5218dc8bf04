#!/bin/sh
# What a login runs: git-upload-pack '/NAME.git', where NAME.git is one of ours.
case ${SSH_ORIGINAL_COMMAND:-} in
  "git-upload-pack '/"*.git"'")
    name=${SSH_ORIGINAL_COMMAND#"git-upload-pack '/"}
    name=${name%"'"}
    case $name in
      */* | *..*) ;;
      *) exec git upload-pack --strict "/data/repositories/$name" ;;
    esac
    ;;
esac
echo "only ssh://git@HOST/NAME.git is served, for reading" >&2
exit 1
