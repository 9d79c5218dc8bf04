package manifests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tool is a program of the local cluster: helm or kubectl.
func tool(t *testing.T, name string) string {
	t.Helper()
	folder, err := exec.Command(filepath.Join(Repository(), "deploy/local/tools.sh"), "clients").Output()
	must(t, err)
	return filepath.Join(strings.TrimSpace(string(folder)), name)
}

func strict(t *testing.T, name string, text []byte) []*unstructured.Unstructured {
	t.Helper()
	objects, err := Documents(text)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	for _, object := range objects {
		if _, err := Strict(object); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	return objects
}

// Every set of values of the chart's own tests renders objects that Kubernetes and the Prometheus Operator know.
func TestTheChartRendersWhatItsReadersKnow(t *testing.T) {
	helm := tool(t, "helm")
	cases, err := filepath.Glob(filepath.Join(Repository(), "deploy/chart/tests/*.yaml"))
	must(t, err)
	kinds := map[string]bool{}
	for _, values := range cases {
		if strings.HasPrefix(filepath.Base(values), "refused-") {
			continue
		}
		command := exec.Command(helm, "template", "kubeopencode", filepath.Join(Repository(), "deploy/chart"),
			"--namespace", "the-namespace", "--values", values, "--set", "crds.enabled=false")
		command.Stderr = os.Stderr
		text, err := command.Output()
		must(t, err)
		for _, object := range strict(t, filepath.Base(values), text) {
			kinds[object.GetKind()] = true
		}
	}
	for _, kind := range []string{"Deployment", "PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor", "PrometheusRule", "Job"} {
		if !kinds[kind] {
			t.Errorf("no set of values renders a %s: %v", kind, kinds)
		}
	}
}

// What people apply as it lies in the repository.
func TestFilesAreWhatTheirReadersKnow(t *testing.T) {
	checked := 0
	for _, folder := range []string{"deploy/dogfooding", "deploy/install", "examples"} {
		must(t, filepath.WalkDir(filepath.Join(Repository(), folder), func(path string, entry os.DirEntry, err error) error {
			name := filepath.Base(path)
			switch {
			case err != nil:
				return err
			// a chart's templates are no YAML; their output is checked in its own test
			case entry.IsDir() && (name == "templates" || name == "node_modules" || name == ".venv" || name == "target"):
				return filepath.SkipDir
			// what `kubeopencode plugin test` reads
			case entry.IsDir() && name == "tests" && exists(filepath.Join(filepath.Dir(path), "plugin.toml")):
				return filepath.SkipDir
			case filepath.Ext(name) != ".yaml" || name == "kustomization.yaml" || name == "Chart.yaml" || strings.HasPrefix(name, "values"):
				return nil
			}
			text, err := os.ReadFile(path)
			must(t, err)
			checked += len(strict(t, path, text))
			return nil
		}))
	}
	if checked < 20 {
		t.Errorf("only %d objects were found", checked)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// The check itself: a misspelt field, which the definitions of Argo Events would take, is an error here.
func TestAMisspeltFieldIsFound(t *testing.T) {
	for misspelt, path := range map[string]string{
		"webhookSecret": "eventsource.yaml",
		"dataKey":       "sensor.yaml",
		"verbs":         "rbac.yaml",
	} {
		text, err := Read(dogfooding, path)
		must(t, err)
		objects, err := Documents([]byte(strings.ReplaceAll(string(text), misspelt+":", misspelt+"s:")))
		must(t, err)
		found := false
		for _, object := range objects {
			_, err := Strict(object)
			found = found || err != nil && strings.Contains(err.Error(), misspelt+"s")
		}
		if !found {
			t.Errorf("%ss in %s is not found", misspelt, path)
		}
	}
}

// jsonOf reads YAML into plain Go values.
func jsonOf(t *testing.T, text []byte) map[string]any {
	t.Helper()
	values := map[string]any{}
	must(t, yaml.UnmarshalStrict(text, &values))
	return values
}
