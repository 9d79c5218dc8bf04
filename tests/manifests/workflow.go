package manifests

import (
	"encoding/json"
	"fmt"

	argoworkflows "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/argoproj/argo-workflows/v3/util/template"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// WorkflowObject is the object that a step of a WorkflowTemplate makes, by Argo Workflows' own way of putting parameters
// into it. The inputs are those of the one template with a resource.
func WorkflowObject(workflow *argoworkflows.WorkflowTemplate, inputs map[string]string) (*unstructured.Unstructured, error) {
	known := map[string]string{"workflow.name": workflow.Name + "-x7k2p"}
	for _, parameter := range workflow.Spec.Arguments.Parameters {
		if parameter.Value != nil {
			known["workflow.parameters."+parameter.Name] = parameter.Value.String()
		}
	}
	for name, value := range inputs {
		known["inputs.parameters."+name] = value
	}
	for _, step := range workflow.Spec.Templates {
		if step.Resource == nil {
			continue
		}
		text, err := json.Marshal(step.Resource)
		if err != nil {
			return nil, err
		}
		replaced, err := template.Replace(string(text), known, false)
		if err != nil {
			return nil, err
		}
		var resource argoworkflows.ResourceTemplate
		if err := json.Unmarshal([]byte(replaced), &resource); err != nil {
			return nil, err
		}
		objects, err := Documents([]byte(resource.Manifest))
		if err != nil || len(objects) != 1 {
			return nil, fmt.Errorf("%d objects in the manifest of template %s: %w", len(objects), step.Name, err)
		}
		return objects[0], nil
	}
	return nil, fmt.Errorf("WorkflowTemplate %s has no template with a resource", workflow.Name)
}
