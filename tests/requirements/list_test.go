package requirements

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func list(t *testing.T) []Requirement {
	t.Helper()
	list, err := List()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestEveryProgramThatIsCalledIsInTheList(t *testing.T) {
	known := map[string]bool{}
	for _, requirement := range list(t) {
		for _, program := range requirement.Provides {
			known[program] = true
		}
	}
	shell, err := InShell()
	if err != nil {
		t.Fatal(err)
	}
	rust, err := InRust()
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range slices.Concat(shell, rust) {
		if !known[call.Program] {
			t.Errorf("%s calls %s, which is not in %s: add it, with its package", call.Where, call.Program, Path)
		}
	}
	// the finder finds: a wrong pattern would let everything pass
	for program, where := range map[string]string{"cargo": "Makefile", "containerd": "deploy/local/node.sh", "git": "host/pod-tools/src"} {
		found := func(call Call) bool { return call.Program == program && strings.HasPrefix(call.Where, where) }
		if !slices.ContainsFunc(slices.Concat(shell, rust), found) {
			t.Errorf("no call of %s is found in %s", program, where)
		}
	}
}

func TestNothingIsNamedTwice(t *testing.T) {
	named := map[string]string{}
	for _, requirement := range list(t) {
		for _, program := range requirement.Provides {
			if other, ok := named[program]; ok {
				t.Errorf("%s is of %s and of %s", program, other, requirement.Source)
			}
			named[program] = requirement.Source
		}
	}
}

// Another way to install would be another list.
func TestOnlyThePreflightInstalls(t *testing.T) {
	names, err := files("*.sh", ".ci", "Makefile", "*.rs")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(Repository(), name))
		if err != nil {
			t.Fatal(err)
		}
		for _, words := range []string{"apt-get install", "rustup target add --", "rustup toolchain install"} {
			if strings.Contains(string(text), words) && name != "deploy/local/preflight.sh" {
				t.Errorf("%s installs by itself: %s; put it into %s", name, words, Path)
			}
		}
	}
}

// A package is named as Debian names it. Where apt-get is not, there is nobody to ask.
func TestDebianHasThePackages(t *testing.T) {
	if _, err := exec.LookPath("apt-cache"); err != nil {
		t.Log("no apt-cache on this machine")
		return
	}
	known, err := exec.Command("apt-cache", "pkgnames").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(known))
	for _, requirement := range list(t) {
		if requirement.Debian() && !slices.Contains(names, requirement.Source) {
			t.Errorf("Debian has no package %s", requirement.Source)
		}
	}
}
