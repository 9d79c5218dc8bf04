package requirements

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The folder of the images does not grow for ever, and whatever is removed is named.
func TestArchivesThatNobodyNeedsAreRemoved(t *testing.T) {
	cache := t.TempDir()
	images := filepath.Join(cache, "kubeopencode/images")
	must(t, os.MkdirAll(filepath.Join(images, "work.killed/root"), 0o755))
	ages := map[string]time.Duration{
		"system-000000000001.tar":         time.Minute,
		"system-000000000002.tar":         time.Hour,
		"system-000000000003.tar":         5 * 24 * time.Hour,
		"system-000000000004.tar":         6 * 24 * time.Hour,
		"system-arm64-000000000001.tar":   7 * 24 * time.Hour,
		"agent-devbox-000000000001.tar":   15 * 24 * time.Hour,
		"debian-000000000001.tar":         100 * 24 * time.Hour,
		"busybox-arm64":                   100 * 24 * time.Hour,
		"system-000000000005.tar.partial": time.Minute,
		"system-000000000006.tar.partial": 2 * 24 * time.Hour,
		"work.killed":                     2 * 24 * time.Hour,
	}
	for name, age := range ages {
		old(t, filepath.Join(images, name), age)
	}
	// what an image was made of is fetched once, and its next version beside it
	downloads := filepath.Join(cache, "kubeopencode/downloads")
	must(t, os.Mkdir(downloads, 0o755))
	old(t, filepath.Join(downloads, "opencode-linux-x64-1.0.0.tgz"), 101*day)
	old(t, filepath.Join(downloads, "opencode-linux-x64-1.1.0.tgz"), 100*day)
	old(t, filepath.Join(downloads, "opencode-linux-arm64-1.0.0.tgz"), 102*day)
	command := exec.Command(filepath.Join(Repository(), "deploy/images/build.sh"), "prune")
	command.Env = append(os.Environ(), "XDG_CACHE_HOME="+cache)
	said, err := command.CombinedOutput()
	must(t, err)
	for _, line := range []string{
		"build: removed system-000000000004.tar: 3 others of this image were used since\n",
		"build: removed agent-devbox-000000000001.tar: not used for 14 days\n",
		"build: removed system-000000000006.tar.partial: its build did not end, more than a day ago\n",
		"build: removed work.killed: its build did not end, more than a day ago\n",
		"build: removed opencode-linux-x64-1.0.0.tgz: not used for 14 days\n",
	} {
		if !strings.Contains(string(said), line) {
			t.Errorf("it does not say %q:\n%s", line, said)
		}
	}
	expectNames(t, images, "busybox-arm64", "debian-000000000001.tar", "system-000000000001.tar", "system-000000000002.tar",
		"system-000000000003.tar", "system-000000000005.tar.partial", "system-arm64-000000000001.tar")
	expectNames(t, downloads, "opencode-linux-arm64-1.0.0.tgz", "opencode-linux-x64-1.1.0.tgz")
}
