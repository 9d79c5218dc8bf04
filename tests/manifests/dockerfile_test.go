package manifests

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const dockerfile = "deploy/images/Dockerfile"

// settings of an image, by the names of its configuration
type settings struct {
	Entrypoint, Cmd, Env []string
	User, WorkingDir     string
}

type stage struct {
	settings
	name, from   string
	runs, copies []string
}

// stages of the Dockerfile, in their order. It needs no more of the language than this: each instruction is one line.
func stages(t *testing.T) []*stage {
	t.Helper()
	text, err := Read(dockerfile)
	must(t, err)
	var found []*stage
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		instruction, words, _ := strings.Cut(line, " ")
		if instruction == "FROM" {
			fields := strings.Fields(words)
			if len(fields) < 3 || fields[len(fields)-2] != "AS" {
				t.Fatalf("%s: a stage without a name: %s", dockerfile, line)
			}
			found = append(found, &stage{name: fields[len(fields)-1], from: fields[len(fields)-3]})
			continue
		}
		if len(found) == 0 {
			t.Fatalf("%s: this stands before the first stage: %s", dockerfile, line)
		}
		last := found[len(found)-1]
		switch instruction {
		case "ARG":
		case "CMD":
			must(t, json.Unmarshal([]byte(words), &last.Cmd))
		case "COPY":
			last.copies = append(last.copies, words)
		case "ENTRYPOINT":
			must(t, json.Unmarshal([]byte(words), &last.Entrypoint))
		case "ENV":
			last.Env = append(last.Env, strings.Fields(words)...)
		case "RUN":
			last.runs = append(last.runs, words)
		case "USER":
			last.User = words
		case "WORKDIR":
			last.WorkingDir = words
		default:
			t.Fatalf("%s: this test does not know what this does: %s", dockerfile, line)
		}
	}
	return found
}

// prints gives what a program says, in the checkout.
func prints(t *testing.T, program string, words ...string) []byte {
	t.Helper()
	command := exec.Command(program, words...)
	command.Dir = Repository()
	command.Stderr = os.Stderr
	text, err := command.Output()
	must(t, err)
	return text
}

// What a builder makes is what deploy/images/build.sh makes, which alone says what is in an image.
func TestTheDockerfileMakesTheImagesOfARelease(t *testing.T) {
	known := map[string]*stage{}
	var targets []string
	for _, one := range stages(t) {
		known[one.name] = one
		if one.from == "scratch" {
			targets = append(targets, one.name)
		}
	}
	released := strings.Fields(string(prints(t, "bash", "-c", ". deploy/release/names.sh && release_images")))
	if !slices.Equal(targets, released) {
		t.Errorf("%s makes %v, and a release has %v", dockerfile, targets, released)
	}
	for _, name := range targets {
		var wanted settings
		must(t, json.Unmarshal(prints(t, filepath.Join(Repository(), "deploy/images/build.sh"), "config", name), &wanted))
		if !reflect.DeepEqual(known[name].settings, wanted) {
			t.Errorf("%s: %s has %+v, and build.sh says %+v", dockerfile, name, known[name].settings, wanted)
		}
		root := "root-of-" + name
		if wanted := []string{"--from=" + root + " /image /"}; !slices.Equal(known[name].copies, wanted) {
			t.Errorf("%s: %s copies %v, and not %v", dockerfile, name, known[name].copies, wanted)
		}
		fill := "deploy/images/build.sh root " + name + " /image"
		if known[root] == nil || len(known[root].runs) == 0 || !strings.HasSuffix(known[root].runs[len(known[root].runs)-1], fill) {
			t.Errorf("%s: no stage %s ends with: %s", dockerfile, root, fill)
		}
	}
}

// It begins with the Rust and the Debian of this repository, calls what is there, and leaves out nothing that is committed.
func TestTheDockerfilesBuilderHasWhatItNeeds(t *testing.T) {
	all := stages(t)
	toolchain, err := Read("rust-toolchain.toml")
	must(t, err)
	debian, err := Read("deploy/images/debian.sh")
	must(t, err)
	version, suite, _ := strings.Cut(strings.TrimPrefix(all[0].from, "rust:"), "-slim-")
	if !strings.Contains(string(toolchain), `channel = "`+version+`"`) || !strings.Contains(string(debian), "debian_suite="+suite+"\n") {
		t.Errorf("%s begins with %s, which is not the Rust of rust-toolchain.toml on the Debian of debian.sh", dockerfile, all[0].from)
	}
	scripts := 0
	for _, one := range all {
		for _, word := range strings.Fields(strings.Join(one.runs, " ")) {
			if !strings.HasPrefix(word, "deploy/") {
				continue
			}
			scripts++
			if _, err := os.Stat(filepath.Join(Repository(), word)); err != nil {
				t.Errorf("%s: %s calls what is not there: %v", dockerfile, one.name, err)
			}
		}
	}
	if scripts == 0 {
		t.Errorf("%s calls no script", dockerfile)
	}
	committed := strings.Fields(string(prints(t, "git", "ls-files")))
	ignored, err := Read(".dockerignore")
	must(t, err)
	for line := range strings.Lines(string(ignored)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		for _, name := range committed {
			if slices.Contains(strings.Split(name, "/"), strings.TrimPrefix(line, "**/")) {
				t.Errorf(".dockerignore leaves out %s, which is committed", name)
			}
		}
	}
}
