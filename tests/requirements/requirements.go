// Package requirements reads deploy/local/requirements.txt and finds what the scripts and tests call.
package requirements

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// Path of the list, from the repository's root.
const Path = "deploy/local/requirements.txt"

// Requirement is a line of the list.
type Requirement struct {
	Source   string
	Steps    []string
	Provides []string
}

// Debian tells whether it is a package of Debian.
func (r Requirement) Debian() bool {
	switch r.Source {
	case "rust", "go", "cluster", "yours":
		return false
	}
	return !strings.Contains(r.Source, ":")
}

// Repository is the root of the checkout.
func Repository() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "../..")
}

// List reads the lines of the list.
func List() ([]Requirement, error) {
	text, err := os.ReadFile(filepath.Join(Repository(), Path))
	if err != nil {
		return nil, err
	}
	var list []Requirement
	for number, line := range strings.Split(string(text), "\n") {
		columns := strings.Fields(line)
		if len(columns) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if len(columns) < 3 {
			return nil, fmt.Errorf("%s:%d: wants source, steps and programs", Path, number+1)
		}
		list = append(list, Requirement{columns[0], strings.Split(columns[1], ","), columns[2:]})
	}
	return list, nil
}

// Call is a program by its name, and where it is called.
type Call struct{ Program, Where string }

// files of the checkout, those that are not committed yet too
func files(patterns ...string) ([]string, error) {
	list := exec.Command("git", append([]string{"ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate"}, patterns...)...)
	list.Dir = Repository()
	text, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	var found []string
	for _, name := range strings.Fields(string(text)) {
		if _, err := os.Stat(filepath.Join(Repository(), name)); err == nil {
			found = append(found, name)
		}
	}
	return found, nil
}

// shell gives every command of the shell scripts and the Makefile, save of those that run inside our images, and the names
// of the functions that they define.
func shell() (commands []command, functions map[string]bool, err error) {
	names, err := files("*.sh", ".ci", "Makefile")
	if err != nil {
		return nil, nil, err
	}
	functions = map[string]bool{}
	for _, name := range names {
		if insideImage.MatchString(name) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(Repository(), name))
		if err != nil {
			return nil, nil, err
		}
		if name == "Makefile" {
			text = recipes(text)
		}
		tree, err := syntax.NewParser().Parse(bytes.NewReader(text), name)
		if err != nil {
			return nil, nil, err
		}
		syntax.Walk(tree, func(node syntax.Node) bool {
			switch node := node.(type) {
			case *syntax.FuncDecl:
				functions[node.Name.Value] = true
			case *syntax.CallExpr:
				commands = append(commands, command{node.Args, fmt.Sprintf("%s:%d", name, node.Pos().Line())})
			}
			return true
		})
	}
	return commands, functions, nil
}

type command struct {
	words []*syntax.Word
	where string
}

// InShell gives what the scripts call.
func InShell() ([]Call, error) {
	commands, functions, err := shell()
	if err != nil {
		return nil, err
	}
	var calls []Call
	for _, command := range commands {
		for _, program := range called(command.words, functions) {
			calls = append(calls, Call{program, command.where})
		}
	}
	return calls, nil
}

// Preflights gives the steps that the scripts look ahead for, by the words of the script.
func Preflights() ([]string, error) {
	commands, _, err := shell()
	if err != nil {
		return nil, err
	}
	var steps []string
	for _, command := range commands {
		if len(command.words) == 0 || !preflight.MatchString(command.words[0].Lit()) {
			continue
		}
		for _, word := range command.words[1:] {
			if step := word.Lit(); step != "" {
				steps = append(steps, step)
			}
		}
	}
	return steps, nil
}

var preflight = regexp.MustCompile(`(^|/)preflight(\.sh)?$`)

// InRust gives what the crates and their tests start by a name that stands there.
func InRust() ([]Call, error) {
	names, err := files("*.rs")
	if err != nil {
		return nil, err
	}
	var calls []Call
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(Repository(), name))
		if err != nil {
			return nil, err
		}
		for _, found := range rustCommand.FindAllSubmatchIndex(text, -1) {
			line := 1 + bytes.Count(text[:found[0]], []byte("\n"))
			calls = append(calls, Call{string(text[found[2]:found[3]]), fmt.Sprintf("%s:%d", name, line)})
		}
	}
	return calls, nil
}

var rustCommand = regexp.MustCompile(`\b(?:Command::new|program)\(\s*"([^"]+)"`)

// What runs in a container: its programs are the image's.
var insideImage = regexp.MustCompile(`^(deploy/images/.+|tests/fixtures/providers)/`)

// recipes of a Makefile as one script, its other lines empty
func recipes(text []byte) []byte {
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		recipe, ok := strings.CutPrefix(line, "\t")
		if !ok {
			recipe = ""
		}
		recipe = strings.TrimPrefix(recipe, "@")
		recipe = strings.NewReplacer("$(", "${", ")", "}", "$$", "$").Replace(recipe)
		lines[i] = recipe
	}
	return []byte(strings.Join(lines, "\n"))
}

// What starts a program that its words name: functions of ours, after so many other words, start functions of ours too.
var (
	starters = set("command exec timeout xargs setsid env nice")
	ours     = map[string]int{"at_exit": 0, "loaded": 0, "start": 1, "step": 1, "wait_until": 1, "watched": 2}
)

var number = regexp.MustCompile(`^[0-9]+[smh]?$`)

// called gives the programs that the words of a command name: the first, and the one that `exec` and its like start.
func called(words []*syntax.Word, functions map[string]bool) []string {
	var programs []string
	mayBeFunction := true
	for i := 0; i < len(words); i++ {
		name := words[i].Lit()
		if i > 0 && (strings.HasPrefix(name, "-") || number.MatchString(name)) {
			continue
		}
		if name == "" || strings.ContainsAny(name, "$=*") || strings.Contains(name, "/") && !strings.HasPrefix(name, "/") {
			break
		}
		if !(mayBeFunction && functions[name]) && !builtins[name] {
			programs = append(programs, name)
		}
		others, ok := ours[name]
		if i += others; !ok && !starters[name] {
			break
		}
		mayBeFunction = ok
	}
	return programs
}

func set(names string) map[string]bool {
	all := map[string]bool{}
	for name := range strings.FieldsSeq(names) {
		all[name] = true
	}
	return all
}

var builtins = set(`. : [ alias bg break builtin cd command compgen continue declare dirs echo eval exec exit export false fg getopts
	hash help history jobs kill let local mapfile popd printf pushd pwd read readarray readonly return set shift shopt source test
	times trap true type typeset ulimit umask unalias unset wait`)
