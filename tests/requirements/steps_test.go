package requirements

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// script is one of ours: with what the scripts of deploy/ share.
func script(t *testing.T, text string) (path string, env []string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "demo.sh")
	local := filepath.Join(Repository(), "deploy/local")
	head := "#!/bin/bash\n. " + local + "/lib.sh\n. " + local + "/steps.sh\n"
	must(t, os.WriteFile(path, []byte(head+text), 0o755))
	return path, append(os.Environ(), "XDG_CACHE_HOME="+t.TempDir())
}

func TestStepsAreCountedAndTheOneThatFailsIsNamed(t *testing.T) {
	path, env := script(t, `
say_it() { echo "$1" >&2; }
step "bring it up" say_it "two words"
step "use it" false
step "take it down" say_it never
run_steps`)
	command := exec.Command("bash", path)
	command.Env = env
	said, err := command.CombinedOutput()
	wanted := `
[1/3] bring it up
two words
    done in N s, N s since the start

[2/3] use it
demo: FAILED after N s in step 2/3: use it
`
	if anyTime(string(said)) != wanted || err == nil {
		t.Errorf("%v:\n%s\nwanted:\n%s", err, said, wanted)
	}
}

// On a terminal the last line of a log moves while its program runs, which here is until that line was seen.
func TestALineMovesWhileAProgramRuns(t *testing.T) {
	seen := filepath.Join(t.TempDir(), "seen")
	path, env := script(t, `
slow() {
  echo "halfway there"
  until grep -q "a long thing: .* | halfway there" `+seen+`; do sleep 0.1; done
}
watched "$cache/log" "a long thing" slow`)
	command := exec.Command("script", "--quiet", "--flush", "--return", "--command", path, seen)
	command.Env = env
	if said, err := command.CombinedOutput(); err != nil || !strings.Contains(string(said), "demo: a long thing: done in") {
		t.Errorf("%v:\n%s", err, said)
	}
}
