# How documents are read, and what is checked of them without a cluster. Sourced by docs.sh.

# each_block FILE COMMAND: calls COMMAND LINE INFO TEXT for each fenced block
each_block() {
  local file=$1 command=$2 line number=0 began=0 info="" text=""
  while IFS= read -r line <&3 || [ -n "$line" ]; do
    number=$((number + 1))
    if [[ $line != '```'* ]]; then
      [ "$began" -eq 0 ] || text+=$line$'\n'
    elif [ "$began" -eq 0 ]; then
      began=$number info=${line#'```'} text=""
    else
      "$command" "$began" "$info" "$text"
      began=0
    fi
  done 3<"$file"
  [ "$began" -eq 0 ] || die "$file:$began: the block never ends"
}

# kind_of INFO: what a block is for; nothing for one that nobody would test
kind_of() {
  case $1 in
    *' title="'*'"') echo file ;;
    yaml) echo objects ;;
    'yaml fragment='*) echo fragment ;;
    console) echo commands ;;
    text) echo words ;;
  esac
}

title_of() { printf '%s\n' "$1" | sed 's/.* title="\([^"]*\)".*/\1/'; }

check() {
  local file
  cd "$repo"
  problems=0
  for file in docs/*.md; do each_block "$file" check_block; done
  for file in docs/*.md README.md; do check_links "$file"; done
  check_reasons
  check_document
  [ "$problems" -eq 0 ] || die "$problems things are not as they should be"
}

# note PLACE TEXT
note() {
  echo "$me: $1: $2" >&2
  problems=$((problems + 1))
}

check_block() {
  [ -n "$(kind_of "$2")" ] || note "$file:$1" "a block \"$2\" runs in no test: see deploy/local/docs.sh for those that do"
}

# relative links lead to a file, and to a heading of it
check_links() {
  local link path anchor
  while read -r link; do
    path=${link%%#*} anchor=""
    [[ $link != *'#'* ]] || anchor=${link#*#}
    path=$(dirname "$1")/$path
    [ -n "${link%%#*}" ] || path=$1
    if [ ! -e "$path" ]; then
      note "$1" "the link $link leads nowhere"
    elif [ -n "$anchor" ] && ! anchors_of "$path" | grep -qx -- "$anchor"; then
      note "$1" "$path has no heading #$anchor"
    fi
  done < <(without_blocks "$1" | grep -o '](\([^)]*\))' | sed 's/^](//; s/)$//' | grep -v '^[a-z]*:')
}

without_blocks() { awk '/^```/ {inside = !inside; next} !inside' "$1"; }

# as GitHub makes them of headings
anchors_of() {
  without_blocks "$1" | sed -n 's/^##* //p' | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}

# every reason that a condition may have is explained
check_reasons() {
  local reason
  while read -r reason; do
    grep -qx "#* \`$reason\`" docs/troubleshooting.md || note docs/troubleshooting.md "no heading \`$reason\`"
  done < <(sed -n '/^ *Reason {/,/^ *}/s/^ *\([A-Z][A-Za-z]*\),$/\1/p' host/api/src/condition.rs)
}

# tests/document.md: a row for every section of the document, and in every row tests that are there
check_document() {
  local section row tests test
  while IFS= read -r section; do
    grep -qF "| $section |" tests/document.md || note tests/document.md "no row for the section \"$section\""
  done <tests/document-sections.txt
  while IFS= read -r row; do
    tests=$(awk -F ' [|] ' '{print $NF}' <<<"${row% |}")
    [[ $tests != *missing:* ]] || note tests/document.md "no test:${tests#*missing:} (${row:2:150})"
    for test in $(grep -o '`[^`]*`' <<<"${tests%%missing:*}" | tr -d '`'); do check_test "$test"; done
    [[ $tests == *'`'* || $tests == *missing:* ]] || note tests/document.md "no test: $row"
  done < <(sed -n '/^|---/,$p' tests/document.md | tail -n +2)
}

# check_test FILE::NAME: a test in Rust or Go, or FILE alone, which runs as a whole
check_test() {
  local path=${1%%::*} name=""
  [[ $1 != *::* ]] || name=${1##*::}
  case $path in
    *.*) ;;
    apiserver/* | e2e/*) path=tests/tests/$path.rs ;;
    plan/*) path=host/plan/tests/$path.rs ;;
    render/*) path=host/cli/tests/$path.rs ;;
    operator/*) path=host/operator/src/${path#operator/}.rs ;;
    docs/*) path=$path.md ;;
  esac
  if [ ! -e "$path" ]; then
    note tests/document.md "$path does not exist"
  elif [ "$name" ] && ! grep -qE "^ *(async )?fn $name\(|^    $name,$|^func $name\(" "$path"; then
    note tests/document.md "$path has no test $name"
  fi
}
