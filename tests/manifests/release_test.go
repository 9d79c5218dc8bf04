package manifests

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
		"deploy/release/ready.sh ", "deploy/release/build.sh ", "make release-test ", "make demo-release ", "skopeo login ",
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

// What is missing is said at once, and no release says that there is none.
func TestWhatAReleaseLacksIsSaidBeforeItIsMade(t *testing.T) {
	folder := t.TempDir()
	file := func(name, text string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o755))
	}
	const script = "deploy/release/ready.sh"
	for _, name := range []string{"deploy/local/lib.sh", "deploy/release/names.sh", script} {
		text, err := Read(name)
		must(t, err)
		file(name, string(text))
	}
	file("CHANGELOG.md", "## [Unreleased]\n\n## [1.2.3] - 2026-12-01\n")
	for _, name := range []string{"README.md", "SECURITY.md", "docs/getting-started.md"} {
		file(name, "# A page\n")
	}
	ready := func(version string, environment ...string) string {
		command := exec.Command(filepath.Join(folder, script), version, "registry.example.com/team")
		command.Env = append(os.Environ(), environment...)
		said, err := command.CombinedOutput()
		if (err == nil) != (len(said) == 0) {
			t.Errorf("%s: %v, and it says: %s", version, err, said)
		}
		return string(said)
	}
	login := []string{"REGISTRY_USERNAME=ada", "REGISTRY_PASSWORD=pw"}
	for _, version := range []string{"1.2.3", "1.3.0-rc.1"} {
		if said := ready(version, login...); said != "" {
			t.Errorf("%s: %s", version, said)
		}
	}
	wants := func(said, error string) {
		t.Helper()
		if !strings.HasPrefix(said, "ready: error: "+error+"\n") {
			t.Errorf("no error %q: %s", error, said)
		}
	}
	wants(ready("1.3.0", login...), "CHANGELOG.md has no section [1.3.0]")
	wants(ready("1.2.3", "REGISTRY_USERNAME=ada", "REGISTRY_PASSWORD="), "there is no login for registry.example.com/team")
	file("SECURITY.md", "There is no release yet: only the newest commit.\n")
	wants(ready("1.2.3", login...), "SECURITY.md says that there is no release")
	if said := ready("1.3.0-rc.1", login...); said != "" {
		t.Errorf("a candidate: %s", said)
	}
}

// skopeo is one that does nothing but say this and fail, unless it is asked for tags and there are any; what it gives is the environment
// with it, in which the rest of the machine was looked at, and a function that says how it was called.
func skopeo(t *testing.T, says string, tags ...string) (environment []string, calls func() string) {
	t.Helper()
	// compiled where it is missing, which the scripts would tell of
	tool(t, "helm")
	folder := t.TempDir()
	script := "#!/bin/sh\necho \"$1\" >>" + folder + "/calls\n"
	if len(tags) > 0 {
		script += "[ \"$1\" != list-tags ] || { echo '{\"Tags\": [\"" + strings.Join(tags, "\", \"") + "\"]}'; exit; }\n"
	}
	script += "echo '" + says + "' >&2\nexit 1\n"
	must(t, os.WriteFile(filepath.Join(folder, "skopeo"), []byte(script), 0o755))
	environment = append(os.Environ(), "PATH="+folder+":"+os.Getenv("PATH"), "KUBEOPENCODE_PREFLIGHT= push clients ", "COSIGN_KEY=",
		"REGISTRY_AUTH_FILE="+filepath.Join(folder, "auth.json"))
	return environment, func() string {
		text, _ := os.ReadFile(filepath.Join(folder, "calls"))
		return strings.Join(strings.Fields(string(text)), " ")
	}
}

// before runs before.sh for another repository than this checkout: the one in the folder.
func before(folder string, environment ...string) (version, said string, err error) {
	command := exec.Command(filepath.Join(Repository(), "deploy/release/before.sh"), "registry.example.com/team")
	command.Env = append(slices.Concat(os.Environ(), environment), "GIT_DIR="+filepath.Join(folder, ".git"))
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

	// one whose release failed before it was pushed: registries have two answers to that, and the second one is also that to a stranger
	git("commit", "--quiet", "--allow-empty", "--message", "third")
	const never = "before: registry.example.com/team has no chart of 0.1.0, which was never published\n"
	const closed = "fetching tags list: unauthorized: access to the requested resource is not authorized"
	for _, one := range []struct {
		answer, login string
		none          bool
	}{
		{"fetching tags list: name unknown: repository name not known to registry", "{}", true},
		{closed, `{"auths": {"registry.example.com": {}}}`, true},
		{closed, `{"auths": {"elsewhere.example.com": {}}}`, false},
		{"dial tcp: connection refused", `{"auths": {"registry.example.com": {}}}`, false},
	} {
		environment, _ := skopeo(t, one.answer)
		logins := strings.TrimPrefix(environment[len(environment)-1], "REGISTRY_AUTH_FILE=")
		must(t, os.WriteFile(logins, []byte(one.login), 0o600))
		version, said, err := before(folder, environment...)
		if one.none && (version != "" || said != never+none || err != nil) {
			t.Errorf("%s, with %s: %q, %v:\n%s", one.answer, one.login, version, err, said)
		}
		if !one.none && (err == nil || !strings.Contains(said, "before: error: registry.example.com/team does not say which charts it has\n")) {
			t.Errorf("%s, with %s: %q, %v:\n%s", one.answer, one.login, version, err, said)
		}
	}

	// who upgrades has no candidate; of versions that nobody has in dist/
	git("tag", "v0.0.97")
	git("tag", "v0.0.98-rc.1")
	git("commit", "--quiet", "--allow-empty", "--message", "fourth")
	for wanted, tags := range map[string][]string{"0.0.97": {"0.0.97", "0.0.98-rc.1"}, "0.0.98-rc.1": {"0.0.98-rc.1"}} {
		environment, _ := skopeo(t, "no image comes", tags...)
		_, said, _ := before(folder, environment...)
		if fetched := " docker://registry.example.com/team/kubeopencode:" + wanted + " "; !strings.Contains(said, fetched) {
			t.Errorf("of %v it does not fetch %s:\n%s", tags, wanted, said)
		}
	}

	// where tags may be missing nothing is said of them
	shallow := t.TempDir()
	git("clone", "--quiet", "--depth=1", "file://"+folder, shallow)
	version, said, err := before(shallow)
	if version != "" || !strings.Contains(said, "before: do: git fetch --unshallow --tags\n") || err == nil {
		t.Errorf("in a shallow clone: %q, %v:\n%s", version, err, said)
	}
}

// A registry that gives no answer may have the version, and it would be overwritten.
func TestOnlyWhatIsMissingIsPushed(t *testing.T) {
	folder := t.TempDir()
	image := filepath.Join(folder, "images/kubeopencode")
	must(t, os.MkdirAll(image, 0o755))
	must(t, os.WriteFile(filepath.Join(folder, "images.txt"), []byte("registry.example.com/team/kubeopencode:1.2.3\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(image, "index.json"), []byte(`{"manifests": [{"digest": "sha256:1"}]}`), 0o644))
	for answer, wanted := range map[string]struct{ calls, said string }{
		"reading manifest 1.2.3: manifest unknown: manifest unknown": {"inspect copy", "push: error: this failed: skopeo copy "},
		"reading manifest 1.2.3: received unexpected HTTP status: 503 Service Unavailable": {
			"inspect", "push: error: registry.example.com/team does not say whether it has registry.example.com/team/kubeopencode:1.2.3\n",
		},
	} {
		environment, calls := skopeo(t, answer)
		temporary := t.TempDir()
		command := exec.Command(filepath.Join(Repository(), "deploy/release/push.sh"), folder)
		command.Env = append(environment, "TMPDIR="+temporary)
		said, err := command.CombinedOutput()
		if err == nil || calls() != wanted.calls || !strings.Contains(string(said), wanted.said) {
			t.Errorf("%s: %v after skopeo %s:\n%s", answer, err, calls(), said)
		}
		left, err := os.ReadDir(temporary)
		must(t, err)
		if len(left) > 0 {
			t.Errorf("%s: it left %v", answer, left)
		}
	}
}

// The site of a release is made when its workflow has ended, by the name of that.
func TestTheSiteFollowsTheRelease(t *testing.T) {
	var release struct{ Name string }
	text, err := Read(".github/workflows/release.yml")
	must(t, err)
	must(t, yaml.Unmarshal(text, &release))
	site, err := Read(".github/workflows/site.yml")
	must(t, err)
	if wanted := "    workflows: [" + release.Name + "]\n"; release.Name == "" || !strings.Contains(string(site), wanted) {
		t.Errorf("site.yml does not wait for %q", release.Name)
	}
}
