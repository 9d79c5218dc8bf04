package manifests

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// k9s leaves a column empty that nobody sends, and says nothing of it.
func TestTheColumnsForK9sAreThere(t *testing.T) {
	type version struct {
		Name                     string
		AdditionalPrinterColumns []struct{ Name string }
		Schema                   struct{ OpenAPIV3Schema map[string]any }
	}
	text, err := Read("deploy/chart/files/crds/definitions.yaml")
	must(t, err)
	definitions, err := Documents(text)
	must(t, err)
	served := map[string]version{}
	for _, object := range definitions {
		var definition struct {
			Spec struct {
				Group    string
				Names    struct{ Plural string }
				Versions []version
			}
		}
		text, err := yaml.Marshal(object.Object)
		must(t, err)
		must(t, yaml.Unmarshal(text, &definition))
		for _, one := range definition.Spec.Versions {
			served[definition.Spec.Group+"/"+one.Name+"/"+definition.Spec.Names.Plural] = one
		}
	}

	text, err = Read("deploy/k9s/views.yaml")
	must(t, err)
	var config struct {
		Views map[string]struct{ Columns []string }
	}
	must(t, yaml.Unmarshal(text, &config))
	if len(config.Views) == 0 {
		t.Fatal("deploy/k9s/views.yaml has no view")
	}
	for view, shown := range config.Views {
		kind, found := served[view]
		if !found {
			t.Errorf("there is no definition of %s", view)
			continue
		}
		sent := []string{"NAMESPACE", "NAME", "AGE"}
		for _, column := range kind.AdditionalPrinterColumns {
			sent = append(sent, strings.ToUpper(column.Name))
		}
		for _, column := range shown.Columns {
			column, _, _ = strings.Cut(column, "|")
			name, path, isField := strings.Cut(column, ":.")
			if !isField {
				if !slices.Contains(sent, name) {
					t.Errorf("%s: the API server sends no column %s: %v", view, name, sent)
				}
				continue
			}
			var fields []string
			for _, field := range strings.Split(path, ".") {
				fields = append(fields, "properties", field)
			}
			if _, found, err := unstructured.NestedFieldNoCopy(kind.Schema.OpenAPIV3Schema, fields...); !found || err != nil {
				t.Errorf("%s: the column %s shows .%s, which is no field of it", view, name, path)
			}
		}
	}
}
