package manifests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// What a registry has is never changed, so whatever can be tried of a release is tried before anything is there.
func TestTheReleaseIsTriedBeforeItIsPushed(t *testing.T) {
	const file = ".github/workflows/release.yml"
	text, err := Read(file)
	must(t, err)
	var workflow struct {
		Jobs map[string]struct {
			Steps []struct{ Run string }
		}
	}
	must(t, yaml.Unmarshal(text, &workflow))
	var script strings.Builder
	for _, step := range workflow.Jobs["release"].Steps {
		script.WriteString(step.Run + "\n")
	}
	from := 0
	for _, command := range []string{
		"deploy/release/build.sh ", "make release-test ", "make demo-release ", "skopeo login ",
		"deploy/release/before.sh ", "make release-upgrade ", "deploy/release/push.sh ",
	} {
		at := strings.Index(script.String()[from:], command)
		if at < 0 {
			t.Fatalf("%s does not run %safter the others:\n%s", file, command, script.String())
		}
		from += at
	}
	if pushes := strings.Count(script.String(), "release/push.sh"); pushes != 1 {
		t.Errorf("%s pushes %d times", file, pushes)
	}
}

// before runs before.sh for another repository than this checkout: the one in the folder.
func before(folder string) (version, said string, err error) {
	command := exec.Command(filepath.Join(Repository(), "deploy/release/before.sh"), "registry.example.com/team")
	command.Env = append(os.Environ(), "GIT_DIR="+filepath.Join(folder, ".git"))
	var told strings.Builder
	command.Stderr = &told
	text, err := command.Output()
	return string(text), told.String(), err
}

// A release that no upgrade was tried from is not passed over without a word.
func TestWhereNoReleaseWasBeforeItIsSaid(t *testing.T) {
	folder := t.TempDir()
	git := func(words ...string) {
		t.Helper()
		who := []string{"-C", folder, "-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"}
		if said, err := exec.Command("git", append(who, words...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", words, err, said)
		}
	}
	const none = "before: NOT CHECKED: no release was published from a commit before this one, so there is none to upgrade from\n"
	git("init", "--quiet")
	for _, name := range []string{"first", "second"} {
		git("commit", "--quiet", "--allow-empty", "--message", name)
		if version, said, err := before(folder); version != "" || said != none || err != nil {
			t.Errorf("after the %s commit: %q, %v:\n%s", name, version, err, said)
		}
	}
	// the release itself is none before it
	git("tag", "v0.1.0")
	if version, said, err := before(folder); version != "" || said != none || err != nil {
		t.Errorf("at the tag: %q, %v:\n%s", version, err, said)
	}

	// where tags may be missing nothing is said of them
	shallow := t.TempDir()
	git("clone", "--quiet", "--depth=1", "file://"+folder, shallow)
	version, said, err := before(shallow)
	if version != "" || !strings.Contains(said, "before: do: git fetch --unshallow --tags\n") || err == nil {
		t.Errorf("in a shallow clone: %q, %v:\n%s", version, err, said)
	}
}
