package manifests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
	"sigs.k8s.io/yaml"
)

// healthTests is the form of Argo CD's own health_test.yaml.
type healthTests struct {
	Tests []struct {
		HealthStatus struct {
			Status  string `json:"status"`
			Message string `json:"message"`
		} `json:"healthStatus"`
		InputPath string `json:"inputPath"`
	} `json:"tests"`
}

func TestHealthOfTasksAgentsAndPlugins(t *testing.T) {
	folders, err := filepath.Glob(filepath.Join(Repository(), "deploy/argocd/kubeopencode.io/*"))
	must(t, err)
	if len(folders) != 3 {
		t.Fatalf("Task, Agent and Plugin, not %v", folders)
	}
	for _, folder := range folders {
		script, err := os.ReadFile(filepath.Join(folder, "health.lua"))
		must(t, err)
		text, err := os.ReadFile(filepath.Join(folder, "health_test.yaml"))
		must(t, err)
		var tests healthTests
		must(t, yaml.UnmarshalStrict(text, &tests))
		inputs, err := filepath.Glob(filepath.Join(folder, "testdata/*.yaml"))
		must(t, err)
		if len(tests.Tests) != len(inputs) {
			t.Errorf("%s: %d tests for %d files in testdata", folder, len(tests.Tests), len(inputs))
		}
		for _, test := range tests.Tests {
			input, err := os.ReadFile(filepath.Join(folder, test.InputPath))
			must(t, err)
			status, message := health(t, string(script), jsonOf(t, input))
			if status != test.HealthStatus.Status || message != test.HealthStatus.Message {
				t.Errorf("%s %s: %s, %q", filepath.Base(folder), test.InputPath, status, message)
			}
		}
	}
}

// health runs a script as Argo CD does: only these libraries, the object in the global `obj`, a table as the answer.
func health(t *testing.T, script string, object map[string]any) (status, message string) {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
	} {
		must(t, state.CallByParam(lua.P{Fn: state.NewFunction(open), NRet: 0, Protect: true}, lua.LString(name)))
	}
	state.SetGlobal("obj", table(state, object))
	must(t, state.DoString(script))
	answer, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("the answer is no table: %v", state.Get(-1))
	}
	return lua.LVAsString(answer.RawGetString("status")), lua.LVAsString(answer.RawGetString("message"))
}

func table(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case map[string]any:
		made := state.NewTable()
		for key, value := range value {
			made.RawSetString(key, table(state, value))
		}
		return made
	case []any:
		made := state.NewTable()
		for _, value := range value {
			made.Append(table(state, value))
		}
		return made
	case string:
		return lua.LString(value)
	case float64:
		return lua.LNumber(value)
	case bool:
		return lua.LBool(value)
	default:
		return lua.LNil
	}
}

// The keys that Argo CD reads are made from those files.
func TestTheConfigMapHasAKeyForEach(t *testing.T) {
	text, err := exec.Command(tool(t, "kubectl"), "kustomize", filepath.Join(Repository(), "deploy/argocd")).Output()
	must(t, err)
	objects := strict(t, "deploy/argocd", text)
	if len(objects) != 1 || objects[0].GetName() != "argocd-cm" || objects[0].GetNamespace() != "argocd" {
		t.Fatalf("not one ConfigMap argocd-cm: %s", text)
	}
	for _, kind := range []string{"Task", "Agent", "Plugin"} {
		if !strings.Contains(string(text), "resource.customizations.health.kubeopencode.io_"+kind+": |\n") {
			t.Errorf("no key for %s", kind)
		}
	}
}
