package requirements

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const day = 24 * time.Hour

// old makes what is there one that was used so long ago; where nothing is there, an empty file.
func old(t *testing.T, path string, age time.Duration) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		must(t, os.WriteFile(path, nil, 0o644))
	}
	used := time.Now().Add(-age)
	must(t, os.Chtimes(path, used, used))
}

// oldFolders makes folders below one that were used so long ago.
func oldFolders(t *testing.T, folder string, ages map[string]time.Duration) {
	t.Helper()
	for name, age := range ages {
		path := filepath.Join(folder, name)
		must(t, os.MkdirAll(path, 0o755))
		old(t, path, age)
	}
}

// program makes one that can be run, and nothing else.
func program(t *testing.T, path string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755))
}

// used runs a script of deploy/local that finds what it wants in this cache: its answer, and what it says beside that.
func used(t *testing.T, cache, script string, args ...string) (answer, said string) {
	t.Helper()
	command := exec.Command(filepath.Join(Repository(), "deploy/local", script), args...)
	command.Env = append(os.Environ(), "XDG_CACHE_HOME="+cache)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		t.Fatalf("%v:\n%s", err, stderr.String())
	}
	return stdout.String(), stderr.String()
}

func expectNames(t *testing.T, folder string, wanted ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	must(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if !slices.Equal(names, wanted) {
		t.Errorf("there are %s\nwanted: %s", strings.Join(names, " "), strings.Join(wanted, " "))
	}
}

// Versions that nobody asks for any more do not stay for ever; that of a kind that was used last does, however long ago: it may
// compile for minutes.
func TestProgramsOfVersionsThatNobodyUsesAreRemoved(t *testing.T) {
	var version string
	for _, requirement := range list(t) {
		if slices.Contains(requirement.Provides, "typos") {
			_, version, _ = strings.Cut(requirement.Source, "@")
		}
	}
	cache := t.TempDir()
	programs := filepath.Join(cache, "kubeopencode/programs")
	asked := filepath.Join(programs, "typos-"+version)
	program(t, filepath.Join(asked, "bin/typos"))
	oldFolders(t, programs, map[string]time.Duration{
		"typos-" + version:    100 * day,
		"typos-0.0.1":         15 * day,
		"typos-0.0.2":         13 * day,
		"typos-0.0.3.partial": 2 * day,
		"typos-0.0.4.partial": time.Hour,
		"cargo-deny-0.0.1":    101 * day,
		"cargo-deny-0.0.2":    100 * day,
		"cargo-nextest-0.0.1": 100 * day,
	})
	answer, said := used(t, cache, "programs.sh", "typos")
	if wanted := asked + "/bin/typos\n"; answer != wanted {
		t.Errorf("it answers %q, wanted %q", answer, wanted)
	}
	wanted := "programs: removed typos-0.0.1: not used for 14 days\n" +
		"programs: removed cargo-deny-0.0.1: not used for 14 days\n" +
		"programs: removed typos-0.0.3.partial: its build did not end, more than a day ago\n"
	if said != wanted {
		t.Errorf("it says\n%swanted:\n%s", said, wanted)
	}
	expectNames(t, programs, "cargo-deny-0.0.2", "cargo-nextest-0.0.1", "typos-0.0.2", "typos-0.0.4.partial", "typos-"+version)
}

// The same of the cluster's own binaries; those of a cluster that is there are needed to take it down.
func TestBinariesOfTheClusterThatNobodyUsesAreRemoved(t *testing.T) {
	var pins []byte
	for _, name := range []string{"go.mod", "go.sum"} {
		paths, err := filepath.Glob(filepath.Join(Repository(), "deploy/local/tools/*", name))
		must(t, err)
		for _, path := range paths {
			text, err := os.ReadFile(path)
			must(t, err)
			pins = append(pins, text...)
		}
	}
	key := fmt.Sprintf("%x", sha256.Sum256(pins))[:12]
	cache := t.TempDir()
	tools := filepath.Join(cache, "kubeopencode/tools")
	for _, name := range []string{"kubectl", "helm"} {
		program(t, filepath.Join(tools, key, name))
	}
	oldFolders(t, tools, map[string]time.Duration{
		key:            100 * day,
		"000000000001": 15 * day,
		"000000000002": 13 * day,
		"000000000003": 100 * day,
	})
	cluster := filepath.Join(cache, "kubeopencode/clusters/local")
	must(t, os.MkdirAll(cluster, 0o755))
	must(t, os.WriteFile(filepath.Join(cluster, "tools"), []byte(filepath.Join(tools, "000000000003")+"\n"), 0o644))
	answer, said := used(t, cache, "tools.sh", "clients")
	if wanted := filepath.Join(tools, key) + "\n"; answer != wanted {
		t.Errorf("it answers %q, wanted %q", answer, wanted)
	}
	if wanted := "tools: removed 000000000001: not used for 14 days\n"; said != wanted {
		t.Errorf("it says %q, wanted %q", said, wanted)
	}
	expectNames(t, tools, "000000000002", "000000000003", key)
}
